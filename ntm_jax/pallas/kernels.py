"""What runs on the chip: a chunk of steps forwards, and a chunk in reverse.

A program is one tile of sequences and one chunk of steps. The chunks of a tile run one
after another, and what they have in common stays on the chip meanwhile: a block of an
output whose index is the same for all chunks is written back only after the last. Such
blocks hold the state (`ends`), and in reverse its cotangent (`d_starts`).

Every argument is a tree of references. Those of steps hold the rows of one chunk.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl

from ntm_jax.arrays import reset_where
from ntm_jax.fast.layout import State
from ntm_jax.fast.step import zeros_unless

PyTree = Any


class Saved(NamedTuple):
    """What the forward pass saves for the backward pass."""

    memories: Array  # [C, B, M, N], before each chunk
    smalls: PyTree  # what the reverse needs of `Small`, before each step
    steps: PyTree  # `StepResiduals` of each step
    outputs: PyTree  # `LayerOutputs` of each step


class Chunk(NamedTuple):
    """Which steps a program makes: `number` of them, of the chunk `place` in turn."""

    place: Array  # 0 for the chunk that runs first
    number: Array


def load(refs: PyTree, index: Any = ...) -> PyTree:
    """`ref[index]` of every reference."""
    return jax.tree.map(lambda ref: ref[index], refs)


def store(refs: PyTree, values: PyTree, index: Any = ...) -> None:
    """`ref[index] = value` of every reference."""

    def put(ref, value):
        ref[index] = value

    jax.tree.map(put, refs, values)


def forward(
    step: Callable[..., Any],
    needed: Callable[[Any], PyTree],
    chunk: Chunk,
    starts: State,
    initial: State | None,
    inputs: PyTree,
    ends: State,
    results: PyTree,
    saved: Saved | None,
) -> None:
    """A chunk of steps.

    Args:
      step: `ntm_jax.fast.step.step` of the state, x and the mask.
      needed: what is to be saved of `Small` before a step.
      chunk: which steps.
      starts: the state before the first step.
      initial: what a reset puts in place of a state, or None.
      inputs: x, mask and reset of each step.
      ends: the state, in the end that after the last step.
      results: the controller's output and the reads of each step.
      saved: what to save, or None.
    """

    @pl.when(chunk.place == 0)
    def _():
        store(ends, load(starts))

    if saved is not None:
        saved.memories[0] = ends.memory[...]

    def body(i, _):
        state = load(ends)
        if saved is not None:
            store(saved.smalls, needed(state.small), i)
        x, mask, reset = load(inputs, i)
        state = reset_where(reset, load(initial), state)
        state, _, residuals, outputs = step(state, x, mask)
        store(ends, state)
        # An LSTM's output is the h of its carry.
        store(results, (state.small.carry[1], state.small.reads), i)
        if saved is not None:
            store(saved.steps, residuals, i)
            store(saved.outputs, outputs, i)

    lax.fori_loop(0, chunk.number, body, None)


def reverse(
    step_vjp: Callable[..., Any],
    recompute_write: Callable[..., Array],
    chunk: Chunk,
    initial: State | None,
    weightings: Any,
    d_ends: State,
    flags: PyTree,
    saved: Saved,
    d_results: PyTree,
    d_starts: State,
    d_initial: State | None,
    d_outputs: PyTree,
    memories: Any,
    weightings_after: Any,
) -> None:
    """A chunk of steps in reverse, after their memories have been computed again.

    Args:
      step_vjp: `ntm_jax.fast.step.step_vjp` of what it takes after the weights.
      recompute_write: the memory after a step, of the memory before it, the weightings
        after it, what its heads emit, and the mask.
      chunk: which steps.
      initial: what a reset puts in place of a state, or None.
      weightings: `[B, K, N]`, after the last step.
      d_ends: the cotangent of the last state.
      flags: mask and reset of each step.
      saved: of the forward pass.
      d_results: cotangents of the results of each step.
      d_starts: the state's cotangent, in the end that of the first state.
      d_initial: the cotangent of `initial`, added up.
      d_outputs: cotangents of `LayerOutputs` of each step.
      memories: room for the memory before each step of a chunk.
      weightings_after: room for the weightings after a step.
    """

    @pl.when(chunk.place == 0)
    def _():
        store(d_starts, load(d_ends))
        store(d_initial, jax.tree.map(jnp.zeros_like, load(d_initial)))
        weightings_after[...] = weightings[...]

    memories[0] = saved.memories[0]

    def write_again(i, _):
        mask, reset = load(flags, i)
        memories[i + 1] = recompute_write(
            reset_where(reset, initial and load(initial.memory), memories[i]),
            saved.smalls.weightings[i + 1],
            saved.outputs.emitted[i],
            mask,
        )

    lax.fori_loop(0, chunk.number - 1, write_again, None)

    def body(j, _):
        i = chunk.number - 1 - j
        mask, reset = load(flags, i)
        d_hidden, d_reads = load(d_results, i)
        d_new = load(d_starts)
        d_small = d_new.small._replace(reads=d_new.small.reads + d_reads)
        small = load(saved.smalls, i)
        d_state, d_of_layers = step_vjp(
            State(d_new.memory, d_small),
            d_hidden,
            reset_where(reset, load(initial), State(memories[i], small)),
            weightings_after[...],
            load(saved.steps, i),
            load(saved.outputs, i),
            mask,
        )
        weightings_after[...] = small.weightings
        if d_initial is not None:
            # After a reset, the cotangent goes to `initial`, not to the step before.
            store(
                d_initial,
                jax.tree.map(
                    lambda total, leaf: total + jnp.sum(leaf, axis=0, keepdims=True),
                    load(d_initial),
                    zeros_unless(reset, d_state),
                ),
            )
            d_state = zeros_unless(1 - reset, d_state)
        store(d_starts, d_state)
        store(d_outputs, d_of_layers, i)

    lax.fori_loop(0, chunk.number, body, None)
