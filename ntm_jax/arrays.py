"""Operations on arrays that do not depend on their meaning: select, flatten, cast."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, dtypes

PyTree = Any
# What JAX narrows unless `jax_enable_x64` is set.
_WIDE = (np.float64, np.int64, np.uint64)


def select(mask: Array, new: PyTree, old: PyTree) -> PyTree:
    """`new` where the mask is True, `old` elsewhere.

    >>> select(jnp.array([True, False]), jnp.ones((2, 2)), jnp.zeros((2, 2))).tolist()
    [[1.0, 1.0], [0.0, 0.0]]

    Args:
      mask: bool `[...]`, the leading axes of the leaves.
      new: a tree. Its leaves are `[..., *]` or broadcast to it.
      old: a tree of the same structure. Its leaves too are `[..., *]` or broadcast.
    """

    def select_leaf(new: Array, old: Array) -> Array:
        missing = max(jnp.ndim(new), jnp.ndim(old)) - mask.ndim
        return jnp.where(mask.reshape(*mask.shape, *(1,) * missing), new, old)

    return jax.tree.map(select_leaf, new, old)


def reset_where(reset: Array | None, initial: PyTree | None, state: PyTree) -> PyTree:
    """The initial state where `reset` is True, the given state elsewhere.

    >>> reset_where(jnp.array([True, False]), jnp.zeros((1, 2)), jnp.ones((2, 2)))
    Array([[0., 0.],
           [1., 1.]], dtype=float32)

    Args:
      reset: bool `[...]`, or None to reset nothing.
      initial: the initial state, with batch axes of size 1, or None to reset nothing.
      state: the state or a part of it, with leaves `[..., *]`.
    """
    if reset is None or initial is None:
        return state
    return select(reset, initial, state)


def flat(array: Array) -> Array:
    """The array with its last two axes merged into one."""
    return array.reshape(*array.shape[:-2], array.shape[-2] * array.shape[-1])


def cast(tree: PyTree, dtype: jax.typing.DTypeLike) -> PyTree:
    """The tree, with its floating leaves cast to that dtype."""

    def cast_leaf(leaf: Any) -> Any:
        # A leaf that is no array is left to the checks, which name it.
        floating = jnp.issubdtype(getattr(leaf, "dtype", bool), jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    return jax.tree.map(cast_leaf, tree)


def canonical(tree: PyTree) -> PyTree:
    """The tree, with NumPy's arrays in the dtypes in which JAX computes with them.

    Unless `jax_enable_x64` is set, JAX reads NumPy's float64 as float32. `jax.jit` does
    so before a function sees its arguments. With this, a call outside of `jit` means
    the same.
    """

    def canonical_leaf(leaf: Any) -> Any:
        wide = isinstance(leaf, np.ndarray | np.generic) and leaf.dtype in _WIDE
        return leaf.astype(dtypes.canonicalize_dtype(leaf.dtype)) if wide else leaf

    return jax.tree.map(canonical_leaf, tree)
