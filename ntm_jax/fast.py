"""`unroll` of the paper's order with a backward pass of its own, about twice as fast.

What JAX derives is right and slow in two ways: it adds to the gradient of every weight
at every step, and it makes many passes over the memory. Here:

* Weights. A step back gives only the cotangents of what the weights multiply into;
  their gradient is one product over all steps and sequences, made after the scan.
* Padding. Steps at the end that are masked in all sequences are not made at all.
* Memory. It is laid out `[B, M, N]`, slots last, where vectors of a CPU run along them,
  and all that touches it is derived by hand. The forward scan saves the memory and the
  focus that each step starts from, and what is small; the rest is computed again.

The derivation. For one head, with M the memory before the step, u its key over its
length and l(i) = 1 / |M(i)|:

    c(i)  = u M(i) l(i)                    cosine
    w     = address(c)                     eqs. 6 to 9, which touch no memory
    r     = Σ_i w(i) M(i)                  read
    M'(i) = M(i) (1 - w(i) e) + w(i) a     write

Backwards, with d for "gradient of", and with dM', dr and the next step's part of dw
known:

    da    = Σ_i w(i) dM'(i)
    de    = -Σ_i w(i) M(i) dM'(i)
    dw(i) += a dM'(i) - e (M(i) dM'(i)) + dr M(i)
    dc    = what JAX derives of dw
    du    = Σ_i dc(i) l(i) M(i)
    dM(i) = dM'(i) (1 - w(i) e) + w(i) dr + dc(i) l(i) u - dc(i) c(i) l(i)^2 M(i)

Several heads add up, but for the factors (1 - w e) of several write heads, of which
each one's gradient keeps the others.

Letters: T, B (all batch axes as one), N, M, R read heads, W write heads, K = R + W, and
Z for all that the heads emit.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax import controllers, heads
from ntm_jax.addressing import (
    HEADROOM,
    SMALLEST_LENGTH,
    circular_shift,
    interpolate,
    sharpen,
    softmax_of_product,
    unit_key,
)
from ntm_jax.config import NTMConfig

PyTree = Any

# A power of two (so that it rounds nothing) that makes any slot's squares finite.
_TINY = 2.0**-80
# Squares beyond this may be infinite in float32.
_MANY = 2.0**120
# Wider slots would make a long program if their sums were written out.
_WIDEST_WRITTEN_OUT = 64


class _State(NamedTuple):
    """An `NTMState` as it is laid out here."""

    memory: Array  # [B, M, N]
    focus: Array  # [B, K, N], read heads first
    reads: Array  # [B, R, M]
    carry: PyTree


class _Controls(NamedTuple):
    """What the heads are told at one step."""

    unit: Array  # [B, K, M], the keys over their lengths
    numbers: tuple[Array, ...]  # strength, gate, shift and gamma, [B, K, ...]
    erase: Array  # [B, W, M]
    add: Array  # [B, W, M]


class _Saved(NamedTuple):
    """What a step back needs of the step: `state` is the one it started from."""

    state: _State
    inverse_lengths: Array  # [B, N]
    cosine: Array  # [B, K, N]
    emitted: Array  # [B, Z]
    controller: PyTree


def applies(config: NTMConfig, state: Any) -> bool:
    """Whether `unroll` here computes what this machine does from this state."""
    return (
        config.order == "read_first"
        and config.previous_focus == "own"
        and state.memory.dtype in (jnp.float32, jnp.float64)
        and all(
            leaf.dtype == state.memory.dtype
            for leaf in jax.tree.leaves(state.controller)
        )
    )


def unroll(
    params: dict, xs: Array, config: NTMConfig, state: Any, mask: Array | None
) -> tuple[Any, Array]:
    """`ntm_jax.unroll` for arguments that fit and to which it `applies`."""
    batch = xs.shape[1:-1]
    size = math.prod(batch)

    def merge(leaf: Array, before: int = 0) -> Array:
        after = leaf.shape[before + len(batch) :]
        return leaf.reshape(*leaf.shape[:before], size, *after)

    def split(leaf: Array, before: int = 0) -> Array:
        return leaf.reshape(*leaf.shape[:before], *batch, *leaf.shape[before + 1 :])

    xs = merge(xs, 1)
    num_steps = None
    if mask is not None:
        mask = merge(mask, 1)
        num_steps = _most(_steps_to_make(mask))
        # Whatever stands in a masked step must not reach the gradient.
        xs = jnp.where(mask[..., None], xs, 0)
    start = _State(
        memory=jnp.swapaxes(merge(state.memory), 1, 2),
        focus=jnp.concatenate(
            [merge(state.read_weights), merge(state.write_weights)], axis=1
        ),
        reads=merge(state.reads),
        carry=jax.tree.map(merge, state.controller),
    )
    weights = {
        "controller": _controller(config).pack(params["controller"]),
        "heads": {
            "kernel": _side_by_side(params, "kernel"),
            "bias": _side_by_side(params, "bias"),
        },
    }
    end, hidden, reads = _run(config, weights, xs, start, mask, num_steps)  # type: ignore[misc]
    ys = _dense(params["output"], jnp.concatenate([hidden, _flat(reads)], axis=-1))
    if mask is not None:
        ys = jnp.where(mask[..., None], ys, 0)
    r = config.num_read_heads
    state = state.replace(
        memory=split(jnp.swapaxes(end.memory, 1, 2)),
        read_weights=split(end.focus[:, :r]),
        write_weights=split(end.focus[:, r:]),
        reads=split(end.reads),
        controller=jax.tree.map(split, end.carry),
    )
    return state, split(ys, 1)


# The two scans.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(
    config: NTMConfig,
    weights: dict,
    xs: Array,
    state: _State,
    mask: Array | None,
    num_steps: Array | None,
) -> tuple[_State, Array, Array]:
    """The last state, and hidden `[T, B, H]` and reads `[T, B, R, M]` of all steps."""
    return _forward(config, weights, xs, state, mask, num_steps)[0]


def _forward(config, weights, xs, state, mask, num_steps, save=False):
    def body(state, now):
        x, keep = now
        new, hidden, saved = _step(config, weights, state, x)
        return _select(keep, new, state), (hidden, new.reads, saved if save else ())

    state, (hidden, reads, saved) = _scan(body, state, (xs, mask), num_steps)
    return (state, hidden, reads), saved


def _run_forward(config, weights, xs, state, mask, num_steps):
    results, saved = _forward(config, weights, xs, state, mask, num_steps, save=True)
    return results, (weights, xs, state, mask, num_steps, results[1], saved)


def _run_backward(config, residuals, cotangents):
    weights, xs, start, mask, num_steps, hidden, saved = residuals
    controller = _controller(config)
    # Turned once, not at every step.
    turned = {
        "controller": controller.turn(weights["controller"]),
        "heads": weights["heads"]["kernel"].T,
    }

    def body(d_new, now):
        x, keep, d_hidden, d_reads, saved = now
        d_made = d_new._replace(reads=d_new.reads + d_reads)
        d_old, results = _step_back(config, turned, d_made, d_hidden, x, saved)
        nothing = jax.tree.map(jnp.zeros_like, results)
        return _select(keep, d_old, d_new), _select(keep, results, nothing)

    d_state, d_hidden, d_reads = cotangents
    d_state, (d_xs, d_emitted, d_controller) = _scan(
        body, d_state, (xs, mask, d_hidden, d_reads, saved), num_steps, reverse=True
    )
    states = _State(None, None, saved.state.reads, saved.state.carry)  # type: ignore[arg-type]
    if num_steps is not None:
        # Not the zeros of steps that were not made: a cell may not bear them.
        made = jnp.arange(len(xs)) < num_steps
        states = jax.tree.map(
            lambda all_steps, first: jnp.where(
                made.reshape(-1, *(1,) * first.ndim), all_steps, first
            ),
            states,
            start._replace(memory=None, focus=None),
        )
    d_weights = {
        "controller": controller.gradient(
            weights["controller"], states, xs, d_controller
        ),
        "heads": _dense_gradient(hidden, d_emitted),
    }
    return d_weights, d_xs, d_state, None, None


_run.defvjp(_run_forward, _run_backward)


def _scan(body, carry, xs, num_steps, reverse=False):
    """`lax.scan` over the first `num_steps` of `xs`, all if None; zeros beyond."""
    length = len(jax.tree.leaves(xs)[0])
    if num_steps is None or length == 0:
        return lax.scan(body, carry, xs, reverse=reverse)

    def at(i):
        return jax.tree.map(
            lambda leaf: lax.dynamic_index_in_dim(leaf, i, keepdims=False), xs
        )

    collected = jax.tree.map(
        lambda leaf: jnp.zeros((length, *leaf.shape), leaf.dtype),
        jax.eval_shape(lambda: body(carry, at(0))[1]),
    )

    # Not a `scan` of `cond`, which copies the memory at every step.
    def advance(i, so_far):
        carry, collected = so_far
        i = num_steps - 1 - i if reverse else i
        carry, new = body(carry, at(i))
        return carry, jax.tree.map(
            lambda leaf, row: lax.dynamic_update_index_in_dim(leaf, row, i, 0),
            collected,
            new,
        )

    return lax.fori_loop(0, num_steps, advance, (carry, collected))


def _steps_to_make(mask: Array) -> Array:
    """One more than the last step that any sequence of `[T, B]` makes."""
    made = jnp.any(mask, axis=1)
    return jnp.max(jnp.where(made, jnp.arange(1, len(mask) + 1), 0), initial=0)


@jax.custom_batching.custom_vmap
def _most(num_steps: Array) -> Array:
    """The most that any sequence needs, so that one loop serves all under `vmap`."""
    return num_steps


@_most.def_vmap
def _most_of_batch(axis_size, in_batched, num_steps):
    del axis_size, in_batched
    return _most(jnp.max(num_steps)), False


def _step(config, weights, state, x):
    """The new state, the controller's output, and what a step back needs."""
    carry, hidden, residuals = _controller(config).step(
        weights["controller"], state.carry, x, state.reads
    )
    emitted = _dense(weights["heads"], hidden)
    controls = _controls(config, emitted)
    inverse_lengths = _inverse_length(state.memory)
    product = _product_with_slots(controls.unit, state.memory)
    cosine = product * (inverse_lengths / HEADROOM)[:, None]
    focus = _focus(cosine, state.focus, *controls.numbers)
    reading, writing = _by_kind(config, focus)
    new_state = _State(
        memory=_write(state.memory, writing, controls),
        focus=focus,
        reads=_sum_over_slots(reading, state.memory),
        carry=carry,
    )
    return new_state, hidden, _Saved(state, inverse_lengths, cosine, emitted, residuals)


