"""Many steps with access to a few slots.

What a step saves for the backward pass is as large as the rows that it takes. There is
one memory, and one cotangent of it.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.arrays import select
from ntm_jax.config import NTMConfig
from ntm_jax.controllers import Rngs
from ntm_jax.machine import named_step
from ntm_jax.masking import harmless_carry
from ntm_jax.sparse.access import apply
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

    return lax.scan(body, state, (xs, mask, rngs))
