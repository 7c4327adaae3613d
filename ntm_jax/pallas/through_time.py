"""All steps of a sequence in one launch forwards and one in reverse: a `custom_vjp`.

The gradient of the weights is one product over all steps, outside of the kernels, as in
`ntm_jax.fast`. A batch that is no multiple of a tile is padded with zeros.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.pallas import tpu as pltpu

from ntm_jax.config import NTMConfig
from ntm_jax.fast.controller import controller_of
from ntm_jax.fast.layout import PyTree, Sequence, Small, State
from ntm_jax.fast.step import controls_of, recompute_write, step, step_vjp
from ntm_jax.fast.through_time import gradients
from ntm_jax.pallas import kernels
from ntm_jax.pallas.kernels import Saved, load
from ntm_jax.pallas.launch import Launch, without_constants
from ntm_jax.pallas.plan import Plan

_ONCE = (
    "unroll: implementation='pallas' can be differentiated once, in reverse; for other "
    'derivatives pass implementation="fast" or "autodiff"'
)


def run(
    config: NTMConfig,
    plan: Plan,
    interpret: bool,
    weights: PyTree,
    starts: State,
    initial: State | None,
    sequence: Sequence,
) -> tuple[State, Array, Array]:
    """What `ntm_jax.fast.through_time.run` returns, of one tile `[1, T, B, ...]`."""
    batch = sequence.xs.shape[2]
    missing = -batch % plan.tile

    def pad(axis: int, tree: PyTree) -> PyTree:
        """Without the axis of tiles, and with more sequences."""

        def pad_leaf(leaf):
            widths = [(0, 0)] * (leaf.ndim - 1)
            widths[axis] = 0, missing
            return jnp.pad(leaf[0], widths)

        return jax.tree.map(pad_leaf, tree)

    xs, *flags = pad(1, sequence.inputs())
    # A TPU cannot reshape bits. With a last axis, a flag needs no reshape to select.
    flags = [
        flag if flag is None else flag[..., None].astype(jnp.int32) for flag in flags
    ]
    launch = Launch(plan, interpret, len(xs), batch + missing, backwards=False)
    results: Any = _run(config, launch, weights, pad(0, starts), initial, xs, flags)
    ends, hidden, reads = results
    ends = jax.tree.map(lambda leaf: leaf[None, :batch], ends)
    return ends, hidden[None, :, :batch], reads[None, :, :batch]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _run(config, launch, weights, starts, initial, xs, flags):
    """The last state, and hidden `[T, B, H]` and reads `[T, B, R, M]`."""
    ends, results, _ = _forward(config, launch, weights, starts, initial, xs, flags)
    return ends, *results


def _run_fwd(config, launch, *arguments):
    forward = _once(functools.partial(_forward, config, launch, saves=True))
    ends, results, saved = forward(*arguments)
    return (ends, *results), (arguments, ends.small.weightings, results, saved)


def _run_bwd(config, launch, residuals, cotangents):
    return _once(functools.partial(_backward, config, launch))(*residuals, cotangents)


_run.defvjp(_run_fwd, _run_bwd)


def _once(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`; any derivative of it raises `NotImplementedError`."""
    guarded = jax.custom_jvp(function)

    @guarded.defjvp
    def jvp(primals, tangents):
        raise NotImplementedError(_ONCE)

    return guarded


def _forward(config, launch, weights, starts, initial, xs, flags, *, saves=False):
    """The last state, the results of all steps, and `Saved` or None."""
    inputs, needed = (xs, *flags), controller_of(config).needed
    of_step, constants, (after, _, *others) = without_constants(
        functools.partial(step, config),
        *(weights, launch.a_tile(starts)),
        *launch.a_tile((xs, flags[0]), axis=1),
    )

    def kernel(arguments, *refs):
        def one_step(*others):
            return of_step(*load(arguments), *others)

        kernels.forward(one_step, needed, launch.chunk(), *refs)

    small, rows = after.small, functools.partial(launch.rows, number=len(xs))
    memories = launch.rows(after.memory, launch.num_chunks)
    saved = Saved(memories, *map(rows, (needed(small), *others))) if saves else None
    return launch.start(
        kernel,
        [
            (launch.whole, (constants, weights)),
            (launch.of_tile, starts),
            (launch.whole, initial),
            (launch.of_steps, inputs),
        ],
        [
            (launch.of_tile, jax.eval_shape(lambda: starts)),
            (launch.of_steps, rows((small.carry[1], small.reads))),
            (launch.of_saved, saved),
        ],
    )


