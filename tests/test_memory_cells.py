"""The stack RNN and the Tape-RNN: their equations, limits, gradients and learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.models import stack_rnn, tape_rnn
from train.models.cells import LinenCell
from train.models.over_time import OverTime
from train.models.stack_rnn import EMPTY, StackRNN
from train.models.tape_rnn import TapeRNN

STACK = StackRNN(units=5, num_stacks=2, stack_size=3, slot_size=2)
TAPE = TapeRNN(
    units=5, num_tapes=2, tape_size=4, slot_size=2, write_units=3, moves=(0, -1, 1, 2)
)
INPUTS = 3

pytestmark = pytest.mark.slow


def params_of(cell):
    """Random parameters, biases too."""
    params = LinenCell(cell).init(jax.random.key(0), INPUTS)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        tree, [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves)]
    )


def sequence(steps=6, batch=2):
    return jax.random.normal(jax.random.key(2), (steps, batch, INPUTS))


def run(cell, params, inputs):
    """The outputs, and the last carry."""
    carry = jax.tree.map(
        lambda leaf: leaf.astype(inputs.dtype),
        cell.initialize_carry(None, inputs.shape[1:]),
    )
    carry, outputs = jax.lax.scan(
        lambda carry, x: cell.apply({"params": params}, carry, x), carry, inputs
    )
    return outputs, carry


def dense(params, x):
    """A dense layer of one vector, number by number."""
    kernel, bias = params["kernel"], params["bias"]
    return [
        sum(value * kernel[i, j] for i, value in enumerate(x)) + bias[j]
        for j in range(len(bias))
    ]


def sigmoid(x):
    return [1 / (1 + np.exp(-value)) for value in x]


def relu(x):
    return [max(value, 0.0) for value in x]


def softmax(x):
    powers = [np.exp(value - max(x)) for value in x]
    return [power / sum(powers) for power in powers]


def slow_stack(params, inputs, cell):
    """The paper's equations for one sequence, with lists that grow and shrink."""
    hidden, deep = [0.0] * cell.units, cell.stack_size
    stacks = [
        [[EMPTY] * cell.slot_size for _ in range(deep)] for _ in range(cell.num_stacks)
    ]
    outputs = []
    for x in inputs:
        tops = [number for stack in stacks for slot in stack[:2] for number in slot]
        hidden = sigmoid(dense(params["hidden"], [*x, *hidden, *tops]))
        actions = dense(params["actions"], hidden)
        pushed = sigmoid(dense(params["pushed"], hidden))
        for s, stack in enumerate(stacks):
            push, pop, keep = softmax(actions[3 * s : 3 * s + 3])
            new = pushed[cell.slot_size * s : cell.slot_size * (s + 1)]
            above, below = [new, *stack], [*stack[1:], [EMPTY] * cell.slot_size]
            stacks[s] = [
                [
                    push * above[i][m] + pop * below[i][m] + keep * stack[i][m]
                    for m in range(cell.slot_size)
                ]
                for i in range(deep)
            ]
        outputs.append(hidden)
    return np.array(outputs), np.array(stacks)


def slow_tape(params, inputs, cell):
    """The same for the tape: a move copies every slot to its new place."""
    hidden, size = [0.0] * cell.units, cell.tape_size
    tapes = np.zeros((cell.num_tapes, size, cell.slot_size))
    outputs = []
    for x in inputs:
        hidden = np.tanh(dense(params["hidden"], [*x, *hidden, *tapes[:, 0].ravel()]))
        actions = dense(params["actions"], hidden)
        within = relu(dense(params["write_0"], hidden))
        written = dense(params["written"], relu(dense(params["write_1"], within)))
        for s in range(cell.num_tapes):
            tapes[s, 0] = written[cell.slot_size * s : cell.slot_size * (s + 1)]
            count = len(cell.moves)
            moved = np.zeros_like(tapes[s])
            for weight, move in zip(
                softmax(actions[count * s : count * (s + 1)]), cell.moves
            ):
                for place in range(size):
                    moved[place] += weight * tapes[s, (place + move) % size]
            tapes[s] = moved
        outputs.append(hidden)
    return np.array(outputs), tapes


