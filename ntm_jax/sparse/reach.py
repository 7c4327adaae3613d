"""The weightings that shift from kept slots to slots near them, without content."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ntm_jax.addressing import shifted_windows, weighted_sum
from ntm_jax.arrays import flat
from ntm_jax.heads import Addressing
from ntm_jax.sparse.kinds import Access, Held
from ntm_jax.sparse.many import wrapped


class Reached(NamedTuple):
    """The slots within reach of those that are kept.

    Attributes:
      slots: int `[..., H, C]`. Some may occur twice.
      first: bool `[..., H, C]`, whether this is the first time.
      weights: `[..., H, C]`, the shifted weighting there (eqs. 7, 8) without content,
        and 0 the second time.
      beyond: `[..., H]`, the same at each of the other slots.
    """

    slots: Array
    first: Array
    weights: Array
    beyond: Array

    def smallest(self) -> Array:
        """The smallest weight of any slot, `[..., H]`."""
        inside = jnp.where(self.first, self.weights, jnp.inf)
        return jnp.minimum(jnp.min(inside, axis=-1), self.beyond)

    def largest(self) -> Array:
        """The largest weight of any slot, `[..., H]`."""
        return jnp.maximum(jnp.max(self.weights, axis=-1), self.beyond)

    def plus(self, weight: Array) -> "Reached":
        """With as much more at every slot, `[..., H]`."""
        weights = jnp.where(self.first, self.weights + weight[..., None], 0)
        return self._replace(weights=weights, beyond=self.beyond + weight)


def reached(
    access: Access, held: Held, addressing: Addressing, num_slots: int
) -> Reached:
    """What is within reach of the weightings of the step before."""
    shift, stays = addressing.shift, 1 - addressing.gate
    room = held.slots.shape[-1] + 4 * (shift.shape[-1] // 2)
    is_window = access.kind == "window" and room <= num_slots
    staying = held._replace(
        weights=stays[..., None] * held.weights, rest=stays * held.rest
    )
    around = _window if is_window else _separate
    slots, first, weights = around(staying, shift, num_slots)
    return Reached(slots, first, weights, staying.each(num_slots))


def _window(held: Held, shift: Array, num_slots: int) -> tuple[Array, Array, Array]:
    """The slots up to R from a window, that each is there once, and their weights."""
    reach, size = shift.shape[-1] // 2, held.slots.shape[-1]
    each = held.each(num_slots)[..., None]
    beside = jnp.broadcast_to(each, (*each.shape[:-1], 2 * reach))
    weights = jnp.concatenate([beside, held.weights, beside], axis=-1)
    weights = weighted_sum(shifted_windows(weights, reach), shift)
    distances = _last(range(-reach, size + reach), held.rest.ndim)
    slots = wrapped(held.slots[..., :1] + distances, num_slots)
    return slots, jnp.ones(slots.shape, bool), weights


def _separate(held: Held, shift: Array, num_slots: int) -> tuple[Array, Array, Array]:
    """The same of slots in order: those up to d apart are up to d places apart."""
    reach, kept = shift.shape[-1] // 2, held.slots.shape[-1]
    farthest = 2 * reach
    distances = _last(range(-farthest, farthest + 1), held.slots.ndim)
    there = wrapped(wrapped(held.slots[..., None] + distances, num_slots), num_slots)
    places = range(-farthest, farthest + 1) if kept > 2 * farthest else range(kept)
    slots, weights = (
        jnp.stack([jnp.roll(each, -place, axis=-1) for place in places], axis=-1)
        for each in held[:2]
    )
    same = there[..., :, None] == slots[..., None, :]
    of_kept = jnp.sum(jnp.where(same, weights[..., None, :], 0), axis=-1)
    each = held.each(num_slots)[..., None, None]
    weights = jnp.where(jnp.any(same, axis=-1), of_kept, each)
    weights = weighted_sum(shifted_windows(weights, reach), shift[..., None, :])

    shifts = _last(range(-reach, reach + 1), held.slots.ndim)
    slots = wrapped(held.slots[..., None] + shifts, num_slots)
    next_kept = jnp.roll(held.slots, -1, axis=-1) - held.slots - 1
    next_kept = wrapped(next_kept, num_slots)
    # It is reached first by the lowest shift that leads to it from a kept slot.
    first = shifts + reach <= next_kept[..., None]
    return flat(slots), flat(first), flat(jnp.where(first, weights, 0))


def _last(numbers: range, ndim: int) -> Array:
    """The numbers as the last axis, after as many others of size 1."""
    return jnp.asarray(numbers, jnp.int32).reshape((1,) * ndim + (-1,))