def _step_back(config, turned, d_new, d_hidden, x, saved):
    """Gradients of the old state, and of x, of what was emitted, of the controller."""
    memory = saved.state.memory
    controls, controls_back = jax.vjp(
        functools.partial(_controls, config), saved.emitted
    )
    focus, focus_back = jax.vjp(
        _focus, saved.cosine, saved.state.focus, *controls.numbers
    )
    reading, writing = _by_kind(config, focus)
    d_writing, d_erase, d_add = _write_back(d_new.memory, memory, writing, controls)
    d_reading = _product_with_slots(d_new.reads, memory)
    d_focus = d_new.focus + jnp.concatenate([d_reading, d_writing], axis=1)
    d_cosine, d_previous, *d_numbers = focus_back(d_focus)

    inverse_lengths = saved.inverse_lengths
    d_product = d_cosine * (inverse_lengths / HEADROOM)[:, None]
    d_unit = _sum_over_slots(d_product, memory)
    d_length = jnp.sum(d_cosine * saved.cosine, axis=1) * inverse_lengths
    d_memory = d_new.memory
    for factor in _erase_factors(writing, controls.erase):
        d_memory = d_memory * factor
    d_memory = d_memory - memory * inverse_lengths[:, None] * d_length[:, None]
    d_memory = d_memory + jnp.einsum(
        "bkm,bkn->bmn",
        jnp.concatenate([controls.unit, d_new.reads], axis=1),
        jnp.concatenate([d_product, reading], axis=1),
    )

    (d_emitted,) = controls_back(_Controls(d_unit, tuple(d_numbers), d_erase, d_add))
    d_hidden = d_hidden + d_emitted @ turned["heads"]
    d_carry, d_x, d_reads, d_controller = _controller(config).step_back(
        turned["controller"], saved.controller, saved.state, x, d_new.carry, d_hidden
    )
    d_old = _State(d_memory, d_previous, d_reads, d_carry)
    return d_old, (d_x, d_emitted, d_controller)


