"""A Neural Turing Machine in plain NumPy and Python loops, written from the paper.

Graves, Wayne and Danihelka 2014, arXiv:1410.5401, section 3, in float64 and one
sequence at a time. Slow on purpose: every sum of the paper is a loop here.

One thing the paper leaves open: the cosine of a zero vector. Lengths are
sqrt(|x|^2 + 1e-8^2), which gives 0 there and the paper's cosine everywhere else.
"""

import dataclasses
import math
from typing import Any

import numpy as np

SMALLEST_LENGTH = 1e-8
CONSTANT_MEMORY = 1e-6


@dataclasses.dataclass
class State:
    memory: np.ndarray
    read_weights: np.ndarray
    write_weights: np.ndarray
    reads: np.ndarray
    controller: Any


@dataclasses.dataclass
class Head:
    key: list[float]
    strength: float
    gate: float
    shift: list[float]
    gamma: float
    erase: list[float]
    add: list[float]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def softplus(x):
    return math.log(1 + math.exp(x))


def softmax(xs):
    largest = max(xs)
    powers = [math.exp(x - largest) for x in xs]
    return [power / sum(powers) for power in powers]


ACTIVATIONS = {"tanh": math.tanh, "sigmoid": sigmoid, "identity": lambda x: x}


def affine(layer, inputs):
    kernel = layer["kernel"]
    outputs = []
    for o in range(kernel.shape[1]):
        total = layer["bias"][o] if "bias" in layer else 0.0
        for i in range(kernel.shape[0]):
            total += inputs[i] * kernel[i, o]
        outputs.append(total)
    return outputs


def cosine(u, v):
    dot = sum(a * b for a, b in zip(u, v))
    u_length = math.sqrt(sum(a * a for a in u) + SMALLEST_LENGTH**2)
    v_length = math.sqrt(sum(b * b for b in v) + SMALLEST_LENGTH**2)
    return dot / (u_length * v_length)


def content_weights(memory, key, strength):
    return np.array(softmax([strength * cosine(key, row) for row in memory]))


def interpolate(content, previous, gate):
    mixed = [gate * c + (1 - gate) * p for c, p in zip(content, previous)]
    return np.array(mixed)


def circular_shift(weights, shift):
    num_slots, reach = len(weights), len(shift) // 2
    shifted = np.zeros(num_slots)
    for i in range(num_slots):
        for j in range(num_slots):
            for offset in range(-reach, reach + 1):
                if (i - j) % num_slots == offset % num_slots:
                    shifted[i] += weights[j] * shift[offset + reach]
    return shifted


def sharpen(weights, gamma):
    total = sum(w**gamma for w in weights)
    return np.array([w**gamma / total for w in weights])


def address(memory, previous, key, strength, gate, shift, gamma):
    content = content_weights(memory, key, strength)
    gated = interpolate(content, previous, gate)
    return sharpen(circular_shift(gated, shift), gamma)


def read(memory, weights):
    result = np.zeros(memory.shape[1])
    for i, row in enumerate(memory):
        for m, value in enumerate(row):
            result[m] += weights[i] * value
    return result


def write(memory, weights, erases, adds):
    """Every head's erase, then every head's add: lists of one entry a head."""
    new = np.array(memory)
    for w, erase in zip(weights, erases):
        for i in range(new.shape[0]):
            for m in range(new.shape[1]):
                new[i, m] *= 1 - w[i] * erase[m]
    for w, add in zip(weights, adds):
        for i in range(new.shape[0]):
            for m in range(new.shape[1]):
                new[i, m] += w[i] * add[m]
    return new


def lstm(params, carry, inputs):
    c, h = carry
    new_c, new_h = [], []
    gates = {}
    for name in "ifgo":
        from_input = affine(params[f"i{name}"], inputs)
        from_hidden = affine(params[f"h{name}"], h)
        gates[name] = [a + b for a, b in zip(from_input, from_hidden)]
    for u in range(len(c)):
        cell = sigmoid(gates["f"][u]) * c[u]
        cell += sigmoid(gates["i"][u]) * math.tanh(gates["g"][u])
        new_c.append(cell)
        new_h.append(sigmoid(gates["o"][u]) * math.tanh(cell))
    return (np.array(new_c), np.array(new_h)), new_h


def gru(params, carry, inputs):
    h = carry
    parts = {name: affine(params[f"i{name}"], inputs) for name in "rzn"}
    past = {name: affine(params[f"h{name}"], h) for name in "rzn"}
    new_h = []
    for u in range(len(h)):
        reset = sigmoid(parts["r"][u] + past["r"][u])
        update = sigmoid(parts["z"][u] + past["z"][u])
        candidate = math.tanh(parts["n"][u] + reset * past["n"][u])
        new_h.append((1 - update) * candidate + update * h[u])
    return np.array(new_h), new_h


def feed_forward(params, inputs):
    for layer in range(len(params)):
        inputs = [math.tanh(x) for x in affine(params[f"Dense_{layer}"], inputs)]
    return inputs


def controller(params, carry, inputs):
    """Which controller it is shows in the names of its parameters."""
    if "cells_0" in params:
        new_carry = []
        for layer in range(len(params)):
            cell, inputs = controller(params[f"cells_{layer}"], carry[layer], inputs)
            new_carry.append(cell)
        return tuple(new_carry), inputs
    if "ii" in params:
        return lstm(params, carry, inputs)
    if "ir" in params:
        return gru(params, carry, inputs)
    return (), feed_forward(params, inputs)


