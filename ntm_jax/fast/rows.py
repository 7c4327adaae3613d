"""What a loop saves of every step: a row of a buffer for each, `[G, T, ...]`."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from ntm_jax.fast import xla

PyTree = Any


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["buffer"], meta_fields=["like"]
)
@dataclasses.dataclass(frozen=True)
class Rows:
    """A tree of arrays `[B, ...]` for each step.

    For a CPU the buffer is that tree, `[G, T, B, ...]` each, and a step reads what it
    needs alone. Elsewhere it is one array `[G, T, B, P]`, if all leaves have one dtype:
    a GPU starts a kernel for each array that a step writes.

    Attributes:
      buffer: the tree or the array.
      like: how the tree is packed; None if it is not.
    """

    buffer: PyTree
    like: "_Packing | None"

    @classmethod
    def repeated(cls, number: int, trees: PyTree) -> "Rows":
        """The same tree at all of so many steps, of trees `[G, B, ...]`."""
        packing = _Packing.of(trees, axes=2)

        def repeat(leaf: Array) -> Array:
            return jnp.broadcast_to(leaf[:, None], (len(leaf), number, *leaf.shape[1:]))

        buffer = packing.pack(trees, axes=2) if packing else trees
        return cls(jax.tree.map(repeat, buffer), packing)

    @classmethod
    def zeros(cls, sizes: tuple[int, ...], tree: PyTree) -> "Rows":
        """Zeros for G and T, for a tree of that kind, or of its shapes.

        Under `shard_map` they vary over the devices that `tree` varies over.
        """
        row, packing = jax.tree.map(jnp.zeros_like, tree), _Packing.of(tree, axes=1)
        if packing:
            row = packing.pack(row, axes=1)
        return cls(xla.buffers_like(sizes, row), packing)

    @classmethod
    def of(cls, trees: PyTree) -> "Rows":
        """The given trees, `[T, B, ...]`, as those of one tile."""
        trees = jax.tree.map(lambda leaf: leaf[None], trees)
        packing = _Packing.of(trees, axes=3)
        return cls(packing.pack(trees, axes=3) if packing else trees, packing)

    def put(self, g: Any, t: Any, tree: PyTree) -> "Rows":
        """With that tree at step t of tile g."""
        row = self.like.pack(tree, axes=1) if self.like else tree
        buffer = xla.set_row((g, t), self.buffer, row)
        return dataclasses.replace(self, buffer=buffer)

    def at(self, g: Any, t: Any, pick: Callable[[Any], Any] = lambda tree: tree) -> Any:
        """What `pick` takes of the tree of step t of tile g."""
        if self.like is None:
            return xla.row_noinline((g, t), pick(self.buffer))
        return pick(self.like.unpack(xla.row((g, t), self.buffer)))

    def some(self, g: Any, t: Any, number: int, pick: Callable[[Any], Any]) -> PyTree:
        """What `pick` takes of so many steps from t on: trees `[number, ...]`."""

        def take(leaf):
            return lax.dynamic_slice_in_dim(xla.row(g, leaf), t, number)

        buffer = jax.tree.map(take, self.buffer)
        return pick(self.like.unpack(buffer) if self.like else buffer)

    def tree(self) -> PyTree:
        """All steps: arrays `[G, T, B, ...]`."""
        return self.like.unpack(self.buffer) if self.like else self.buffer


@dataclasses.dataclass(frozen=True)
class _Packing:
    """How a tree of arrays is one array, with the numbers of each leaf side by side."""

    structure: Any
    shapes: tuple[tuple[int, ...], ...]  # of a leaf, without its first axes

    @classmethod
    def of(cls, tree: PyTree, axes: int) -> "_Packing | None":
        """For leaves of one dtype with so many first axes in common, not for a CPU."""
        leaves, structure = jax.tree.flatten(tree)
        if xla.for_cpu() or len({leaf.dtype for leaf in leaves}) != 1:
            return None
        return cls(structure, tuple(leaf.shape[axes:] for leaf in leaves))

    def pack(self, tree: PyTree, axes: int) -> Array:
        """The array `[..., P]`."""
        flattened = [
            leaf.reshape(*leaf.shape[:axes], -1) for leaf in jax.tree.leaves(tree)
        ]
        return jnp.concatenate(flattened, axis=-1)

    def unpack(self, packed: Array) -> PyTree:
        """The inverse, for any first axes."""
        sizes = [math.prod(shape) for shape in self.shapes]
        parts = jnp.split(packed, np.cumsum(sizes)[:-1], axis=-1)
        return self.structure.unflatten(
            part.reshape(*packed.shape[:-1], *shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        )
