"""What is done to arrays whatever they mean: choosing by a mask, flattening."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

PyTree = Any


def select(keep: Array, new: PyTree, old: PyTree) -> PyTree:
    """`new` where `keep` is True, else `old`.

    >>> select(jnp.array([True, False]), jnp.ones((2, 2)), jnp.zeros((2, 2))).tolist()
    [[1.0, 1.0], [0.0, 0.0]]

    Args:
      keep: bool `[...]`, which lacks the last axes of the leaves.
      new: of leaves `[..., *]`, or of some that broadcast to it.
      old: the same.
    """

    def select_leaf(new: Array, old: Array) -> Array:
        missing = max(jnp.ndim(new), jnp.ndim(old)) - keep.ndim
        return jnp.where(keep.reshape(*keep.shape, *(1,) * missing), new, old)

    return jax.tree.map(select_leaf, new, old)


def restart(afresh: Array | None, fresh: PyTree | None, state: PyTree) -> PyTree:
    """The state or a part of it, but what is fresh of it where that is flagged.

    Args:
      afresh: bool `[...]`.
      fresh: what replaces it, with batch axes of size 1; None where nothing does.
      state: `[..., *]`.
    """
    if afresh is None or fresh is None:
        return state
    return select(afresh, fresh, state)


def flat(array: Array) -> Array:
    """The last two axes as one."""
    return array.reshape(*array.shape[:-2], array.shape[-2] * array.shape[-1])
