"""One step of addressing over all slots, to find those to keep. No gradients here."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ntm_jax.addressing import (
    circular_shift,
    sharpen,
    softmax_of_product,
    unit_key,
)
from ntm_jax.arrays import flat
from ntm_jax.heads import Addressing
from ntm_jax.sparse.kinds import Access, Held, are_among, sources
from ntm_jax.sparse.reach import Reached
from ntm_jax.sparse.rows import inverse_lengths


class Found(NamedTuple):
    """The slots of a step.

    Attributes:
      slots: int `[..., H, K]`.
      rest: `[..., H]`, the weight of all other slots together.
      dropped: `[..., H]`, how much of the weighting is elsewhere if the rest is spread
        evenly.
      content: `[..., H, K, S]`, the content weighting at the slots from which shifts
        lead to `slots`.
      direction: `[..., H, M]`, the mean direction of all slots by that weighting; 0 if
        the step did not look at them.
    """

    slots: Array
    rest: Array
    dropped: Array
    content: Array
    direction: Array


def nearby(
    access: Access,
    reached: Reached,
    addressing: Addressing,
    share: Array,
    num_slots: int,
) -> Found:
    """The slots to keep, with a content weighting that is the same at all slots.

    Args:
      access: which slots to keep.
      reached: what shifts from the slots that were kept.
      addressing: of the heads.
      share: `[..., H]`, the content weighting at each slot; 0 leaves it out.
      num_slots: N.
    """
    slots, first, shifted, beyond = reached.plus(addressing.gate * share)
    # Beyond reach, all slots have the same weight, of which the last entry is one.
    together = jnp.concatenate([shifted, beyond[..., None]], axis=-1)
    together = sharpen(together, addressing.gamma)
    count = num_slots - _count(first, together.dtype)
    together = together / (1 + (count - 1) * together[..., -1])[..., None]
    weighting, of_each = jnp.where(first, together[..., :-1], 0), together[..., -1]

    kept = access.keep(jnp.where(first, weighting, -1), num_slots, slots)
    is_kept = are_among(slots, kept, num_slots)
    # Some slots of a window may be beyond reach.
    count = count - (kept.shape[-1] - _count(is_kept & first, count.dtype))
    rest = jnp.sum(jnp.where(is_kept, 0, weighting), axis=-1) + count * of_each
    spread = Held(kept, jnp.zeros(kept.shape, rest.dtype), rest).each(num_slots)
    apart = jnp.where(is_kept | ~first, 0, jnp.abs(weighting - spread[..., None]))
    dropped = (jnp.sum(apart, axis=-1) + count * jnp.abs(of_each - spread)) / 2
    content = jnp.broadcast_to(
        share[..., None, None], (*kept.shape, addressing.shift.shape[-1])
    )
    return Found(kept, rest, dropped, content, jnp.zeros_like(addressing.key))


def everywhere(
    access: Access, memory: Array, reached: Reached, addressing: Addressing
) -> Found:
    """The slots to keep of the dense machine's weighting, from the same state."""
    num_slots = memory.shape[-2]
    lengths = inverse_lengths(memory)[..., None, :]
    content = _content(memory, lengths, addressing)
    direction = jnp.einsum("...hn,...nm->...hm", content * lengths, memory)
    shifted = circular_shift(addressing.gate[..., None] * content, addressing.shift)
    shifted = shifted + reached.beyond[..., None]
    more = jnp.where(reached.first, reached.weights - reached.beyond[..., None], 0)
    shifted = _added(shifted, reached.slots, more)
    weighting = sharpen(shifted, addressing.gamma)
    kept = access.keep(weighting, num_slots)

    of_kept = jnp.take_along_axis(weighting, kept, axis=-1)
    rest = jnp.maximum(1 - jnp.sum(of_kept, axis=-1), 0)
    dropped = Held(kept, of_kept, rest).elsewhere(weighting)
    origins = sources(kept, addressing.shift.shape[-1] // 2, num_slots)
    of_origins = jnp.take_along_axis(content, flat(origins), axis=-1)
    of_origins = of_origins.reshape(origins.shape)
    return Found(kept, rest, dropped, of_origins, direction)


_added = jnp.vectorize(
    lambda weights, slots, more: weights.at[slots].add(more),
    signature="(n),(c),(c)->(n)",
)


def _count(flags: Array, dtype: jnp.dtype) -> Array:
    """How many are True, `[...]`, of `[..., C]`."""
    return jnp.sum(flags, axis=-1).astype(dtype)


def _content(memory: Array, lengths: Array, addressing: Addressing) -> Array:
    """`content_weights` in half the time: values, of entries up to 1e18.

    `lengths` are the inverse lengths of the slots, `[..., 1, N]`.
    """
    products = jnp.einsum("...hm,...nm->...hn", unit_key(addressing.key), memory)
    cosines = products * lengths
    return softmax_of_product(addressing.strength, cosines)