# The controller.


@dataclasses.dataclass(frozen=True)
class _AnyController:
    """Made to step back by JAX; its parameters' gradient is that of one big batch."""

    module: nn.Module

    def pack(self, params):
        """The parameters as the other methods want them."""
        return params

    def turn(self, weights):
        """The weights as `step_back` wants them."""
        return weights

    def step(self, weights, carry, x, reads):
        """The new carry, the output, and what `step_back` needs beside the state."""
        inputs = jnp.concatenate([x, _flat(reads)], axis=-1)
        carry, hidden = controllers.apply(self.module, weights, carry, inputs)
        return carry, hidden, ()

    def step_back(self, turned, residuals, state, x, d_carry, d_hidden):
        """Gradients of the carry, of x and of the reads, and what `gradient` needs."""
        _, back = jax.vjp(
            lambda *inputs: self.step(turned, *inputs)[:2], state.carry, x, state.reads
        )
        return *back((d_carry, d_hidden)), (d_carry, d_hidden)

    def gradient(self, weights, states, xs, collected):
        """Gradient of the weights, from all steps at once."""
        inputs, collected = jax.tree.map(
            _merge_time, ((states.carry, xs, states.reads), collected)
        )
        _, back = jax.vjp(lambda weights: self.step(weights, *inputs)[:2], weights)
        return back(collected)[0]


