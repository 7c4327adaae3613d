"""One step of addressing over all slots, to find those to keep. No gradients here."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ntm_jax.addressing import circular_shift, content_weights, interpolate, sharpen
from ntm_jax.arrays import flat
from ntm_jax.heads import Addressing
from ntm_jax.sparse.kinds import Access, Held, is_first, sources, weights_at


class Found(NamedTuple):
    """The slots of a step.

    Attributes:
      slots: int `[..., H, K]`.
      rest: `[..., H]`, the weight of all other slots together.
      dropped: `[..., H]`, how much of the weighting is elsewhere if the rest is spread
        evenly.
      content: `[..., H, K, S]`, the content weighting at the slots from which shifts
        lead to `slots`. If content is left out, it is 1 and not used.
    """

    slots: Array
    rest: Array
    dropped: Array
    content: Array


def nearby(
    access: Access, held: Held, addressing: Addressing, num_slots: int
) -> tuple[Found, Array]:
    """The slots to keep, if content is left out.

    Returns:
      What was found, and the shifted weighting `[..., H, C]` at the slots within reach.
    """
    reach = addressing.shift.shape[-1] // 2
    reached = access.reachable(held.slots, reach, num_slots)
    origins = sources(reached, reach, num_slots)
    gated = (1 - addressing.gate)[..., None] * weights_at(
        flat(origins), held, num_slots
    )
    gated = gated.reshape(origins.shape)
    shifted = jnp.sum(gated * addressing.shift[..., None, :], axis=-1)
    first = is_first(reached)
    shifted = jnp.where(first, shifted, 0)

    # Beyond reach, all slots have the same weight, of which the last entry is one.
    beyond = ((1 - addressing.gate) * held.each(num_slots))[..., None]
    together = sharpen(jnp.concatenate([shifted, beyond], axis=-1), addressing.gamma)
    count = num_slots - jnp.sum(first, axis=-1).astype(together.dtype)
    together = together / (1 + (count - 1) * together[..., -1])[..., None]
    weighting, of_each = jnp.where(first, together[..., :-1], 0), together[..., -1]

    kept = access.keep(jnp.where(first, weighting, -1), num_slots, reached)
    is_kept = jnp.any(reached[..., :, None] == kept[..., None, :], axis=-1)
    rest = jnp.sum(jnp.where(is_kept, 0, weighting), axis=-1) + count * of_each
    even = Held(kept, jnp.zeros(kept.shape, rest.dtype), rest).each(num_slots)
    apart = jnp.where(is_kept | ~first, 0, jnp.abs(weighting - even[..., None]))
    dropped = (jnp.sum(apart, axis=-1) + count * jnp.abs(of_each - even)) / 2
    unused = jnp.ones((*kept.shape, addressing.shift.shape[-1]), weighting.dtype)
    return Found(kept, rest, dropped, unused), shifted


def everywhere(
    access: Access, memory: Array, held: Held, addressing: Addressing
) -> Found:
    """The slots to keep of the dense machine's weighting, from the same state."""
    num_slots = memory.shape[-2]
    content = content_weights(memory, addressing.key, addressing.strength)
    previous = jnp.put_along_axis(
        jnp.broadcast_to(held.each(num_slots)[..., None], content.shape),
        held.slots,
        held.weights,
        axis=-1,
        inplace=False,
    )
    gated = interpolate(content, previous, addressing.gate)
    weighting = sharpen(circular_shift(gated, addressing.shift), addressing.gamma)
    kept = access.keep(weighting, num_slots)

    of_kept = jnp.take_along_axis(weighting, kept, axis=-1)
    rest = jnp.maximum(1 - jnp.sum(of_kept, axis=-1), 0)
    dropped = Held(kept, of_kept, rest).elsewhere(weighting)
    origins = sources(kept, addressing.shift.shape[-1] // 2, num_slots)
    of_origins = jnp.take_along_axis(content, flat(origins), axis=-1)
    of_origins = of_origins.reshape(origins.shape)
    return Found(kept, rest, dropped, of_origins)
