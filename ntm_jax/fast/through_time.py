"""All steps, forwards and in reverse: a `custom_vjp` over tiles, chunks and steps.

The forward pass saves what is small at every step, and the memory before each chunk of
steps. The backward pass recomputes the memories of one chunk at a time from their
writes. It stores each cotangent in the buffer of its primal, once that is not needed.

Buffers have a row for each tile and step, `[G, T, ...]`. `g` is a tile, `c` a chunk and
`t` a step.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.arrays import reset_where, select
from ntm_jax.config import NTMConfig
from ntm_jax.fast import xla
from ntm_jax.fast.controller import controller_of
from ntm_jax.fast.dense import dense_gradient, merge_first
from ntm_jax.fast.layout import PyTree, Sequence, Small, State
from ntm_jax.fast.once import once_in_reverse
from ntm_jax.fast.step import (
    StepResiduals,
    recompute_write,
    step,
    step_vjp,
    zeros_unless,
)
from ntm_jax.masking import harmless_carry

_TWICE = (
    "unroll: the fast path has no second derivative in reverse; for gradients of "
    'gradients pass implementation="autodiff"'
)


class Settings(NamedTuple):
    """What is fixed when a program is traced."""

    config: NTMConfig
    save_every: int  # steps in a chunk
    for_cpu: bool


class Residuals(NamedTuple):
    """What the forward pass saves for the backward pass."""

    memories: Array  # [G, C, B, M, N], before each chunk
    smalls: Small  # [G, T + 1, ...], before the first step and after each
    steps: StepResiduals  # [G, T, ...]


class Chunks(NamedTuple):
    """Steps in groups of `size`; the last group may be smaller."""

    size: int
    num_steps: int | Array

    @property
    def number(self) -> Any:
        """How many chunks there are."""
        return -(-self.num_steps // self.size)

    def bounds(self, c):
        """The first step of a chunk, and the first step after it."""
        first = c * self.size
        return first, jnp.minimum(first + self.size, self.num_steps)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def run(
    settings: Settings,
    weights: PyTree,
    starts: State,
    initial: State | None,
    sequence: Sequence,
) -> tuple[State, Array, Array]:
    """The last states, and hidden `[G, T, B, H]` and reads `[G, T, B, R, M]`.

    Args:
      settings: of the program.
      weights: of the controller and the heads, packed.
      starts: the states before the first step, of each tile.
      initial: what a reset puts in place of a state, batch axis of size 1, or None.
      sequence: the inputs.
    """
    one_step = functools.partial(step, settings.config, weights)

    def run_tile(g, carry):
        ends, results = carry

        def body(t, carry):
            state, results = carry
            x, mask, reset = xla.row_noinline((g, t), sequence.inputs())
            state, hidden, _ = one_step(reset_where(reset, initial, state), x, mask)
            return state, xla.set_row((g, t), results, (hidden, state.small.reads))

        end, results = lax.fori_loop(
            0, sequence.end(g), body, (xla.row(g, starts), results)
        )
        return xla.set_row(g, ends, end), results

    with xla.forms(settings.for_cpu):
        hidden, _ = _shapes(one_step, starts, sequence)
        results = xla.buffers_like(
            sequence.xs.shape[:2], (hidden, xla.row(0, starts.small.reads))
        )
        ends, results = lax.fori_loop(0, len(sequence.xs), run_tile, (starts, results))
    return ends, *results


def _run_fwd(settings, *arguments):
    return once_in_reverse(functools.partial(_forward, settings), _TWICE)(*arguments)


def _forward(settings, weights, starts, initial, sequence):
    """What `run` returns, and what `_backward` takes beside the cotangents."""
    one_step = functools.partial(step, settings.config, weights)
    number, length = sequence.xs.shape[:2]

    def run_tile(g, carry):
        ends, *carry = carry
        chunks = Chunks(settings.save_every, sequence.end(g))

        def run_chunk(c, carry):
            state, memories, smalls, steps = carry
            memories = xla.set_row((g, c), memories, state.memory)

            def body(t, carry):
                state, smalls, steps = carry
                x, mask, reset = xla.row_noinline((g, t), sequence.inputs())
                state = reset_where(reset, initial, state)
                state, _, residuals = one_step(state, x, mask)
                smalls = xla.set_row((g, t + 1), smalls, state.small)
                return state, smalls, xla.set_row((g, t), steps, residuals)

            state, smalls, steps = lax.fori_loop(
                *chunks.bounds(c), body, (state, smalls, steps)
            )
            return state, memories, smalls, steps

        end, *carry = lax.fori_loop(
            0, chunks.number, run_chunk, (xla.row(g, starts), *carry)
        )
        return xla.set_row(g, ends, end), *carry

    with xla.forms(settings.for_cpu):
        memories = xla.buffers_like(
            (number, Chunks(settings.save_every, length).number),
            xla.row(0, starts.memory),
        )
        # Rows of steps that are not computed keep the first state: a cell may fail on
        # zeros, and what a masked step gets may be anything.
        reset = jax.tree.map(lambda flags: flags[:, 0], sequence.reset)
        smalls = jax.tree.map(
            lambda leaf: jnp.broadcast_to(
                leaf[:, None], (number, length + 1, *leaf.shape[1:])
            ),
            reset_where(reset, initial and initial.small, starts.small),
        )
        _, residuals = _shapes(one_step, starts, sequence)
        steps = xla.buffers_like((number, length), residuals)
        ends, memories, smalls, steps = lax.fori_loop(
            0, number, run_tile, (starts, memories, smalls, steps)
        )
        controller = controller_of(settings.config)
        hiddens = controller.outputs(smalls, steps.outputs.controller)
    saved = Residuals(memories, smalls, steps)
    return (ends, hiddens, smalls.reads[:, 1:]), (weights, initial, sequence, saved)


def _shapes(one_step, starts, sequence):
    """Shapes of the controller's output and of a step's residuals."""
    x, mask, _ = xla.row((0, 0), sequence.inputs())
    _, hidden, residuals = jax.eval_shape(one_step, xla.row(0, starts), x, mask)
    return hidden, residuals


def _run_bwd(settings, residuals, cotangents):
    backward = once_in_reverse(functools.partial(_backward, settings), _TWICE)
    return backward(*residuals, cotangents)


def _backward(settings, weights, initial, sequence, saved, cotangents):
    """Cotangents of all arguments of `run`."""
    with xla.forms(settings.for_cpu):
        d_starts, d_initial, d_outputs = _reverse_steps(
            settings, weights, initial, sequence, saved, cotangents
        )
        d_weights, d_xs = _gradients(
            settings.config, weights, initial, sequence, saved, d_outputs
        )
    return d_weights, d_starts, d_initial, Sequence(d_xs, None, None, None)


def _reverse_steps(settings, weights, initial, sequence, saved, cotangents):
    """Cotangents of starts, of `initial`, and of the layers' outputs at every step."""
    d_ends, d_hiddens, d_reads = cotangents
    config = settings.config
    controller = controller_of(config)
    # Transposed once, not at every step.
    transposed = {
        "controller": controller.transpose(
            weights["controller"], sequence.xs.shape[-1]
        ),
        "heads": weights["heads"]["kernel"].T,
    }
    initial_needed = initial and State(initial.memory, controller.needed(initial.small))
    number = len(sequence.xs)
    num_buffers = xla.num_cotangent_buffers(saved.memories.shape[2:])

    def masks(g, t):
        return xla.row_noinline((g, t), (sequence.mask, sequence.reset))

    def recompute_memories(g, c, bounds, steps, memories):
        """The memory before each step of a chunk."""
        first, end = bounds

        def body(t, memories):
            mask, reset = masks(g, t)
            memory = xla.row_noinline(t - first, memories)
            memory = recompute_write(
                config,
                reset_where(reset, initial and initial.memory, memory),
                xla.row_noinline((g, t + 1), saved.smalls.weightings),
                xla.row_noinline((g, t), steps.outputs.emitted),
                mask,
            )
            return xla.set_row(t + 1 - first, memories, memory)

        memories = xla.set_row(0, memories, xla.row_noinline((g, c), saved.memories))
        return lax.fori_loop(first, end - 1, body, memories)

    def reverse_step(g, t, memory, steps, d_state, d_initial):
        mask, reset = masks(g, t)
        small = xla.row_noinline((g, t), controller.needed(saved.smalls))
        d_small = d_state.small._replace(
            reads=d_state.small.reads + xla.row_noinline((g, t), d_reads)
        )
        d_state, d_outputs = step_vjp(
            config,
            transposed,
            State(d_state.memory, d_small),
            xla.row_noinline((g, t), d_hiddens),
            reset_where(reset, initial_needed, State(memory, small)),
            xla.row_noinline((g, t + 1), saved.smalls.weightings),
            xla.row_noinline((g, t), steps),
            mask,
        )
        if initial is not None:
            # After a reset, the cotangent goes to `initial`, not to the step before.
            d_initial = jax.tree.map(
                lambda total, leaf: total + jnp.sum(leaf, axis=0, keepdims=True),
                d_initial,
                zeros_unless(reset, d_state),
            )
            d_state = zeros_unless(~reset, d_state)
        steps = steps._replace(outputs=xla.set_row((g, t), steps.outputs, d_outputs))
        return steps, d_state, d_initial

    def reverse_chunk(g, chunks, i, carry):
        d_memories, d_small, d_initial, memories, steps = carry
        c = chunks.number - 1 - i
        first, end = chunks.bounds(c)
        memories = recompute_memories(g, c, (first, end), steps, memories)

        def body(i, carry):
            d_memories, d_small, d_initial, steps = carry
            t = end - 1 - (i - first)
            d_memory = xla.row_noinline((t + 1) % num_buffers, d_memories)
            steps, d_state, d_initial = reverse_step(
                g,
                t,
                xla.row_noinline(t - first, memories),
                steps,
                State(d_memory, d_small),
                d_initial,
            )
            d_memories = xla.set_row(t % num_buffers, d_memories, d_state.memory)
            return d_memories, d_state.small, d_initial, steps

        d_memories, d_small, d_initial, steps = lax.fori_loop(
            first, end, body, (d_memories, d_small, d_initial, steps)
        )
        return d_memories, d_small, d_initial, memories, steps

    def reverse_tile(i, carry):
        d_starts, *carry = carry
        g = number - 1 - i  # the cache still holds data of the last tile
        chunks = Chunks(settings.save_every, sequence.end(g))
        d_end = xla.row(g, d_ends)
        d_memories = jnp.broadcast_to(d_end.memory, (num_buffers, *d_end.memory.shape))
        d_memories, d_small, *carry = lax.fori_loop(
            0,
            chunks.number,
            functools.partial(reverse_chunk, g, chunks),
            (d_memories, d_end.small, *carry),
        )
        d_start = State(xla.row_noinline(0, d_memories), d_small)
        return xla.set_row(g, d_starts, d_start), *carry

    d_initial = jax.tree.map(jnp.zeros_like, initial)
    memories = xla.buffers_like((settings.save_every,), xla.row((0, 0), saved.memories))
    d_starts, d_initial, _, steps = lax.fori_loop(
        0, number, reverse_tile, (d_ends, d_initial, memories, saved.steps)
    )
    return d_starts, d_initial, steps.outputs


