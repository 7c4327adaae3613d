"""`unroll` of the paper's order with a backward pass of its own, about twice as fast.

What JAX derives is right and slow in two ways: it adds to the gradient of every weight
at every step, and it makes many passes over the memory. Here:

* Weights. A step back gives only the cotangents of what the weights multiply into;
  their gradient is one product over all steps and sequences, made after the scan.
* Padding. Steps at the end that are masked in all sequences, and before which none
  starts afresh, are not made at all.
* Memory. It is laid out `[B, M, N]`, slots last, where vectors of a CPU run along them,
  and all that touches it is derived by hand.
* Time. What is small is saved at every step, the memory before each chunk of steps.
  The backward pass makes the others again, a chunk at a time, by their writes
  alone: where the heads looked and what they wrote is saved. Gradients take the place
  of what they are gradients of.
* Batch. On a CPU, a batch of more memories than a core's cache has room for is made a
  group of sequences at a time.
* Cores. Parts of a step are compiled apart, so that a CPU does not part them between
  its cores, which then wait for each other and for what is in the other's cache.

The derivation of a step. For one head, with M the memory before the step, u its key
over its length and l(i) = 1 / sqrt(|M(i)|^2 + ε^2):

    c(i)  = u M(i) l(i)                    cosine
    p     = softmax(β c)                   eqs. 5 and 6
    q     = g p + (1 - g) w-               eq. 7, w- its focus before
    v(i)  = Σ_j s(j) q(i - j)              eq. 8
    w     = softmax(γ x),  x = log(v)      eq. 9
    r     = Σ_i w(i) M(i)                  read
    M'(i) = M(i) (1 - w(i) e) + w(i) a     write

Backwards, with d for "gradient of", and with dM', dr and the next step's part of dw
known:

    da    = Σ_i w(i) dM'(i)
    de    = -Σ_i w(i) M(i) dM'(i)
    dw(i) += a dM'(i) - e (M(i) dM'(i)) + dr M(i)
    z(i)  = w(i) (dw(i) - Σ_j w(j) dw(j))  of the softmax, by its result alone
    dγ    = Σ_i z(i) x(i);  dx = γ z
    dv    : what JAX derives of x, and by hand what comes of `lacking`
    ds(j) = Σ_i dv(i) q(i - j);  dq(i) = Σ_j s(j) dv(i + j)
    dg    = Σ_i dq(i) (p(i) - w-(i));  dp = g dq;  dw- = (1 - g) dq
    dβ, dc: as dγ and dx, from p and dp
    du    = Σ_i dc(i) l(i) M(i)
    dM(i) = dM'(i) (1 - w(i) e) + w(i) dr + dc(i) l(i) u - dc(i) c(i) l(i)^2 M(i)

Several heads add up, but for the factors (1 - w e) of several write heads, of which
each one's gradient keeps the others. A step that the mask leaves out writes with w = 0
and passes no gradient to what it was told; a state that starts afresh passes its
gradient to what it was made of instead of to the step before.

Letters: T, N, M, R read heads, W write heads, K = R + W, S shifts, and Z for all that
the heads emit; G groups of B sequences, of all batch axes; C chunks of steps.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax import controllers, heads
from ntm_jax.addressing import (
    HEADROOM,
    SMALLEST_LENGTH,
    blend,
    bounded,
    interpolate,
    lacking,
    logarithms,
    not_negative,
    ring,
    unit_key,
    windows,
)
from ntm_jax.arrays import flat, restart, select
from ntm_jax.config import NTMConfig

try:
    from jax.experimental.scheduling_groups import xla_metadata_call
except ImportError:  # Only time depends on it.
    xla_metadata_call = None

PyTree = Any

# A power of two (so that it rounds nothing) that makes any slot's squares finite.
_TINY = 2.0**-80
# Squares beyond this may be infinite in float32.
_MANY = 2.0**120
# A core's cache has room for memories of so many numbers, several times.
_CACHED_NUMBERS = 2**16
_ENOUGH_AT_ONCE = 8
# Numbers in a CPU's vector, at most.
_VECTOR = 16
# Wider slots would make a long program if their sums were written out.
_WIDEST_WRITTEN_OUT = 64


class _State(NamedTuple):
    """An `NTMState` as it is laid out here."""

    memory: Array  # [B, M, N]
    rest: "_Rest"


class _Rest(NamedTuple):
    """All of a state but its memory."""

    focus: Array  # [B, K, N], read heads first
    reads: Array  # [B, R, M]
    carry: PyTree


class _Controls(NamedTuple):
    """What the heads are told at one step."""

    unit: Array  # [B, K, M], the keys over their lengths
    strength: Array  # [B, K]
    gate: Array  # [B, K]
    shift: Array  # [B, K, S]
    gamma: Array  # [B, K]
    erase: Array  # [B, W, M]
    add: Array  # [B, W, M]


class _Given(NamedTuple):
    """What a step's layers with weights gave; a step back puts its gradient there."""

    emitted: Array  # [B, Z]
    controller: PyTree