@dataclasses.dataclass(frozen=True)
class _LSTM:
    """Flax's `OptimizedLSTMCell` with all its kernels as one; `_AnyController`'s ways.

    z = [x, reads, h] kernel + bias holds the four gates before their activations.
    """

    module: nn.OptimizedLSTMCell

    def pack(self, params):
        def gates(kind, entry):
            return jnp.concatenate([params[kind + g][entry] for g in "ifgo"], axis=-1)

        kernel = jnp.concatenate([gates("i", "kernel"), gates("h", "kernel")])
        return {"kernel": kernel, "bias": gates("h", "bias")}

    def turn(self, weights):
        return weights["kernel"].T

    def step(self, weights, carry, x, reads):
        c, h = carry
        z = _dense(weights, self._inputs(x, reads, h))
        c, h = self._gates(c, z)
        return (c, h), h, z

    def step_back(self, turned, z, state, x, d_carry, d_hidden):
        d_c, d_h = d_carry
        _, back = jax.vjp(self._gates, state.carry[0], z)
        d_c, d_z = back((d_c, d_h + d_hidden))
        x_size, h_size = x.shape[-1], d_c.shape[-1]
        d_inputs = d_z @ turned
        d_x, d_reads, d_h = jnp.split(
            d_inputs, [x_size, d_inputs.shape[-1] - h_size], axis=-1
        )
        return (d_c, d_h), d_x, d_reads.reshape(state.reads.shape), d_z

    def gradient(self, weights, states, xs, d_z):
        return _dense_gradient(self._inputs(xs, states.reads, states.carry[1]), d_z)

    def _inputs(self, x, reads, h):
        return jnp.concatenate([x, _flat(reads), h], axis=-1)

    def _gates(self, c, z):
        i, f, g, o = jnp.split(z, 4, axis=-1)
        gate, activation = self.module.gate_fn, self.module.activation_fn
        c = gate(f) * c + gate(i) * activation(g)
        return c, gate(o) * activation(c)


def _controller(config: NTMConfig) -> _AnyController | _LSTM:
    module = config.controller
    if type(module) is nn.OptimizedLSTMCell and module.dtype is None:
        return _LSTM(module)
    return _AnyController(module)


# The heads.


def _side_by_side(params, entry):
    """The heads' kernels as one `[H, Z]`, their biases as one `[Z]`."""
    leaves = [params[kind][entry] for kind in ("read_heads", "write_heads")]
    return jnp.concatenate([_flat(leaf) for leaf in leaves], axis=-1)


def _controls(config: NTMConfig, emitted: Array) -> _Controls:
    if config.head_clip is not None:
        emitted = jnp.clip(emitted, -config.head_clip, config.head_clip)
    m, reach = config.slot_size, config.shift_range
    r, w = config.num_read_heads, config.num_write_heads
    size = heads.addressing_size(m, reach)
    read, write = jnp.split(emitted, [r * size], axis=-1)
    read = read.reshape(len(emitted), r, size)
    write = write.reshape(len(emitted), w, heads.writing_size(m, reach))
    key, *numbers = heads.addressing(
        jnp.concatenate([read, write[..., :size]], axis=1),
        m,
        reach,
        config.key_activation,
        config.sharpening,
    )
    writing = heads.writing(write, m, reach, config.add_activation)
    return _Controls(unit_key(key), tuple(numbers), *writing)