def _gradients(config, weights, initial, sequence, saved, d_outputs):
    """Gradients of the weights and of `xs`: products over all steps and sequences."""
    controller = controller_of(config)
    hiddens = controller.outputs(saved.smalls, saved.steps.outputs.controller)
    smalls = jax.tree.map(lambda leaf: leaf[:, :-1], saved.smalls)
    smalls = reset_where(sequence.reset, initial and initial.small, smalls)
    if sequence.mask is not None:
        hiddens = zeros_unless(sequence.mask, hiddens)
        smalls = select(sequence.mask, smalls, _harmless_small(config, smalls))
    smalls, xs, hiddens, (d_emitted, d_controller) = jax.tree.map(
        merge_first, (smalls, sequence.xs, hiddens, d_outputs)
    )
    d_controller, d_xs = controller.gradient(
        weights["controller"], smalls, xs, d_controller
    )
    d_weights = {
        "controller": d_controller,
        "heads": dense_gradient((hiddens,), d_emitted),
    }
    return d_weights, d_xs.reshape(sequence.xs.shape)


def _harmless_small(config, small):
    """Numbers that a masked step can compute with, in place of `[..., *]`."""
    zeros = jax.tree.map(jnp.zeros_like, small)
    carry = harmless_carry(config.controller, small.carry, small.reads.ndim - 2)
    return zeros._replace(carry=carry)


run.defvjp(_run_fwd, _run_bwd)