@pytest.mark.parametrize(
    ("cell", "slow"), [(STACK, slow_stack), (TAPE, slow_tape)], ids=["stack", "tape"]
)
def test_a_cell_computes_what_its_equations_say(cell, slow):
    params, inputs = jax.device_get((params_of(cell), sequence()))
    outputs, (hidden, memory) = jax.device_get(run(cell, params, inputs))
    for one in range(inputs.shape[1]):
        want, want_memory = slow(params, inputs[:, one], cell)
        np.testing.assert_allclose(outputs[:, one], want, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(memory[one], want_memory, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(hidden, outputs[-1])


@pytest.mark.parametrize("cell", [STACK, TAPE], ids=["stack", "tape"])
def test_a_gradient_is_that_of_finite_differences(cell):
    """Along one random direction."""
    where = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64), (params_of(cell), sequence(3))
    )
    with jax.enable_x64(True):
        draw = np.random.default_rng(0).normal
        along = jax.tree.map(lambda leaf: draw(size=leaf.shape), where)

        @jax.jit
        def loss(far):
            params, inputs = jax.tree.map(lambda at, to: at + far * to, where, along)
            outputs, (_, memory) = run(cell, params, inputs)
            return jnp.sum(outputs**2) + jnp.sum(memory**2)

        got, step = jax.grad(loss)(np.float64(0)), 1e-6
        want = (loss(np.float64(step)) - loss(np.float64(-step))) / (2 * step)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, want, rtol=1e-6)


def one_action(number, count=3, batch=2):
    """All probability on one action of each of two memories."""
    return jnp.tile(jax.nn.one_hot(number, count), (batch, 2, 1))


def values(count):
    return jax.random.uniform(jax.random.key(3), (count, 2, 2, 2))


@pytest.mark.parametrize("pushes", [1, 2, 3])
def test_a_stack_returns_what_was_pushed_last_first(pushes):
    _, empty = STACK.initialize_carry(None, (2, INPUTS))
    push, pop, keep = map(one_action, range(3))
    stacks, pushed = empty, values(pushes)
    for value in pushed:
        stacks = stack_rnn.act(stacks, push, value)
    for value in pushed[::-1]:
        np.testing.assert_array_equal(stack_rnn.act(stacks, keep, value), stacks)
        np.testing.assert_array_equal(stacks[:, :, 0], value)
        stacks = stack_rnn.act(stacks, pop, value)
    np.testing.assert_array_equal(stacks, empty)


def test_what_is_pushed_beyond_the_bottom_is_lost():
    _, stacks = STACK.initialize_carry(None, (2, INPUTS))
    push, pop, _ = map(one_action, range(3))
    pushed = values(4)
    for value in pushed:
        stacks = stack_rnn.act(stacks, push, value)
    for value in pushed[:0:-1]:
        np.testing.assert_array_equal(stacks[:, :, 0], value)
        stacks = stack_rnn.act(stacks, pop, value)
    np.testing.assert_array_equal(stacks, EMPTY)


@pytest.mark.parametrize("move", range(4))
def test_a_tape_that_moves_all_the_way_round_is_as_before(move):
    written = values(TAPE.tape_size)
    _, tapes = TAPE.initialize_carry(None, (2, INPUTS))
    forward = one_action(2, 4)
    for value in written:
        tapes = tape_rnn.act(tapes, forward, value, TAPE.moves)
    np.testing.assert_array_equal(tapes, jnp.moveaxis(written, 0, 2))
    around = tapes
    for _ in range(TAPE.tape_size):
        here = around[:, :, 0]
        around = tape_rnn.act(around, one_action(move, 4), here, TAPE.moves)
    np.testing.assert_array_equal(around, tapes)


@pytest.mark.parametrize("cell", [STACK, TAPE], ids=["stack", "tape"])
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e6, 1e18])
def test_extreme_inputs_give_finite_outputs_and_gradients(cell, size):
    model = OverTime("cell", LinenCell(cell), 2)
    params = model.init(jax.random.key(0), INPUTS)
    inputs = size * jnp.sign(sequence())

    def loss(params):
        return jnp.mean(jax.nn.sigmoid(model.logits(params, inputs)))

    value, gradient = jax.value_and_grad(loss)(params)
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("make", "field", "value", "want"),
    [
        (StackRNN, "units", 0, "units: got 0, want an integer >= 1"),
        (StackRNN, "stack_size", 1, "stack_size: got 1, want an integer >= 2"),
        (TapeRNN, "tape_size", -1, "tape_size: got -1, want an integer >= 1"),
        (TapeRNN, "moves", (), "moves: got none, want at least one"),
    ],
)
def test_a_size_that_cannot_be_is_refused(make, field, value, want):
    with pytest.raises(ValueError, match=want):
        make(**{field: value})
