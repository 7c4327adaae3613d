"""Arrays with explicit shardings, as `jax.set_mesh` makes them.

On such a mesh, every operation has to be told how its result is sharded, wherever that
is ambiguous. Within `compiler_shards` the compiler decides instead, as on other meshes.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from ntm_jax.types import PyTree


def compiler_shards(
    run: Callable[..., Any],
    xs: Array,
    state: PyTree,
    *args: Any,
    ends: bool = True,
) -> Any:
    """`run(xs, state, *args)`, with explicit shardings only of arguments and results.

    Args:
      run: from `xs` and a state to results for each step. With `ends`, it returns the
        last state before them, which is sharded over slots, heads and units as `state`.
      xs: `[T, ..., input_size]`. The results are sharded over time and batch as it is.
      state: the state before the first step.
      args: further trees of arrays.
      ends: whether `run` returns the last state.
    """
    mesh = _explicit_mesh((xs, state, *args))
    if mesh is None:
        return run(xs, state, *args)
    time_and_batch = _sharding(xs).spec[:-1]
    batch = time_and_batch[1:]

    def like(leaf: Array) -> NamedSharding:
        rest = _sharding(leaf).spec[len(batch) :]
        return NamedSharding(mesh, PartitionSpec(*batch, *rest))

    out: Any = NamedSharding(mesh, PartitionSpec(*time_and_batch))
    if ends:
        out = jax.tree.map(like, state), out
    automatic: Any = jax.sharding.auto_axes(
        run, axes=_explicit_axes(mesh), out_sharding=out
    )
    return automatic(xs, state, *args)


def _sharding(leaf: Array) -> Any:
    """The sharding that is part of the array's type: a mesh and a spec."""
    kind: Any = jax.typeof(leaf)
    return kind.sharding


def _explicit_mesh(tree: PyTree) -> AbstractMesh | None:
    """The mesh of the arrays, if it has an axis with explicit shardings."""
    for leaf in jax.tree.leaves(tree):
        mesh = _sharding(leaf).mesh
        if _explicit_axes(mesh):
            return mesh
    return None


def _explicit_axes(mesh: AbstractMesh) -> tuple[str, ...]:
    return tuple(
        name
        for name, kind in zip(mesh.axis_names, mesh.axis_types)
        if kind == AxisType.Explicit
    )
