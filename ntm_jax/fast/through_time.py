"""All steps, forwards and in reverse: a `custom_vjp` over tiles, chunks and steps.

The forward pass saves what is small at every step, and the memory before each chunk of
steps. The backward pass recomputes the memories of one chunk at a time from their
writes. It stores each cotangent in the buffer of its primal, once that is not needed.

Buffers have a row for each tile and step, `[G, T, ...]`. `g` is a tile, `c` a chunk and
`t` a step.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.arrays import reset_where, select
from ntm_jax.config import NTMConfig
from ntm_jax.fast import xla
from ntm_jax.fast.chunks import Chunks, in_turn
from ntm_jax.fast.controller import controller_of
from ntm_jax.fast.dense import dense_gradient, merge_first
from ntm_jax.fast.equations import saturated
from ntm_jax.fast.layout import PyTree, Sequence, State
from ntm_jax.fast.once import once_in_reverse
from ntm_jax.fast.rows import Rows
from ntm_jax.fast.step import (
    controls_of,
    linearized_controls,
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
    smalls: Rows  # of `Small`, T + 1: before the first step and after each
    steps: Rows  # of `StepResiduals`
    outputs: Rows  # of `LayerOutputs`; the reverse replaces them by cotangents


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
    with xla.forms(settings.for_cpu):
        one_step = functools.partial(step, settings.config, _padded(weights))

    def run_tile(g, carry):
        ends, results = carry

        def body(t, carry):
            state, results = carry
            x, mask, reset = xla.row_noinline((g, t), sequence.inputs())
            state, hidden, *_ = one_step(reset_where(reset, initial, state), x, mask)
            return state, results.put(g, t, (hidden, state.small.reads))

        end, results = lax.fori_loop(
            0, sequence.end(g), body, (xla.row(g, starts), results)
        )
        return xla.set_row(g, ends, end), results

    with xla.forms(settings.for_cpu):
        hidden, *_ = _shapes(one_step, starts, sequence)
        results = Rows.zeros(
            sequence.xs.shape[:2], (hidden, xla.row(0, starts.small.reads))
        )
        ends, results = lax.fori_loop(0, len(sequence.xs), run_tile, (starts, results))
        return ends, *results.tree()


def _run_fwd(settings, *arguments):
    return once_in_reverse(functools.partial(_forward, settings), _TWICE)(*arguments)


def _forward(settings, weights, starts, initial, sequence):
    """What `run` returns, and what `_backward` takes beside the cotangents."""
    with xla.forms(settings.for_cpu):
        one_step = functools.partial(step, settings.config, _padded(weights))
    number, length = sequence.xs.shape[:2]

    def run_tile(g, carry):
        ends, *carry = carry
        chunks = Chunks(settings.save_every, sequence.end(g))

        def run_chunk(c, first, number, carry):
            state, memories, *carry = carry
            memories = xla.set_row((g, c), memories, state.memory)

            def body(i, carry):
                t, (state, smalls, steps, outputs) = first + i, carry
                x, mask, reset = xla.row_noinline((g, t), sequence.inputs())
                state = reset_where(reset, initial, state)
                state, _, residuals, of_layers = one_step(state, x, mask)
                smalls = smalls.put(g, t + 1, state.small)
                steps = steps.put(g, t, residuals)
                return state, smalls, steps, outputs.put(g, t, of_layers)

            state, *carry = in_turn(number, body, (state, *carry))
            return state, memories, *carry

        end, *carry = chunks.run(run_chunk, (xla.row(g, starts), *carry))
        return xla.set_row(g, ends, end), *carry

    with xla.forms(settings.for_cpu):
        memories = xla.buffers_like(
            (number, -(-length // settings.save_every)),
            xla.row(0, starts.memory),
        )
        # Rows of steps that are not computed keep the first state: a cell may fail on
        # zeros, and what a masked step gets may be anything.
        reset = jax.tree.map(lambda flags: flags[:, 0], sequence.reset)
        first = reset_where(reset, initial and initial.small, starts.small)
        _, *of_step = _shapes(one_step, starts, sequence)
        rows = [Rows.zeros((number, length), each) for each in of_step]
        ends, *saved = lax.fori_loop(
            0,
            number,
            run_tile,
            (starts, memories, Rows.repeated(length + 1, first), *rows),
        )
        saved = Residuals(*saved)
        smalls, outputs = saved.smalls.tree(), saved.outputs.tree()
        hiddens = controller_of(settings.config).outputs(smalls, outputs.controller)
    return (ends, hiddens, smalls.reads[:, 1:]), (weights, initial, sequence, saved)


def _padded(weights: PyTree) -> PyTree:
    """With a kernel of the heads that a GPU can use as it is at every step."""
    heads = weights["heads"]
    return {**weights, "heads": {**heads, "kernel": xla.pad_rows(heads["kernel"])}}


def _shapes(one_step, starts, sequence):
    """Shapes of what a step returns beside its state."""
    x, mask, _ = xla.row((0, 0), sequence.inputs())
    _, *others = jax.eval_shape(one_step, xla.row(0, starts), x, mask)
    return others


def _run_bwd(settings, residuals, cotangents):
    backward = once_in_reverse(functools.partial(_backward, settings), _TWICE)
    return backward(*residuals, cotangents)


def _backward(settings, weights, initial, sequence, saved, cotangents):
    """Cotangents of all arguments of `run`."""
    with xla.forms(settings.for_cpu):
        d_starts, d_initial, d_outputs = _reverse_steps(
            settings, weights, initial, sequence, saved, cotangents
        )
        smalls = saved.smalls.tree()
        outputs = saved.outputs.tree().controller
        d_weights, d_xs = gradients(
            settings.config,
            weights,
            initial,
            sequence,
            jax.tree.map(lambda leaf: leaf[:, :-1], smalls),
            controller_of(settings.config).outputs(smalls, outputs),
            d_outputs,
        )
        d_weights, d_xs = jax.tree.map(saturated, (d_weights, d_xs))
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
        "heads": xla.pad_rows(weights["heads"]["kernel"].T),
    }
    initial_needed = initial and State(initial.memory, controller.needed(initial.small))
    number = len(sequence.xs)

    def masks(g, t):
        return xla.row_noinline((g, t), (sequence.mask, sequence.reset))

    def weightings_after(g, t):
        return saved.smalls.at(g, t + 1, lambda small: small.weightings)

    def emitted(of_layers):
        return of_layers.emitted

    def linearized_of(g, first, number, outputs):
        """`linearized_controls` of each step of a chunk; None for a CPU.

        A GPU starts as many kernels for all steps at once as for one.
        """
        if settings.for_cpu:
            return None
        linearize = functools.partial(linearized_controls, config)
        return Rows.of(jax.vmap(linearize)(outputs.some(g, first, number, emitted)))

    def recompute_memories(g, c, first, number, outputs, linearized, memories):
        """The memory before each step of a chunk."""

        def body(i, memories):
            t = first + i
            mask, reset = masks(g, t)
            memory = xla.row_noinline(i, memories)
            if linearized is None:
                controls = controls_of(config, outputs.at(g, t, emitted))
            else:
                controls, _ = linearized.at(0, i)
            memory = recompute_write(
                config,
                reset_where(reset, initial and initial.memory, memory),
                weightings_after(g, t),
                controls,
                mask,
            )
            return xla.set_row(i + 1, memories, memory)

        memories = xla.set_row(0, memories, xla.row_noinline((g, c), saved.memories))
        return in_turn(number - 1, body, memories)

    def reverse_step(g, t, memory, outputs, linearized, d_state, d_initial):
        mask, reset = masks(g, t)
        small = saved.smalls.at(g, t, controller.needed)
        d_small = d_state.small._replace(
            reads=d_state.small.reads + xla.row_noinline((g, t), d_reads)
        )
        d_state, d_outputs = step_vjp(
            config,
            transposed,
            State(d_state.memory, d_small),
            xla.row_noinline((g, t), d_hiddens),
            reset_where(reset, initial_needed, State(memory, small)),
            weightings_after(g, t),
            saved.steps.at(g, t),
            outputs.at(g, t),
            mask,
            linearized,
        )
        if initial is not None:
            # After a reset, the cotangent goes to `initial`, not to the step before.
            d_initial = jax.tree.map(
                lambda total, leaf: total + jnp.sum(leaf, axis=0, keepdims=True),
                d_initial,
                zeros_unless(reset, d_state),
            )
            d_state = zeros_unless(~reset, d_state)
        return outputs.put(g, t, d_outputs), d_state, d_initial

    def reverse_chunk(g, c, first, number, carry):
        d_memories, d_small, d_initial, memories, outputs = carry
        linearized = linearized_of(g, first, number, outputs)
        memories = recompute_memories(
            g, c, first, number, outputs, linearized, memories
        )

        def body(i, carry):
            d_memories, d_small, d_initial, outputs = carry
            t = first + i
            outputs, d_state, d_initial = reverse_step(
                g,
                t,
                xla.row_noinline(i, memories),
                outputs,
                linearized and linearized.at(0, i),
                State(d_memories.at(t + 1), d_small),
                d_initial,
            )
            d_memories = d_memories.put(t, d_state.memory)
            return d_memories, d_state.small, d_initial, outputs

        d_memories, d_small, d_initial, outputs = in_turn(
            number, body, (d_memories, d_small, d_initial, outputs), reverse=True
        )
        return d_memories, d_small, d_initial, memories, outputs

    def reverse_tile(i, carry):
        d_starts, *carry = carry
        g = number - 1 - i  # the cache still holds data of the last tile
        chunks = Chunks(settings.save_every, sequence.end(g))
        d_end = xla.row(g, d_ends)
        d_memories = xla.Alternating.of(d_end.memory)
        d_memories, d_small, *carry = chunks.run(
            functools.partial(reverse_chunk, g),
            (d_memories, d_end.small, *carry),
            reverse=True,
        )
        d_start = State(d_memories.at(0), d_small)
        return xla.set_row(g, d_starts, d_start), *carry

    d_initial = jax.tree.map(jnp.zeros_like, initial)
    memories = xla.buffers_like((settings.save_every,), xla.row((0, 0), saved.memories))
    d_starts, d_initial, _, outputs = lax.fori_loop(
        0, number, reverse_tile, (d_ends, d_initial, memories, saved.outputs)
    )
    return d_starts, d_initial, outputs.tree()


def gradients(config, weights, initial, sequence, smalls, hiddens, d_outputs):
    """Gradients of the weights and of `xs`: products over all steps and sequences.

    Args:
      config: of the machine.
      weights: of the controller and the heads, packed.
      initial: what a reset puts in place of a state, or None.
      sequence: the inputs.
      smalls: `Small` before each step, `[G, T, B, ...]`.
      hiddens: `[G, T, B, H]`, the controller's outputs.
      d_outputs: cotangents of `LayerOutputs` at each step.
    """
    controller = controller_of(config)
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
