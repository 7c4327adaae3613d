"""Slots among many: the largest, and the place of one, without comparing all pairs."""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

# As many numbers as `lax.top_k` takes in one part, and as many slots as are compared
# with each: below this, what is here is not faster.
LONG, FEW = 4096, 32


def largest(weights: Array, count: int) -> Array:
    """Which are the largest, int `[..., count]`, of `[..., N]`, the largest first.

    On a CPU, `lax.top_k` takes up to thirty times as long if the weights ascend, as
    those of a machine may that writes downwards. This takes the blocks with the largest
    maxima, which it shuffles, and then the largest of these blocks.

    >>> largest(jnp.array([0.1, 0.4, 0.2]), 2).tolist()
    [1, 2]
    """
    size = weights.shape[-1]
    width = 1 << max((size // count).bit_length() // 2, 0)
    if size < LONG or width < 2:
        return lax.top_k(weights, count)[1]
    batch = weights.shape[:-1]
    none = jnp.full((*batch, -size % width), -jnp.inf, weights.dtype)
    blocks = jnp.concatenate([weights, none], axis=-1).reshape(*batch, -1, width)
    order = np.random.default_rng(0).permutation(blocks.shape[-2])
    best = lax.top_k(jnp.max(blocks, axis=-1)[..., order], count)[1]
    best = jnp.asarray(order, jnp.int32)[best]
    those = jnp.take_along_axis(blocks, best[..., None], axis=-2)
    places = lax.top_k(those.reshape(*batch, -1), count)[1]
    of_block = jnp.take_along_axis(best, places // width, axis=-1)
    return of_block * width + places % width


def places_among(slots: Array, wanted: Array, num_slots: int) -> tuple[Array, Array]:
    """The places `[..., C]` of the wanted slots among others; whether they have one.

    >>> places, found = places_among(jnp.array([5, 7, 2]), jnp.array([7, 6, 2]), 9)
    >>> places[found].tolist(), found.tolist()
    ([1, 2], [True, False, True])

    Args:
      slots: int `[..., K]`, each once, in ascending order from the first one on, where
        slot 0 follows slot N - 1.
      wanted: int `[..., C]`.
      num_slots: N.
    """
    search = jnp.vectorize(
        lambda slots, wanted: jnp.searchsorted(slots, wanted, method="scan_unrolled"),
        signature="(k),(c)->(c)",
    )
    start = slots[..., :1]
    slots, wanted = (wrapped(those - start, num_slots) for those in (slots, wanted))
    places = jnp.minimum(search(slots, wanted), slots.shape[-1] - 1)
    return places, jnp.take_along_axis(slots, places, axis=-1) == wanted


def wrapped(slots: Array, num_slots: int) -> Array:
    """Slots from -N to 2 N - 1, as slots from 0 to N - 1."""
    slots = jnp.where(slots < 0, slots + num_slots, slots)
    return jnp.where(slots >= num_slots, slots - num_slots, slots)
