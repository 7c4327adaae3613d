"""Addressing (eqs. 5 to 9) on K slots: values and gradients of what is kept.

Which slots these are is no function with a gradient. Given the slots, the equations are
those of the dense machine, with two constants for all other slots: what they add to the
sum of the content weighting (eq. 5), and their weight.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jax.scipy.special import logsumexp

from ntm_jax.addressing import clip_factor, sharpen, unit_key
from ntm_jax.arrays import flat, select
from ntm_jax.heads import Addressing
from ntm_jax.sparse.find import find
from ntm_jax.sparse.kinds import Access, Held, sources, weights_at
from ntm_jax.sparse.rows import take

KEPT = "kept"  # what is saved of a step for the backward pass (jax.checkpoint)
_SMALLEST = 1e-37
_NEVER = -1e30  # the logarithm of nothing, with finite gradients


class Addressed(NamedTuple):
    """A step of H heads.

    Attributes:
      held: the new weightings, `[..., H, (K)]`.
      rows: `[..., H, K, M]`, what is in their slots.
      dropped: `[..., H]`, how much of the weighting was elsewhere.
      bound: `[..., H]`, see `SparseState`.
      searched: bool `[...]`, whether the step looked at all slots.
    """

    held: Held
    rows: Array
    dropped: Array
    bound: Array
    searched: Array


def address(
    access: Access,
    memory: Array,
    directions: Array,
    held: Held,
    addressing: Addressing,
    mask: Array | None,
) -> tuple[Addressed, Array]:
    """The new weightings of H heads, and the memory as it was.

    Args:
      access: which slots to keep.
      memory: `[..., N, M]`.
      directions: `[..., M]`, see `SparseState`.
      held: the weightings of the step before, `[..., H, (K)]`.
      addressing: of the heads.
      mask: bool `[...]`, False where nothing is used of the results; or None.
    """
    num_slots, reach = memory.shape[-2], addressing.shift.shape[-1] // 2
    found, bound, searched = find(access, memory, directions, held, addressing, mask)
    found, searched = checkpoint_name((found, searched), KEPT)
    origins = sources(found.slots, reach, num_slots)
    of_heads = flat(origins)
    rows, memory = take(memory, flat(of_heads))
    rows = checkpoint_name(rows, KEPT)
    rows = rows.reshape(*origins.shape, memory.shape[-1])
    if mask is not None:
        rows = select(mask, rows, 0)
    if found.slots.shape[-1] == num_slots:
        content = _content_of_all(rows, addressing)
    else:
        content = _content(rows, addressing, found.content, searched)
    previous = weights_at(of_heads, held, num_slots).reshape(origins.shape)
    gate = addressing.gate[..., None, None]
    gated = gate * content + (1 - gate) * previous
    shifted = jnp.sum(gated * addressing.shift[..., None, :], axis=-1)
    weights = sharpen(shifted, addressing.gamma)
    new = Addressed(
        held=Held(found.slots, (1 - found.rest)[..., None] * weights, found.rest),
        rows=rows[..., reach, :],
        dropped=found.dropped,
        bound=bound,
        searched=searched,
    )
    return new, memory


def _content(
    rows: Array, addressing: Addressing, found: Array, searched: Array
) -> Array:
    """The content weighting `[..., H, K, S]` of rows `[..., H, K, S, M]` (eqs. 5, 6).

    Where the step did not look at all slots, it is a constant.

    Args:
      rows: the kept ones are in the middle of S.
      addressing: of the heads.
      found: the same, `[..., H, K, S]`, as a constant.
      searched: bool `[...]`.
    """

    def of_rows() -> Array:
        logits = _logits(rows, addressing)
        middle = logits.shape[-1] // 2
        # The sum over all slots, from the largest weight; without those that are kept.
        each = lax.stop_gradient(logits) - jnp.log(jnp.maximum(found, _SMALLEST))
        log_all = jnp.max(each, axis=(-2, -1))
        others = jnp.maximum(1 - jnp.sum(found[..., middle], axis=-1), _SMALLEST)
        log_sum = jnp.logaddexp(
            logsumexp(logits[..., middle], axis=-1), log_all + jnp.log(others)
        )
        logs = select(searched, logits - log_sum[..., None, None], _NEVER)
        return select(searched, jnp.exp(logs), found)

    return lax.cond(jnp.any(searched), of_rows, lambda: found)


def _content_of_all(rows: Array, addressing: Addressing) -> Array:
    """The content weighting, `[..., H, N, S]`, of the rows of all slots."""
    logits = _logits(rows, addressing)
    log_sum = logsumexp(logits[..., logits.shape[-1] // 2], axis=-1)
    return jnp.exp(logits - log_sum[..., None, None])


def _logits(rows: Array, addressing: Addressing) -> Array:
    """β times the cosine of the key and each row, `[..., H, K, S]`."""
    key = unit_key(addressing.key)[..., None, None, :]
    cosine = jnp.sum(unit_key(rows) * key, axis=-1)
    return clip_factor(addressing.strength)[..., None, None] * cosine