class _Scales(NamedTuple):
    """What the softmaxes of eqs. 6 and 9 have of all slots together, `[B, K]` each."""

    largest_cosine: Array
    lack: Array
    largest_shifted: Array


class _Step(NamedTuple):
    """What a step back needs of a step, beside the state before it and its focus."""

    inverse_lengths: Array  # [B, N]
    cosine: Array  # [B, K, N]
    scales: Array  # [B, K, 3], as `_Scales`
    given: _Given


class _Saved(NamedTuple):
    """What the forward pass keeps for the backward pass."""

    memories: Array  # [G, C, B, M, N], before each chunk of steps
    rests: _Rest  # [G, T + 1, ...], before the first step and after each
    steps: _Step  # [G, T, ...]


class _Sequence(NamedTuple):
    """What comes in, step by step."""

    xs: Array  # [G, T, B, I]
    mask: Array | None  # bool [G, T, B]
    reset: Array | None  # bool [G, T, B]
    num_steps: Array | None  # [G], after so many, none is made any more

    def inputs(self):
        """Those that each step has its own of."""
        return self.xs, *self.marks()

    def marks(self):
        """Whether a step is kept, and whether it starts afresh."""
        return self.mask, self.reset

    def end(self, g) -> int | Array:
        """The first step that a group does not make any more."""
        return self.xs.shape[1] if self.num_steps is None else self.num_steps[g]


def applies(config: NTMConfig, state: Any) -> bool:
    """Whether `unroll` here computes what this machine does from this state."""
    return (
        config.order == "read_first"
        and config.previous_weighting == "own"
        and state.memory.dtype in (jnp.float32, jnp.float64)
        and all(
            leaf.dtype == state.memory.dtype
            for leaf in jax.tree.leaves(state.controller)
        )
    )


def unroll(
    params: dict,
    xs: Array,
    config: NTMConfig,
    state: Any,
    fresh: Any,
    mask: Array | None,
    reset: Array | None,
    save_every: int | None,
) -> tuple[Any, Array]:
    """`ntm_jax.unroll` for arguments that fit and to which it `applies`.

    `fresh` is the state to start afresh from, with batch axes of size 1, or None where
    there is no `reset`.
    """
    batch = xs.shape[1:-1]

    def lay_out(state: Any) -> _State:
        axes = len(batch)
        size = math.prod(state.memory.shape[:axes])

        def merge(leaf: Array) -> Array:
            return leaf.reshape(size, *leaf.shape[axes:])

        focus = jnp.concatenate([state.read_weights, state.write_weights], axis=-2)
        return _State(
            memory=jnp.swapaxes(merge(state.memory), 1, 2),
            rest=_Rest(
                merge(focus), merge(state.reads), jax.tree.map(merge, state.controller)
            ),
        )

    def split(leaf: Array, before: int = 0) -> Array:
        return leaf.reshape(*leaf.shape[:before], *batch, *leaf.shape[before + 1 :])

    def merge_after_time(leaf: Array) -> Array:
        return leaf.reshape(len(xs), math.prod(batch), *leaf.shape[1 + len(batch) :])

    groups = _Groups.of(state.memory)
    starts = jax.tree.map(groups.deal, lay_out(state))
    inputs, mask, reset = jax.tree.map(
        lambda leaf: groups.deal(merge_after_time(leaf), axis=1), (xs, mask, reset)
    )
    if mask is not None:
        # Whatever stands in a masked step must not reach the gradient.
        inputs = jnp.where(mask[..., None], inputs, 0)
    weights = {
        "controller": _controller(config).pack(params["controller"]),
        "heads": {
            "kernel": _side_by_side(config, params, "kernel"),
            "bias": _side_by_side(config, params, "bias"),
        },
    }
    # All groups' memories before each chunk are held at once, and one group's within.
    save_every = min(save_every or math.isqrt(groups.number * len(xs)), len(xs))
    num_steps = None
    if mask is not None:
        made = mask if reset is None else mask | reset
        num_steps = _most(jax.vmap(_steps_to_make)(made))
    ends, hidden, reads = _run(
        config,
        save_every,
        weights,
        starts,
        None if fresh is None else lay_out(fresh),
        _Sequence(inputs, mask, reset, num_steps),
    )  # type: ignore[misc]
    ys = _dense(params["output"], jnp.concatenate([hidden, flat(reads)], axis=-1))
    if mask is not None:
        ys = jnp.where(mask[..., None], ys, 0)
    end = jax.tree.map(groups.gather, ends)
    r = config.num_read_heads
    state = state.replace(
        memory=split(jnp.swapaxes(end.memory, 1, 2)),
        read_weights=split(end.rest.focus[:, :r]),
        write_weights=split(end.rest.focus[:, r:]),
        reads=split(end.rest.reads),
        controller=jax.tree.map(split, end.rest.carry),
    )
    return state, split(groups.gather(ys, axis=1), 1)


# Groups of sequences, one after another.