def _backward(config, launch, arguments, weightings, results, saved, cotangents):
    """Cotangents of all arguments of `_run`."""
    weights, starts, initial, xs, flags = arguments
    d_starts, d_initial, d_outputs = _reverse(
        config,
        launch._replace(backwards=True),
        _transposed(config, weights, xs.shape[-1]),
        *(initial, flags, weightings, saved, cotangents),
    )
    d_initial = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), d_initial)
    firsts = starts.small.carry[1], starts.small.reads
    h, reads = (
        jnp.concatenate([first[None], rows[:-1]])
        for first, rows in zip(firsts, results, strict=True)
    )
    smalls = Small(saved.smalls.weightings, reads, (saved.smalls.carry[0], h))
    mask, reset = (flag if flag is None else flag[..., 0] != 0 for flag in flags)
    sequence, *others = jax.tree.map(
        lambda leaf: leaf[None],
        (Sequence(xs, mask, reset, None), smalls, results[0], d_outputs),
    )
    d_weights, d_xs = gradients(config, weights, initial, sequence, *others)
    return d_weights, d_starts, d_initial, d_xs[0], None


def _transposed(config, weights, num_inputs):
    controller = controller_of(config)
    return {
        "controller": controller.transpose(weights["controller"], num_inputs),
        "heads": weights["heads"]["kernel"].T,
    }


def _reverse(config, launch, transposed, initial, flags, weightings, saved, cotangents):
    """Cotangents of starts, of `initial` for each tile, and of `LayerOutputs`."""
    d_ends, *d_results = cotangents
    d_state, weightings_of_tile = launch.a_tile((d_ends, weightings))
    mask, d_hidden, small, residuals, outputs = launch.a_tile(
        (flags[0], d_results[0], *saved[1:]), axis=1
    )
    of_step, constants, _ = without_constants(
        functools.partial(step_vjp, config),
        *(transposed, d_state, d_hidden, State(d_state.memory, small)),
        *(weightings_of_tile, residuals, outputs, mask),
    )

    def write(memory, weightings, emitted, mask):
        controls = controls_of(config, emitted)
        return recompute_write(config, memory, weightings, controls, mask)

    of_write, constants_of_write, _ = without_constants(
        write,
        *(d_state.memory, weightings_of_tile, outputs.emitted, mask),
    )

    def kernel(arguments, constants_of_write, *refs):
        def one_step(*others):
            return of_step(*load(arguments), *others)

        def one_write(*others):
            return of_write(load(constants_of_write), *others)

        kernels.reverse(one_step, one_write, launch.chunk(), *refs)

    needed = controller_of(config).needed
    memory = launch.a_tile(d_ends.memory)
    return launch.start(
        kernel,
        [
            (launch.whole, (constants, transposed)),
            (launch.whole, constants_of_write),
            (launch.whole, initial and State(initial.memory, needed(initial.small))),
            (launch.of_tile, weightings),
            (launch.of_tile, d_ends),
            (launch.of_steps, flags),
            (launch.of_saved, saved),
            (launch.of_steps, d_results),
        ],
        [
            (launch.of_tile, jax.eval_shape(lambda: d_ends)),
            (launch.of_each_tile, launch.by_tile(initial)),
            (launch.of_steps, jax.eval_shape(lambda: saved.outputs)),
        ],
        [
            pltpu.VMEM((launch.plan.chunk, *memory.shape), memory.dtype),
            pltpu.VMEM(weightings_of_tile.shape, weightings.dtype),
        ],
    )
