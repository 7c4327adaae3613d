"""Addressing (eqs. 5 to 9) on K slots: values and gradients of what is kept.

Which slots these are is no function with a gradient. Given the slots, the equations are
those of the dense machine. Of all other slots they need two numbers: what these add to
the sum of the content weighting (eq. 5), and their weight. Their values
are exact. Their gradients take the contents of these slots for constants, and their
weights for equal.
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
from ntm_jax.sparse.search import Found

KEPT = "kept"  # what is saved of a step for the backward pass (jax.checkpoint)
_SMALLEST = 1e-37
_FEW = 1e-6  # less than this is rounding beside 1
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
        content = _content(rows, addressing, found, searched)
    previous = weights_at(of_heads, held, num_slots).reshape(origins.shape)
    gate = addressing.gate[..., None, None]
    gated = gate * content + (1 - gate) * previous
    shifted = jnp.sum(gated * addressing.shift[..., None, :], axis=-1)
    weights = sharpen(shifted, addressing.gamma)
    rest = found.rest
    if found.slots.shape[-1] < num_slots:
        rest = _rest(shifted, addressing.gamma, rest, num_slots)
    new = Addressed(
        held=Held(found.slots, (1 - rest)[..., None] * weights, rest),
        rows=rows[..., reach, :],
        dropped=found.dropped,
        bound=bound,
        searched=searched,
    )
    return new, memory


def _rest(shifted: Array, gamma: Array, rest: Array, num_slots: int) -> Array:
    """The weight of all other slots after sharpening (eq. 9), with its gradient.

    Args:
      shifted: `[..., H, K]`, the weights of the kept slots before.
      gamma: `[..., H]`.
      rest: `[..., H]`, the value.
      num_slots: N.
    """
    others = jnp.maximum(1 - jnp.sum(shifted, axis=-1), _FEW)
    each = jnp.log(others / (num_slots - shifted.shape[-1]))
    logs = jnp.log(jnp.maximum(shifted, _SMALLEST))
    # The logarithm of rest / (1 - rest) if all other slots have the same weight.
    ratio = gamma * each - logsumexp(gamma[..., None] * logs, axis=-1)
    return rest + rest * (1 - rest) * (ratio - lax.stop_gradient(ratio))


def _content(
    rows: Array, addressing: Addressing, found: Found, searched: Array
) -> Array:
    """The content weighting `[..., H, K, S]` of rows `[..., H, K, S, M]` (eqs. 5, 6).

    Where the step did not look at all slots, it is a constant.

    Args:
      rows: the kept ones are in the middle of S.
      addressing: of the heads.
      found: `found.content` is this weighting as a constant.
      searched: bool `[...]`.
    """
    constant = found.content

    def of_rows() -> Array:
        logits = _logits(rows, addressing)
        middle = logits.shape[-1] // 2
        # The sum over all slots, from the largest weight; without those that are kept.
        each = lax.stop_gradient(logits) - jnp.log(jnp.maximum(constant, _SMALLEST))
        log_all = jnp.max(each, axis=(-2, -1))
        kept = constant[..., middle]
        others = jnp.maximum(1 - jnp.sum(kept, axis=-1), _SMALLEST)
        log_sum = jnp.logaddexp(
            logsumexp(logits[..., middle], axis=-1), log_all + jnp.log(others)
        )
        # How the others' part changes with the key and its strength.
        of_kept = jnp.sum(kept[..., None] * unit_key(rows[..., middle, :]), axis=-2)
        direction = lax.stop_gradient(found.direction - of_kept)
        product = jnp.sum(unit_key(addressing.key) * direction, axis=-1)
        changes = clip_factor(addressing.strength) * product
        log_sum = log_sum + changes - lax.stop_gradient(changes)
        logs = select(searched, logits - log_sum[..., None, None], _NEVER)
        return select(searched, jnp.exp(logs), constant)

    return lax.cond(jnp.any(searched), of_rows, lambda: constant)


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
