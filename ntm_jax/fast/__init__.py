"""`unroll` for `order="read_first"`, with a backward pass derived by hand.

It is about twice as fast as the backward pass that JAX derives. JAX's is slow for two
reasons: it adds to the gradient of every weight at every step, and it makes many passes
over the memory. Here instead:

* Weights. The reverse of a step returns the cotangents of the products of weights and
  inputs, not those of the weights. The gradient of the weights is one product over all
  steps and sequences, after the loop.
* Memory. Its slots are the last axis, along which SIMD vectors run. The reverse of each
  equation is derived by hand, and all of them together make few passes over the memory.
* Time. The memory is saved only after every K-th step. The others are recomputed.
* Padding. Steps at the end that the mask leaves out in all sequences are not computed
  on a CPU. Elsewhere they are: XLA has to know how often a loop runs, or a GPU asks the
  host after each step.
* CPU. `xla` holds workarounds for what XLA compiles badly for a CPU.

Read the files in this order: `equations` (each equation and its reverse), `step` (one
whole step made of these equations, and its reverse), `controller`, `layout` (shapes),
`through_time` (all steps, and the `custom_vjp`; with `chunks` and `rows`), `xla`.

The derivation. For one head, with M the memory before the step, u its key over its norm
and l(i) = 1 / sqrt(|M(i)|^2 + ε^2):

    c(i)  = u M(i) l(i)                    cosine
    p     = softmax(β c)                   eqs. 5 and 6
    q     = g p + (1 - g) w-               eq. 7, w- its weighting one step ago
    v(i)  = Σ_j s(j) q(i - j)              eq. 8
    w     = softmax(γ x),  x = log(v)      eq. 9
    r     = Σ_i w(i) M(i)                  read, eq. 2
    M'(i) = M(i) (1 - w(i) e) + w(i) a     write, eqs. 3 and 4

In reverse, with d for "cotangent of", and with dM', dr and the next step's part of dw
known:

    da    = Σ_i w(i) dM'(i)
    de    = -Σ_i w(i) M(i) dM'(i)
    dw(i) += a dM'(i) - e (M(i) dM'(i)) + dr M(i)
    z(i)  = w(i) (dw(i) - Σ_j w(j) dw(j))  the reverse of the softmax, from its result w
    dγ    = Σ_i z(i) x(i);  dx = γ z
    dv    : JAX differentiates x = log(v), see `equations.sharpen_vjp`
    ds(j) = Σ_i dv(i) q(i - j);  dq(i) = Σ_j s(j) dv(i + j)
    dg    = Σ_i dq(i) (p(i) - w-(i));  dp = g dq;  dw- = (1 - g) dq
    dβ, dc: as dγ and dx, from p and dp
    du    = Σ_i dc(i) l(i) M(i)
    dM(i) = dM'(i) (1 - w(i) e) + w(i) dr + dc(i) l(i) u - dc(i) c(i) l(i)^2 M(i)

The gradients of several heads are added. The gradient of each write head is also
multiplied by the factors (1 - w e) of the other write heads.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from ntm_jax.arrays import flat
from ntm_jax.config import NTMConfig
from ntm_jax.fast import xla
from ntm_jax.fast.controller import controller_of
from ntm_jax.fast.dense import dense
from ntm_jax.fast.layout import Sequence, State, Tiles, from_state, to_state
from ntm_jax.fast.step import pack_heads, zeros_unless
from ntm_jax.fast.through_time import Settings, run
from ntm_jax.types import NTMState, Params


def obstacle(config: NTMConfig, state: NTMState) -> str | None:
    """Why `unroll` here cannot run this machine from this state; None if it can."""
    if config.order != "read_first":
        return f"order={config.order!r}, and it needs order='read_first'"
    if config.previous_weighting != "own":
        return (
            f"previous_weighting={config.previous_weighting!r}, and it needs "
            "previous_weighting='own'"
        )
    if state.memory.dtype not in (jnp.float32, jnp.float64):
        return f"params of {state.memory.dtype}, and it needs float32 or float64"
    for leaf in jax.tree.leaves(state.controller):
        if leaf.dtype != state.memory.dtype:
            return (
                f"a controller with a carry of {leaf.dtype}, and it needs "
                f"{state.memory.dtype}, the dtype of params"
            )
    return None


def unroll(
    params: Params,
    xs: Array,
    config: NTMConfig,
    state: NTMState,
    initial: NTMState | None,
    mask: Array | None,
    reset: Array | None,
    save_every: int | None,
) -> tuple[NTMState, Array]:
    """`ntm_jax.unroll` for arguments that fit and to which there is no `obstacle`.

    `initial` is the state after a reset, with batch axes of size 1, or None where there
    is no `reset`.
    """

    def form(for_cpu: bool):
        return functools.partial(_unroll, config, save_every, for_cpu)

    return xla.by_platform(form, params, xs, state, initial, mask, reset)


def _unroll(config, save_every, for_cpu, params, xs, state, *flags):
    """`unroll` in the form for a CPU, or in the plain one."""
    with xla.forms(for_cpu):
        tiles = Tiles.of(state.memory)
    # Held at once: the memories before all chunks of all tiles, and all memories of one
    # chunk of one tile. Their sum is smallest for the square root.
    save_every = min(save_every or math.isqrt(tiles.number * len(xs)), len(xs))
    steps = functools.partial(run, Settings(config, save_every, for_cpu))
    return unroll_by(steps, tiles, for_cpu, params, xs, config, state, *flags)


def unroll_by(
    run: Callable[..., tuple[State, Array, Array]],
    tiles: Tiles,
    skips_padding: bool,
    params: Params,
    xs: Array,
    config: NTMConfig,
    state: NTMState,
    initial: NTMState | None,
    mask: Array | None,
    reset: Array | None,
) -> tuple[NTMState, Array]:
    """`unroll`, whose steps `run` makes: it takes what `through_time.run` takes.

    The batch is split into `tiles`. With `skips_padding`, `run` is told how many steps
    are needed.
    """
    batch = xs.shape[1:-1]

    def to_tiles(leaf: Array) -> Array:
        shape = len(xs), math.prod(batch), *leaf.shape[1 + len(batch) :]
        return tiles.split(leaf.reshape(shape), axis=1)

    starts = jax.tree.map(tiles.split, from_state(state, len(batch)))
    inputs, mask, reset = jax.tree.map(to_tiles, (xs, mask, reset))
    num_steps = None
    if mask is not None:
        # The input of a masked step must not reach the gradient.
        inputs = jnp.where(mask[..., None], inputs, 0)
    if mask is not None and skips_padding:
        needed = mask if reset is None else mask | reset
        num_steps = _max_over_vmap(jax.vmap(_num_steps)(needed))
    weights = {
        "controller": controller_of(config).pack(params["controller"]),
        "heads": {
            entry: pack_heads(config, params, entry) for entry in ("kernel", "bias")
        },
    }
    ends, hidden, reads = run(
        weights,
        starts,
        None if initial is None else from_state(initial, len(batch)),
        Sequence(inputs, mask, reset, num_steps),
    )
    if mask is not None:
        # What a masked step computed must not reach the gradient of the output layer.
        hidden, reads = zeros_unless(mask, (hidden, reads))
    ys = dense(params["output"], jnp.concatenate([hidden, flat(reads)], axis=-1))
    if mask is not None:
        ys = jnp.where(mask[..., None], ys, 0)
    ys = tiles.merge(ys, axis=1)
    end = to_state(jax.tree.map(tiles.merge, ends), config.num_read_heads, batch)
    return end, ys.reshape(len(xs), *batch, ys.shape[-1])


def _num_steps(needed: Array) -> Array:
    """One more than the last step that any sequence of `[T, B]` needs."""
    steps = jnp.arange(1, len(needed) + 1)
    return jnp.max(jnp.where(jnp.any(needed, axis=1), steps, 0), initial=0)


@jax.custom_batching.custom_vmap
def _max_over_vmap(num_steps: Array) -> Array:
    """`[G]`, of each tile. Under `vmap` the largest, so that one loop serves all."""
    return num_steps


@_max_over_vmap.def_vmap
def _max_of_batch(axis_size, in_batched, num_steps):
    del axis_size, in_batched
    return _max_over_vmap(jnp.max(num_steps, axis=0)), False