class _Groups(NamedTuple):
    """A batch as groups of so many sequences each.

    Every group has some sequences of each part of the batch, so that a batch that is
    spread over devices stays where it is.
    """

    number: int
    size: int

    @classmethod
    def of(cls, memory: Array):
        """Groups of the size that a device is fastest with."""
        size = math.prod(memory.shape[:-2])
        if not _on_cpu():
            return cls(1, size)
        # As many as a core's cache has room for; if that is not even two, enough for
        # products of matrices.
        cached = _CACHED_NUMBERS // math.prod(memory.shape[-2:])
        most = cached if cached > 1 else _ENOUGH_AT_ONCE
        fewest = min(_ENOUGH_AT_ONCE, -(-most // 2))
        # A batch may be spread over all devices: each is to have a part of every group.
        devices = jax.local_device_count()
        fitting = [
            n
            for n in range(fewest, min(most, size) + 1)
            if size % n == 0 and n % devices == 0
        ]
        return cls(size // max(fitting), max(fitting)) if fitting else cls(1, size)

    def deal(self, leaf, axis=0):
        """`[B, ...]`, or `[T, B, ...]` with axis 1, to groups `[G, ...]` of such."""
        shape = leaf.shape
        sizes = (self.size, self.number)
        leaf = leaf.reshape(*shape[:axis], *sizes, *shape[axis + 1 :])
        return jnp.moveaxis(leaf, axis + 1, 0)

    def gather(self, leaf, axis=0):
        """What was dealt."""
        leaf = jnp.moveaxis(leaf, 0, axis + 1)
        size = self.size * self.number
        return leaf.reshape(*leaf.shape[:axis], size, *leaf.shape[axis + 2 :])


# Through time, forwards and backwards.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _run(
    config: NTMConfig,
    save_every: int,
    weights: dict,
    starts: _State,
    fresh: _State | None,
    sequence: _Sequence,
) -> tuple[_State, Array, Array]:
    """The last states, and hidden `[G, T, B, H]` and reads `[G, T, B, R, M]`."""
    step = functools.partial(_step, config, weights)

    def advance_group(g, so_far):
        ends, results = so_far

        def advance(t, so_far):
            state, results = so_far
            x, keep, afresh = _at((g, t), sequence.inputs())
            state, hidden, _ = step(restart(afresh, fresh, state), x, keep)
            return state, _put((g, t), results, (hidden, state.rest.reads))

        so_far = _row(g, starts), results
        end, results = lax.fori_loop(0, sequence.end(g), advance, so_far)
        return _put(g, ends, end), results

    hidden, _ = _shapes(step, starts, sequence)
    results = _zeros(sequence.xs.shape[:2], (hidden, _row(0, starts.rest.reads)))
    ends, results = lax.fori_loop(0, len(sequence.xs), advance_group, (starts, results))
    return ends, *results


def _run_forward(config, save_every, weights, starts, fresh, sequence):
    step = functools.partial(_step, config, weights)
    number, length = sequence.xs.shape[:2]

    def advance_group(g, so_far):
        ends, *so_far = so_far
        chunks = _Chunks(save_every, sequence.end(g))

        def advance_chunk(c, so_far):
            state, memories, rests, steps = so_far
            memories = _put((g, c), memories, state.memory)

            def advance(t, so_far):
                state, rests, steps = so_far
                x, keep, afresh = _at((g, t), sequence.inputs())
                state, _, made = step(restart(afresh, fresh, state), x, keep)
                rests = _put((g, t + 1), rests, state.rest)
                return state, rests, _put((g, t), steps, made)

            state, rests, steps = lax.fori_loop(
                *chunks.bounds(c), advance, (state, rests, steps)
            )
            return state, memories, rests, steps

        end, *so_far = lax.fori_loop(
            0, chunks.number, advance_chunk, (_row(g, starts), *so_far)
        )
        return _put(g, ends, end), *so_far

    memories = _zeros(
        (number, _Chunks(save_every, length).number), _row(0, starts.memory)
    )
    # Where no step is made, what the first one is told. A cell may not bear zeros; and
    # what no step is told may be anything.
    afresh = jax.tree.map(lambda flags: flags[:, 0], sequence.reset)
    rests = jax.tree.map(
        lambda leaf: jnp.broadcast_to(
            leaf[:, None], (number, length + 1, *leaf.shape[1:])
        ),
        restart(afresh, fresh and fresh.rest, starts.rest),
    )
    _, made = _shapes(step, starts, sequence)
    steps = _zeros((number, length), made)
    ends, memories, rests, steps = lax.fori_loop(
        0, number, advance_group, (starts, memories, rests, steps)
    )
    saved = _Saved(memories, rests, steps)
    hiddens = _controller(config).outputs(rests, steps.given.controller)
    return (ends, hiddens, rests.reads[:, 1:]), (weights, fresh, sequence, saved)


def _shapes(step, starts, sequence):
    """Of the controller's output, and of what a step back needs of a step."""
    x, keep, _ = _row((0, 0), sequence.inputs())
    _, hidden, made = jax.eval_shape(step, _row(0, starts), x, keep)
    return hidden, made


def _run_backward(config, save_every, residuals, cotangents):
    weights, fresh, sequence, saved = residuals
    d_ends, d_hiddens, d_reads = cotangents
    controller = _controller(config)
    # Turned once, not at every step.
    turned = {
        "controller": controller.turn(weights["controller"], sequence.xs.shape[-1]),
        "heads": weights["heads"]["kernel"].T,
    }
    fresh_needed = fresh and _State(fresh.memory, controller.needed(fresh.rest))
    number = len(sequence.xs)
    # The memory's gradient changes between two places: a CPU does not split what it
    # writes into a place, so that no core then wants the other's half. Where memories
    # are too large for a cache, that is well split.
    places = 2 if math.prod(saved.memories.shape[2:]) <= _CACHED_NUMBERS else 1

    def remember(g, c, bounds, steps, memories):
        """The memories that a chunk's steps are told, one each, by its writes alone."""
        first, end = bounds

        def write_again(t, memories):
            keep, afresh = _at((g, t), sequence.marks())
            memory = _at(t - first, memories)
            memory = restart(afresh, fresh and fresh.memory, memory)
            _, writing = _by_kind(config, _at((g, t + 1), saved.rests.focus))
            parts = _parts(config, _at((g, t), steps.given.emitted))
            controls = _controls(config, *parts)
            memory = _write(memory, _kept(keep, writing), controls)
            return _put(t + 1 - first, memories, memory)

        memories = _put(0, memories, _at((g, c), saved.memories))
        return lax.fori_loop(first, end - 1, write_again, memories)

    def step_back(g, t, memory, steps, d_state, d_fresh):
        keep, afresh = _at((g, t), sequence.marks())
        before = _State(memory, _at((g, t), controller.needed(saved.rests)))
        d_rest = d_state.rest._replace(reads=d_state.rest.reads + _at((g, t), d_reads))
        d_state, d_given = _step_back(
            config,
            turned,
            _State(d_state.memory, d_rest),
            _at((g, t), d_hiddens),
            restart(afresh, fresh_needed, before),
            _at((g, t + 1), saved.rests.focus),
            _at((g, t), steps),
            keep,
        )
        if fresh is not None:
            d_fresh = jax.tree.map(
                lambda total, leaf: total + jnp.sum(leaf, axis=0, keepdims=True),
                d_fresh,
                _kept(afresh, d_state),
            )
            d_state = _kept(~afresh, d_state)
        # In place of what nothing asks for any more.
        steps = steps._replace(given=_put((g, t), steps.given, d_given))
        return steps, d_state, d_fresh

    def retreat_group(i, so_far):
        d_starts, *so_far = so_far
        g = number - 1 - i  # The last one's are in the cache yet.
        chunks = _Chunks(save_every, sequence.end(g))

        def retreat_chunk(i, so_far):
            d_memories, d_rest, d_fresh, memories, steps = so_far
            c = chunks.number - 1 - i
            first, end = chunks.bounds(c)
            memories = remember(g, c, (first, end), steps, memories)

            def retreat(i, so_far):
                d_memories, d_rest, d_fresh, steps = so_far
                t = end - 1 - (i - first)
                d_state = _State(_at((t + 1) % places, d_memories), d_rest)
                steps, d_state, d_fresh = step_back(
                    g, t, _at(t - first, memories), steps, d_state, d_fresh
                )
                d_memories = _put(t % places, d_memories, d_state.memory)
                return d_memories, d_state.rest, d_fresh, steps

            d_memories, d_rest, d_fresh, steps = lax.fori_loop(
                first, end, retreat, (d_memories, d_rest, d_fresh, steps)
            )
            return d_memories, d_rest, d_fresh, memories, steps

        d_end = _row(g, d_ends)
        d_memories = jnp.broadcast_to(d_end.memory, (places, *d_end.memory.shape))
        d_memories, d_rest, *so_far = lax.fori_loop(
            0, chunks.number, retreat_chunk, (d_memories, d_end.rest, *so_far)
        )
        d_start = _State(_at(0, d_memories), d_rest)
        return _put(g, d_starts, d_start), *so_far

    d_fresh = jax.tree.map(jnp.zeros_like, fresh)
    memories = _zeros((save_every,), _row((0, 0), saved.memories))
    d_starts, d_fresh, _, steps = lax.fori_loop(
        0, number, retreat_group, (d_ends, d_fresh, memories, saved.steps)
    )

    # From what was saved: in `steps` gradients have taken its place.
    hiddens = controller.outputs(saved.rests, saved.steps.given.controller)
    rests = jax.tree.map(lambda leaf: leaf[:, :-1], saved.rests)
    rests = restart(sequence.reset, fresh and fresh.rest, rests)
    rests, xs, hiddens, (d_emitted, d_controller) = jax.tree.map(
        _merge_first, (rests, sequence.xs, hiddens, steps.given)
    )
    d_controller, d_xs = controller.gradient(
        weights["controller"], rests, xs, d_controller
    )
    d_weights = {
        "controller": d_controller,
        "heads": _dense_gradient((hiddens,), d_emitted),
    }
    d_xs = d_xs.reshape(sequence.xs.shape)
    return d_weights, d_starts, d_fresh, _Sequence(d_xs, None, None, None)


_run.defvjp(_run_forward, _run_backward)


class _Chunks(NamedTuple):
    """Steps in groups of `size`, the last perhaps smaller."""

    size: int
    num_steps: int | Array

    @property
    def number(self):
        return -(-self.num_steps // self.size)

    def bounds(self, c):
        """The first step of a chunk, and the first after it."""
        first = c * self.size
        return first, jnp.minimum(first + self.size, self.num_steps)


def _on_cpu() -> bool:
    return jax.default_backend() == "cpu"


def _apart(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled apart from what surrounds it if that is for a CPU.

    XLA's runtime there hands a part of what is ready over to another core as soon as
    that is more than eight operations, whatever it costs. What is apart counts as one,
    and waits for all that it is given.
    """
    if xla_metadata_call is None or not _on_cpu():
        return function
    return xla_metadata_call(function, inlineable="false")


def _with_back_apart(function, *inputs):
    """What a function gives, and what makes of its gradient those of the inputs.

    As `jax.vjp`, but each is made apart, and the latter from the inputs alone: what
    both need is made twice, and nothing handed over.
    """

    def back(gradients):
        return _apart(
            lambda inputs, gradients: jax.vjp(function, *inputs)[1](gradients)
        )(inputs, gradients)

    return _apart(function)(*inputs), back


def _at(place, tree):
    """What every leaf has at place i, or (i, j), of its first axes; made apart."""
    return _apart(_row)(place, tree)


def _row(place, tree):
    """The same, not apart: of a constant, XLA makes no more than is asked for."""
    place = place if isinstance(place, tuple) else (place,)
    axes = len(place)

    def at(leaf):
        row = leaf.shape[axes:]
        place_in_leaf = (*place, *(0,) * len(row))
        cut = lax.dynamic_slice(
            leaf, place_in_leaf, (*(1,) * axes, *row), allow_negative_indices=False
        )
        return cut.reshape(row)

    return jax.tree.map(at, tree)


def _put(place, tree, row):
    """The tree with that at place i, or (i, j)."""
    place = place if isinstance(place, tuple) else (place,)

    def put(leaf, new):
        place_in_leaf = (*place, *(0,) * new.ndim)
        return lax.dynamic_update_slice(
            leaf,
            new.reshape(*(1,) * len(place), *new.shape),
            place_in_leaf,
            allow_negative_indices=False,
        )

    return jax.tree.map(put, tree, row)


def _zeros(sizes, row):
    """Room for so many rows, on the devices that have this one: `shard_map` asks."""
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(jnp.zeros_like(leaf), (*sizes, *leaf.shape)), row
    )


def _steps_to_make(mask: Array) -> Array:
    """One more than the last step that any sequence of `[T, B]` makes."""
    made = jnp.any(mask, axis=1)
    return jnp.max(jnp.where(made, jnp.arange(1, len(mask) + 1), 0), initial=0)


@jax.custom_batching.custom_vmap
def _most(num_steps: Array) -> Array:
    """The most that any sequence needs, so that one loop serves all under `vmap`.

    Of each group `[G]`.
    """
    return num_steps


@_most.def_vmap
def _most_of_batch(axis_size, in_batched, num_steps):
    del axis_size, in_batched
    return _most(jnp.max(num_steps, axis=0)), False


# One step, forwards and backwards.


def _step(config, weights, state, x, keep):
    """The new state, the controller's output, and what a step back needs."""
    memory, old = state
    carry, hidden, residuals = _controller(config).step(
        weights["controller"], old.carry, x, old.reads
    )
    emitted = _dense(weights["heads"], hidden)
    controls = _apart(functools.partial(_controls, config))(*_parts(config, emitted))
    inverse_lengths = _inverse_length(memory)
    product = _product_with_slots(controls.unit, memory)
    cosine = product * (inverse_lengths / HEADROOM)[:, None]
    largest_cosine = jnp.max(cosine, axis=-1)
    from_largest = cosine - largest_cosine[..., None]
    content = _softmax_of_product(controls.strength, from_largest)
    _, shifted = _shifted(config, controls, content, old.focus)
    positive = not_negative(shifted)
    lack = lacking(_total(positive))
    # With what they lack, which does not change which one is the largest.
    largest_shifted = jnp.max(positive, axis=-1) + lack
    values = logarithms(positive + lack[..., None], largest_shifted)
    focus = _softmax_of_product(controls.gamma, values)
    scales = jnp.stack(_Scales(largest_cosine, lack, largest_shifted), axis=-1)
    reading, writing = _by_kind(config, focus)
    reads = _sum_over_slots(reading, memory)

    def write(reads, memory, writing, controls):
        return reads, _write(memory, writing, controls)

    # A weighting of zeros leaves the memory exactly as it is.
    writing = _kept(keep, writing)
    # Told the reads, the call waits for them: XLA may then write where they were read.
    reads, memory = _apart(write)(reads, memory, writing, controls)
    rest = _Rest(focus, reads, carry)
    if keep is not None:
        rest = select(keep, rest, old)
    made = _Step(inverse_lengths, cosine, scales, _Given(emitted, residuals))
    return _State(memory, rest), hidden, made


def _step_back(config, turned, d_new, d_hidden, before, focus, made, keep):
    """Gradients of the state before, of what was emitted, of the controller's part.

    Where the step is not to be kept, all that comes from it is zero.
    """
    memory, old = before
    d_rest = _kept(keep, d_new.rest)
    controls, controls_back = _with_back_apart(
        functools.partial(_controls, config), *_parts(config, made.given.emitted)
    )
    reading, writing = _by_kind(config, focus)
    writing = _kept(keep, writing)
    d_writing, d_erase, d_add = _apart(_write_back)(
        d_new.memory, memory, writing, controls
    )
    d_reading = _product_with_slots(d_rest.reads, memory)
    d_focus = jnp.concatenate([d_reading, _kept(keep, d_writing)], axis=1)

    cosine, scales = made.cosine, _Scales(*jnp.moveaxis(made.scales, -1, 0))
    from_largest = cosine - scales.largest_cosine[..., None]
    content = _softmax_of_product(controls.strength, from_largest)
    rotated, shifted = _shifted(config, controls, content, old.focus)
    values, logarithms_back = jax.vjp(
        functools.partial(logarithms, largest=scales.largest_shifted),
        not_negative(shifted) + scales.lack[..., None],
    )
    d_gamma, d_values = _softmax_of_product_back(
        focus, controls.gamma, values, d_rest.focus + d_focus
    )
    (d_positive,) = logarithms_back(d_values)
    # What v lacks is added to each: 2^-32 less their sum, without negative ones.
    d_lack = jnp.where(scales.lack > 0, _total(d_positive), 0)[..., None]
    d_shifted = jnp.where(shifted < 0, 0, d_positive - d_lack)
    d_shift = jnp.einsum("bkn,bksn->bks", d_shifted, jnp.stack(rotated, axis=2))
    # What went by a shift comes back by its opposite.
    d_gated = blend(_rotated(d_shifted, config.shift_range), controls.shift[..., ::-1])
    d_gate = _total(d_gated * (content - old.focus))
    d_content = controls.gate[..., None] * d_gated
    d_previous = d_gated - d_content
    d_strength, d_cosine = _softmax_of_product_back(
        content, controls.strength, from_largest, d_content
    )

    d_product = d_cosine * (made.inverse_lengths / HEADROOM)[:, None]
    d_unit = _sum_over_slots(d_product, memory)
    d_length = jnp.sum(d_cosine * cosine, axis=1) * made.inverse_lengths
    d_memory = d_new.memory
    for factor in _erase_factors(writing, controls.erase):
        d_memory = d_memory * factor
    d_memory = d_memory - memory * (made.inverse_lengths * d_length)[:, None]
    d_memory = d_memory + jnp.einsum(
        "bkm,bkn->bmn",
        jnp.concatenate([controls.unit, d_rest.reads], axis=1),
        jnp.concatenate([d_product, reading], axis=1),
    )

    d_parts = controls_back(
        _Controls(d_unit, d_strength, d_gate, d_shift, d_gamma, d_erase, d_add)
    )
    d_emitted = jnp.concatenate(d_parts, axis=-1)

    def controller_back(turned, kept, old, d_carry, d_hidden, d_emitted):
        d_hidden = d_hidden + d_emitted @ turned["heads"]
        return _controller(config).step_back(
            turned["controller"], kept, old, d_carry, d_hidden
        )

    d_carry, d_reads, d_controller = _apart(controller_back)(
        turned, made.given.controller, old, d_rest.carry, d_hidden, d_emitted
    )
    d_old = _Rest(d_previous, d_reads, d_carry)
    if keep is not None:
        d_old = select(keep, d_old, d_new.rest)
    return _State(d_memory, d_old), _Given(d_emitted, d_controller)


# The controller.


@dataclasses.dataclass(frozen=True)
class _AnyController:
    """Made to step back by JAX; its parameters' gradient is that of one big batch."""

    module: nn.Module

    def pack(self, params):
        """The parameters as the other methods want them."""
        return params

    def turn(self, weights, input_size):
        """The weights as `step_back` wants them."""
        del input_size
        return weights

    def step(self, weights, carry, x, reads):
        """The new carry, the output, and what to keep, like what `step_back` gives."""
        inputs = jnp.concatenate([x, flat(reads)], axis=-1)
        carry, hidden = controllers.apply(self.module, weights, carry, inputs)
        return carry, hidden, (x, (carry, hidden))

    def outputs(self, rests, kept):
        """The outputs `[G, T, B, H]`; anything finite for a step that is left out."""
        del rests
        _, (_, hiddens) = kept
        return hiddens

    def needed(self, rest):
        """What `step_back` wants of the state before, and None for all else."""
        return rest

    def step_back(self, turned, kept, rest, d_carry, d_hidden):
        """Gradients of the carry and of the reads, and what `gradient` needs."""
        x, _ = kept
        _, back = jax.vjp(
            lambda *inputs: self.step(turned, *inputs)[:2], rest.carry, x, rest.reads
        )
        d_old_carry, d_x, d_reads = back((d_carry, d_hidden))
        return d_old_carry, d_reads, (d_x, (d_carry, d_hidden))

    def gradient(self, weights, states, xs, collected):
        """Gradients of the weights and of `xs`, from all steps at once."""
        d_xs, collected = collected
        inputs, collected = jax.tree.map(
            _merge_first, ((states.carry, xs, states.reads), collected)
        )
        _, back = jax.vjp(lambda weights: self.step(weights, *inputs)[:2], weights)
        return back(collected)[0], d_xs


@dataclasses.dataclass(frozen=True)
class _LSTM:
    """Flax's `OptimizedLSTMCell` with all its kernels as one; `_AnyController`'s ways.

    z = [x, reads, h] kernel + bias holds the gates i, f, g, o before their activations
    (g's is tanh, the others' σ); c' = f c + i g and h' = o tanh(c'). Backwards, with
    dh' and the next step's part of dc' known:

        dc' += dh' o (1 - tanh(c')^2);  dc = f dc'
        dz   = (g i (1 - i) dc', c f (1 - f) dc', i (1 - g^2) dc',
                tanh(c') o (1 - o) dh')
    """

    reads: tuple[int, int]  # R and M

    def pack(self, params):
        def gates(kind, entry):
            return jnp.concatenate([params[kind + g][entry] for g in "ifgo"], axis=-1)

        kernel = jnp.concatenate([gates("i", "kernel"), gates("h", "kernel")])
        return {"kernel": kernel, "bias": gates("h", "bias")}

    def turn(self, weights, input_size):
        # Not the inputs' rows: no step waits for their gradient. Columns of zeros make
        # the rows whole vectors of a CPU.
        turned = weights["kernel"][input_size:].T
        return jnp.pad(turned, ((0, 0), (0, -turned.shape[1] % _VECTOR)))

    def step(self, weights, carry, x, reads):
        c, h = carry
        z = _dense(weights, jnp.concatenate(self._inputs(x, reads, h), axis=-1))
        # All four by one tanh: σ(z) = (tanh(z / 2) + 1) / 2, within the dtype's eps.
        is_g = jnp.arange(z.shape[-1]) // c.shape[-1] == "ifgo".index("g")
        scale = jnp.where(is_g, 1, 0.5).astype(z.dtype)[None]
        gates = scale * jnp.tanh(scale * z) + (1 - scale)
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = f * c + i * g
        h = o * jnp.tanh(c)
        return (c, h), h, gates

    def outputs(self, rests, gates):
        del gates
        _, h = rests.carry
        return h[:, 1:]

    def needed(self, rest):
        # The gates tell all of h and of the reads that counts.
        return rest._replace(reads=None, carry=(rest.carry[0], None))

    def step_back(self, turned, gates, rest, d_carry, d_hidden):
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c, _ = rest.carry
        d_c, d_h = d_carry
        squashed = jnp.tanh(f * c + i * g)
        d_h = d_h + d_hidden
        d_c = d_c + d_h * o * (1 - squashed**2)
        d_z = jnp.concatenate(
            [
                d_c * g * i * (1 - i),
                d_c * c * f * (1 - f),
                d_c * i * (1 - g**2),
                d_h * squashed * o * (1 - o),
            ],
            axis=-1,
        )
        size = math.prod(self.reads)
        d_reads, d_h, _ = jnp.split(d_z @ turned, [size, size + c.shape[-1]], axis=-1)
        return (d_c * f, d_h), d_reads.reshape(-1, *self.reads), d_z

    def gradient(self, weights, states, xs, d_z):
        inputs = self._inputs(xs, states.reads, states.carry[1])
        d_xs = d_z @ weights["kernel"][: xs.shape[-1]].T
        return _dense_gradient(inputs, d_z), d_xs

    def _inputs(self, x, reads, h):
        """What the kernel's rows belong to, in their order."""
        return x, flat(reads), h


def _controller(config: NTMConfig) -> _AnyController | _LSTM:
    module = config.controller
    if (
        type(module) is nn.OptimizedLSTMCell
        and module.dtype is None
        and module.gate_fn is nn.sigmoid
        and module.activation_fn is nn.tanh
    ):
        return _LSTM((config.num_read_heads, config.slot_size))
    return _AnyController(module)


# The heads.


def _side_by_side(config, params, entry):
    """The heads' kernels as one `[H, Z]`, their biases as one `[Z]`.

    First k, β, g, s and γ of every head, read heads first, then e and a of the write
    heads: a step cuts what they emit in two.
    """
    size = heads.addressing_size(config.slot_size, config.shift_range)
    read, write = params["read_heads"][entry], params["write_heads"][entry]
    parts = read, write[..., :size], write[..., size:]
    return jnp.concatenate([flat(part) for part in parts], axis=-1)


def _parts(config, emitted):
    """What the heads emit, `[B, Z]`, cut in two: to address by, and to write.

    Each is an array of its own, and so is its gradient: XLA makes slow loops of cutting
    and joining together with what the parts are made into.
    """
    num_heads = config.num_read_heads + config.num_write_heads
    end = num_heads * heads.addressing_size(config.slot_size, config.shift_range)
    return _apart(lambda emitted: jnp.split(emitted, [end], axis=-1))(emitted)


def _controls(config: NTMConfig, *parts: Array) -> _Controls:
    if (clip := config.head_clip) is not None:
        parts = tuple(jnp.clip(part, -clip, clip) for part in parts)
    to_address, to_write = parts
    m, r, w = config.slot_size, config.num_read_heads, config.num_write_heads
    batch, size = len(to_address), heads.addressing_size(m, config.shift_range)
    key, strength, gate, shift, gamma = heads.addressing(
        to_address.reshape(batch, r + w, size),
        m,
        config.shift_range,
        config.key_activation,
        config.sharpening,
    )
    written = heads.writing(to_write.reshape(batch, w, 2 * m), m, config.add_activation)
    return _Controls(
        unit_key(key), bounded(strength), gate, shift, bounded(gamma), *written
    )


def _by_kind(config, focus):
    """The read heads' part and the write heads' part of `[B, K, N]`."""
    r = config.num_read_heads
    return focus[:, :r], focus[:, r:]


# Where the heads look.


def _inverse_length(memory: Array) -> Array:
    """1 / sqrt(|x|^2 + ε^2) of every slot, `[B, N]`, even where squares overflow."""
    squares = _sum_of_squares(memory)

    def usual(squares):
        return lax.rsqrt(squares + SMALLEST_LENGTH**2)

    def where_they_overflow(squares):
        fits = squares < _MANY
        # Not 1 / 0 where it is not chosen: that would reach second derivatives.
        tiny_squares = jnp.where(fits, 1, _sum_of_squares(memory, _TINY))
        return jnp.where(fits, usual(squares), lax.rsqrt(tiny_squares) * _TINY)

    # Nearly never: a branch spares another pass over the memory. Where the sum of all
    # is small, each is; the largest of all takes XLA longer.
    fit = jnp.all(_total(squares) < _MANY)
    return lax.cond(fit, usual, where_they_overflow, squares)


def _sum_of_squares(memory, scale=1.0):
    if memory.shape[1] > _WIDEST_WRITTEN_OUT:
        return jnp.sum((scale * memory) ** 2, axis=1)
    # Written out, it is one pass over the memory, vectorised along the slots.
    return sum((scale * memory[:, m]) ** 2 for m in range(memory.shape[1]))


def _shifted(config, controls, content, previous):
    """Eqs. 7 and 8, `[B, K, N]`: what eq. 8 sums up, and its sum."""
    gated = interpolate(content, previous, controls.gate)
    rotated = _rotated(gated, config.shift_range)
    return rotated, blend(rotated, controls.shift)


def _rotated(weights, reach):
    """The weights `[B, K, N]` by each shift; their ring is made once, for all."""
    return windows(_apart(functools.partial(ring, reach=reach))(weights), reach)


def _softmax_of_product(factor, values):
    """softmax_i(f x(i)), `[B, K, N]`, for x(i) of which the largest is 0."""
    powers = jnp.exp(factor[..., None] * values)
    return powers / _total(powers)[..., None]


def _softmax_of_product_back(softmax, factor, values, d_softmax):
    """Gradients of the factor and of the values, which may lack a common term."""
    d_product = softmax * (d_softmax - _total(softmax * d_softmax)[..., None])
    return _total(d_product * values), factor[..., None] * d_product


def _total(weights):
    """Σ_i of `[..., N]`; for a CPU a product with ones is the best that XLA makes."""
    if not _on_cpu():
        return jnp.sum(weights, axis=-1)
    ones = jnp.ones(weights.shape[-1], weights.dtype)
    return jnp.matmul(weights, ones, precision=lax.Precision.HIGHEST)


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
        # Halved: a product of two arrays and of nothing else XLA makes many times as
        # slow for a CPU.
        half_d_lost = 0.5 * d_new * memory
        for factor in factors[:h] + factors[h + 1 :]:
            half_d_lost = half_d_lost * factor
        d_erase.append(-2 * _sum_over_slots(writing[:, h : h + 1], half_d_lost))
        d_erased = _product_with_slots(controls.erase[:, h : h + 1], half_d_lost)
        erased.append(2 * d_erased)
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
    """Of a dense layer's parameters, over all steps and sequences.

    Its inputs are `inputs` side by side; put so, they would all be copied.
    """
    # Letters in the order of the axes: einsum sorts by them what it sums over.
    kernels = [jnp.einsum("abi,abo->io", part, d_outputs) for part in inputs]
    return {
        "kernel": jnp.concatenate(kernels),
        "bias": jnp.sum(d_outputs, axis=(0, 1)),
    }


def _merge_first(array):
    """`[G, T, ...]` to `[G T, ...]`, or `[T, B, ...]` to `[T B, ...]`."""
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])


def _kept(keep, tree):
    """The tree, but zeros where it is not to be kept; all of it if that is not said."""
    if keep is None:
        return tree
    return select(keep, tree, jax.tree.map(jnp.zeros_like, tree))
