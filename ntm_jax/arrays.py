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


def reset_where(reset: Array | None, initial: PyTree | None, state: PyTree) -> PyTree:
    """`initial` where `reset` is True, else `state`.

    Args:
      reset: bool `[...]`, or None for nowhere.
      initial: like `state`, with batch axes of size 1, or None for nowhere.
      state: leaves `[..., *]`, a state or a part of one.
    """
    if reset is None or initial is None:
        return state
    return select(reset, initial, state)


def flat(array: Array) -> Array:
    """The last two axes as one."""
    return array.reshape(*array.shape[:-2], array.shape[-2] * array.shape[-1])


def cast(tree: PyTree, dtype: jax.typing.DTypeLike) -> PyTree:
    """The tree with its floating leaves of that dtype."""

    def cast_leaf(leaf: Any) -> Any:
        # Anything that is no array is left to the checks, which name it.
        floating = jnp.issubdtype(getattr(leaf, "dtype", bool), jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    return jax.tree.map(cast_leaf, tree)
