"""Many steps with access to a few slots.

What a step saves for the backward pass is as large as the rows that it takes; the rest
is computed again. There is one memory, and one cotangent of it. Chunks of steps that
the mask leaves out in all sequences, as after the end of the longest, are skipped.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.arrays import select
from ntm_jax.config import NTMConfig
from ntm_jax.controllers import Rngs
from ntm_jax.machine import named_step
from ntm_jax.masking import harmless_carry
from ntm_jax.sparse.access import apply
from ntm_jax.sparse.address import KEPT
from ntm_jax.types import Params, SparseState


def unroll(
    xs: Array,
    state: SparseState,
    params: Params,
    mask: Array | None,
    rngs: Rngs | None,
    config: NTMConfig,
) -> tuple[SparseState, Array]:
    """`ntm_jax.unroll`, for arguments that fit; `rngs` are those of every step."""

    def body(state: SparseState, inputs) -> tuple[SparseState, Array]:
        x, mask, rngs = inputs
        if mask is None:
            return named_step(params, state, x, config, "xs", rngs=rngs)[:2]
        # Neither the state nor the input of a masked step may reach the gradient. No
        # pass over the memory sees to that, but the rows that are taken of it.
        old = state.replace(memory=None)
        harmless = jax.tree.map(jnp.zeros_like, old).replace(
            controller=harmless_carry(
                config.controller, state.controller, state.memory.ndim - 2
            )
        )
        seen = select(mask, old, harmless).replace(memory=state.memory)
        new, y, _ = named_step(
            params,
            seen,
            select(mask, x, 0),
            config,
            "xs",
            rngs=rngs,
            use_memory=functools.partial(apply, mask=mask),
        )
        after = select(mask, new.replace(memory=None), old)
        return after.replace(memory=new.memory), select(mask, y, 0)

    # Which slots a step keeps, and what is in them, is all that it needs of the memory.
    policy = jax.checkpoint_policies.save_only_these_names(KEPT)
    body = jax.checkpoint(body, policy=policy, prevent_cse=False)
    if mask is None:
        return lax.scan(body, state, (xs, mask, rngs))

    def steps(state: SparseState, inputs) -> tuple[SparseState, Array]:
        return lax.scan(body, state, inputs)

    def skipped(state: SparseState, inputs) -> tuple[SparseState, Array]:
        xs, _, _ = inputs
        return state, jnp.zeros((*xs.shape[:-1], config.output_size), xs.dtype)

    def chunk(state: SparseState, inputs) -> tuple[SparseState, Array]:
        _, mask, _ = inputs
        return lax.cond(jnp.any(mask), steps, skipped, state, inputs)

    length = xs.shape[0]
    size = max(math.isqrt(length), 1)
    # The last chunk is filled up with copies of the last step that are masked.
    padded = jnp.arange(-(-length // size) * size, dtype=jnp.int32).reshape(-1, size)
    is_step = (padded < length).reshape(*padded.shape, *(1,) * (mask.ndim - 1))
    places = jnp.minimum(padded, length - 1)
    xs, of_steps, rngs = jax.tree.map(lambda leaf: leaf[places], (xs, mask, rngs))
    state, ys = lax.scan(chunk, state, (xs, of_steps & is_step, rngs))
    return state, ys.reshape(padded.size, *ys.shape[2:])[:length]