def zero_carry(params):
    if "cells_0" in params:
        return tuple(zero_carry(params[f"cells_{i}"]) for i in range(len(params)))
    if "ii" in params:
        units = len(params["hi"]["bias"])
        return np.zeros(units), np.zeros(units)
    if "ir" in params:
        return np.zeros(len(params["ir"]["bias"]))
    return ()


def head(emitted, config):
    """Cuts what a head emits into k, β, g, s, γ and, of a write head, e, a."""
    size, num_shifts = config.slot_size, 2 * config.shift_range + 1
    if config.head_clip is not None:
        clip = config.head_clip
        emitted = [min(max(value, -clip), clip) for value in emitted]
    rest = list(emitted)

    def take(count):
        taken = rest[:count]
        del rest[:count]
        return taken

    key_activation = ACTIVATIONS[config.key_activation]
    add_activation = ACTIVATIONS[config.add_activation]
    key = [key_activation(x) for x in take(size)]
    strength = softplus(*take(1))
    gate = sigmoid(*take(1))
    shift = softmax(take(num_shifts))
    gamma = 1 + softplus(*take(1))
    if config.sharpening == "none":
        gamma = 1.0
    erase = [sigmoid(x) for x in take(size)]
    add = [add_activation(x) for x in take(size)]
    return Head(key, strength, gate, shift, gamma, erase, add)


def emitted_heads(params, hidden, config):
    kernel, bias = params["kernel"], params["bias"]
    heads = []
    for h in range(kernel.shape[1]):
        layer = {"kernel": kernel[:, h], "bias": bias[h]}
        heads.append(head(affine(layer, hidden), config))
    return heads


def focus(memory, previous, head):
    return address(
        memory, previous, head.key, head.strength, head.gate, head.shift, head.gamma
    )


def step(params, state, x, config):
    past_reads = [value for vector in state.reads for value in vector]
    carry, hidden = controller(
        params["controller"], state.controller, [*x, *past_reads]
    )
    readers = emitted_heads(params["read_heads"], hidden, config)
    writers = emitted_heads(params["write_heads"], hidden, config)

    memory = state.memory
    read_weights, write_weights, reads = [], [], []

    def read_with(r):
        weights = focus(memory, state.read_weights[r], readers[r])
        read_weights.append(weights)
        reads.append(read(memory, weights))

    def write_with(heads):
        own = config.previous_weighting == "own"
        previous = state.write_weights if own else state.read_weights
        weights = [focus(memory, previous[w], writers[w]) for w in heads]
        write_weights.extend(weights)
        erases = [writers[w].erase for w in heads]
        adds = [writers[w].add for w in heads]
        return write(memory, weights, erases, adds)

    if config.order == "read_first":
        for r in range(len(readers)):
            read_with(r)
        memory = write_with(range(len(writers)))
    elif config.order == "write_first":
        memory = write_with(range(len(writers)))
        for r in range(len(readers)):
            read_with(r)
    elif config.order == "interleaved":
        for h in range(max(len(readers), len(writers))):
            if h < len(readers):
                read_with(h)
            if h < len(writers):
                memory = write_with([h])
    else:
        raise ValueError(config.order)

    new_reads = [value for vector in reads for value in vector]
    output = affine(params["output"], [*hidden, *new_reads])
    new_state = State(
        memory=memory,
        read_weights=np.array(read_weights),
        write_weights=np.array(write_weights),
        reads=np.array(reads),
        controller=carry,
    )
    return new_state, np.array(output)


def initial_state(params, config, num_slots=None, random_memory=None):
    """`random_memory` is what `initial_memory="random"` stands for."""
    n = config.num_slots if num_slots is None else num_slots
    learned = params.get("initial", {})

    if config.initial_memory == "constant":
        memory = np.full((n, config.slot_size), CONSTANT_MEMORY)
    elif config.initial_memory == "random":
        memory = np.array(random_memory)
    else:
        memory = learned["memory"]

    def first_focus(kind, num_heads):
        weights = np.zeros((num_heads, n))
        for h in range(num_heads):
            if config.initial_weighting == "first_slot":
                weights[h, 0] = 1
            elif config.initial_weighting == "uniform":
                weights[h, :] = 1 / n
            elif config.initial_weighting == "learned":
                weights[h, :] = softmax(learned[f"{kind}_focus"][h])
        return weights

    if config.initial_read == "learned":
        reads = learned["reads"]
    else:
        reads = np.zeros((config.num_read_heads, config.slot_size))
    if config.initial_carry == "learned":
        carry = learned["carry"]
    else:
        carry = zero_carry(params["controller"])
    return State(
        memory=memory,
        read_weights=first_focus("read", config.num_read_heads),
        write_weights=first_focus("write", config.num_write_heads),
        reads=reads,
        controller=carry,
    )


def unroll(params, xs, config, state, mask=None):
    """The outputs `[T, output_size]` and the list of the states after each step."""
    outputs, states = [], []
    for t, x in enumerate(xs):
        if mask is None or mask[t]:
            state, y = step(params, state, x, config)
        else:
            y = np.zeros(config.output_size)
        outputs.append(y)
        states.append(state)
    return np.array(outputs), states