def _by_kind(config, focus):
    """The read heads' part and the write heads' part of `[B, K, N]`."""
    r = config.num_read_heads
    return focus[:, :r], focus[:, r:]


# Where the heads look.


def _inverse_length(memory: Array) -> Array:
    """1 / sqrt(|x|^2 + ε^2) of every slot, `[B, N]`, even where squares overflow."""
    squares = _sum_of_squares(memory)
    fits = squares < _MANY
    # Not 1 / 0 where it is not chosen: that would reach second derivatives.
    tiny_squares = jnp.where(fits, 1, _sum_of_squares(memory, _TINY))
    return jnp.where(
        fits,
        lax.rsqrt(squares + SMALLEST_LENGTH**2),
        lax.rsqrt(tiny_squares) * _TINY,
    )


def _sum_of_squares(memory, scale=1.0):
    if memory.shape[1] > _WIDEST_WRITTEN_OUT:
        return jnp.sum((scale * memory) ** 2, axis=1)
    # Written out, it is one pass over the memory, vectorised along the slots.
    return sum((scale * memory[:, m]) ** 2 for m in range(memory.shape[1]))


def _focus(cosine, previous, strength, gate, shift, gamma):
    """Eqs. 6 to 9 of every head, `[B, K, N]`."""
    content = softmax_of_product(strength, cosine)
    return sharpen(circular_shift(interpolate(content, previous, gate), shift), gamma)


# What they do there.


def _write(memory, writing, controls):
    for factor in _erase_factors(writing, controls.erase):
        memory = memory * factor
    for h in range(writing.shape[1]):
        memory = memory + _outer(controls.add[:, h], writing[:, h])
    return memory


def _write_back(d_new, memory, writing, controls):
    """Gradients of the write heads' focus, of erase and of add."""
    d_add = _sum_over_slots(writing, d_new)
    d_writing = _product_with_slots(controls.add, d_new)
    d_erase, erased = [], []
    factors = _erase_factors(writing, controls.erase)
    for h in range(writing.shape[1]):
        d_lost = d_new * memory
        for factor in factors[:h] + factors[h + 1 :]:
            d_lost = d_lost * factor
        d_erase.append(-_sum_over_slots(writing[:, h : h + 1], d_lost))
        erased.append(_product_with_slots(controls.erase[:, h : h + 1], d_lost))
    d_writing = d_writing - jnp.concatenate(erased, axis=1)
    return d_writing, jnp.concatenate(d_erase, axis=1), d_add


def _erase_factors(writing, erase):
    """1 - w e of each write head, `[B, M, N]`."""
    return [1 - _outer(erase[:, h], writing[:, h]) for h in range(erase.shape[1])]


def _sum_over_slots(weights, slots):
    """`[B, K, N]` and `[B, M, N]` to `[B, K, M]`, a head at a time: CPUs want it so."""
    per_head = [
        jnp.einsum("bn,bmn->bm", weights[:, k], slots) for k in range(weights.shape[1])
    ]
    return jnp.stack(per_head, axis=1)


def _product_with_slots(vectors, slots):
    """`[B, K, M]` and `[B, M, N]` to `[B, K, N]`."""
    return jnp.einsum("bkm,bmn->bkn", vectors, slots)


def _outer(vector, weights):
    return vector[:, :, None] * weights[:, None, :]


# Arrays.


def _dense(params, inputs):
    bias = params["bias"].reshape((1,) * (inputs.ndim - 1) + params["bias"].shape)
    return inputs @ params["kernel"] + bias


def _dense_gradient(inputs, d_outputs):
    """Of a dense layer's parameters, over all steps and sequences."""
    inputs, d_outputs = _merge_time(inputs), _merge_time(d_outputs)
    return {"kernel": inputs.T @ d_outputs, "bias": jnp.sum(d_outputs, axis=0)}


def _merge_time(array):
    """`[T, B, ...]` to `[T B, ...]`."""
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])


def _flat(array):
    """The last two axes as one."""
    return array.reshape(*array.shape[:-2], array.shape[-2] * array.shape[-1])


def _select(keep, new, old):
    """`new` in the sequences to keep, else `old`; `new` where there is no mask."""
    if keep is None:
        return new
    return jax.tree.map(
        lambda a, b: jnp.where(keep.reshape(-1, *(1,) * (a.ndim - 1)), a, b), new, old
    )
