"""How kernels are started: grids, blocks of arrays, and constants."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.extend import core

from ntm_jax.fast.layout import PyTree
from ntm_jax.pallas.kernels import Chunk, Saved
from ntm_jax.pallas.plan import Plan

# Which block each program has of a tree of arrays, or of their shapes.
Blocks = Callable[[PyTree], PyTree]


class Launch(NamedTuple):
    """One program for each tile and chunk, the chunks of a tile one after another."""

    plan: Plan
    interpret: bool
    num_steps: int  # T
    batch: int  # B, a multiple of a tile
    backwards: bool  # whether the last chunk comes first

    @property
    def num_tiles(self) -> int:
        """G."""
        return self.batch // self.plan.tile

    @property
    def num_chunks(self) -> int:
        """C; the last chunk may be shorter than the others."""
        return -(-self.num_steps // self.plan.chunk)

    def start(
        self,
        kernel: Callable[..., None],
        arguments: list[tuple[Blocks, PyTree]],
        results: list[tuple[Blocks, PyTree]],
        scratch: list[Any] | None = None,
    ) -> Any:
        """Arrays of the shapes of `results`, which the kernel writes.

        The kernel gets references to its blocks of `arguments` and of `results`, and to
        `scratch`.
        """
        return pl.pallas_call(
            kernel,
            grid=(self.num_tiles, self.num_chunks),
            in_specs=[blocks(tree) for blocks, tree in arguments],
            out_specs=[blocks(tree) for blocks, tree in results],
            out_shape=[tree for _, tree in results],
            scratch_shapes=scratch or [],
            compiler_params=pltpu.CompilerParams(
                dimension_semantics=("parallel", "arbitrary")
            ),
            interpret=self.interpret,
        )(*(tree for _, tree in arguments))

    # Within a kernel.

    def chunk(self) -> Chunk:
        """The chunk of the program that runs."""
        place, size = pl.program_id(1), self.plan.chunk
        return Chunk(place, jnp.minimum(size, self.num_steps - self._at(place) * size))

    # Blocks.

    def whole(self, tree: PyTree) -> PyTree:
        """Of arrays that every program has."""
        return _blocks(tree, lambda shape: shape, lambda g, c: ())

    def of_tile(self, tree: PyTree) -> PyTree:
        """Of arrays `[B, ...]`."""
        size = self.plan.tile
        return _blocks(tree, lambda shape: (size, *shape[1:]), lambda g, c: (g,))

    def of_steps(self, tree: PyTree) -> PyTree:
        """Of arrays `[T, B, ...]`."""
        return self._of_rows(tree, self.plan.chunk)

    def of_each_tile(self, tree: PyTree) -> PyTree:
        """Of arrays `[G, ...]`, of which a program sees its own `[...]`."""
        return _blocks(tree, lambda shape: (None, *shape[1:]), lambda g, c: (g,))

    def of_saved(self, saved: Saved | None) -> Saved | None:
        """Of what is saved: memories of chunks, everything else of steps."""
        if saved is None:
            return None
        memories, *others = saved
        return Saved(self._of_rows(memories, 1), *map(self.of_steps, others))

    def _of_rows(self, tree: PyTree, number: int) -> PyTree:
        return _blocks(
            tree,
            lambda shape: (number, self.plan.tile, *shape[2:]),
            lambda g, c: (self._at(c), g),
        )

    def _at(self, place: Any) -> Any:
        """The chunk that runs at a place."""
        return self.num_chunks - 1 - place if self.backwards else place

    # Shapes.

    def a_tile(self, tree: PyTree, axis: int = 0) -> PyTree:
        """Of the sequences of a tile, from arrays whose axis `axis` is the batch."""
        return _shapes(tree, lambda shape: (self.plan.tile, *shape[axis + 1 :]))

    def rows(self, tree: PyTree, number: int) -> PyTree:
        """So many rows of all sequences, from arrays of the sequences of one row."""
        return _shapes(tree, lambda shape: (number, self.batch, *shape[1:]))

    def by_tile(self, tree: PyTree) -> PyTree:
        """One array for each tile."""
        return _shapes(tree, lambda shape: (self.num_tiles, *shape))


def without_constants(
    function: Callable[..., PyTree], *shapes: PyTree
) -> tuple[Callable[..., PyTree], list[Any], PyTree]:
    """`function` with its constant arrays as a new first argument; these; its results.

    A kernel can hold no constants but numbers.
    """
    closed, out = jax.make_jaxpr(function, return_shape=True)(*shapes)
    structure = jax.tree.structure(out)

    def with_constants(constants, *arguments):
        leaves = jax.tree.leaves(arguments)
        # JAX 0.12 has `ClosedJaxpr` there without exporting it to type checkers.
        extend: Any = core
        run = extend.jaxpr_as_fun(extend.ClosedJaxpr(closed.jaxpr, constants))
        return structure.unflatten(run(*leaves))

    return with_constants, [jnp.asarray(each) for each in closed.consts], out


def _blocks(tree, shape_of, place_of):
    """Blocks of that shape; of the axes after those of its place, the first."""

    def block(leaf):
        shape = shape_of(leaf.shape)

        def index(g, c):
            place = place_of(g, c)
            return *place, *(0,) * (len(shape) - len(place))

        return pl.BlockSpec(shape, index)

    return jax.tree.map(block, tree)


def _shapes(tree, shape_of):
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(shape_of(leaf.shape), leaf.dtype), tree
    )
