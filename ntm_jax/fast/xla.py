"""Workarounds for XLA's CPU backend. Nothing here is mathematics.

Each function computes what its reference, the first line of its docstring, says. In a
program that is lowered for another platform it is that reference. `by_platform` decides
which of the two is compiled. docs/PERFORMANCE.md says what each workaround is worth.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import scheduling_groups, xla_metadata

PyTree = Any

# Since JAX 0.11 in `xla_metadata`. Without it, only speed differs.
_metadata_call = getattr(xla_metadata, "xla_metadata_call", None) or getattr(
    scheduling_groups, "xla_metadata_call", None
)
# Whether the program that is traced now will be lowered for a CPU.
_for_cpu = contextvars.ContextVar("for_cpu", default=False)

# So many floats fit into a core's L2 cache several times.
CACHED_NUMBERS = 2**16
# Floats in the widest SIMD vector.
VECTOR = 16
# Rows that eight parts of whole vectors (of four floats) have at least.
_ROWS = 32
# A sum over wider slots than this is not unrolled: the program would become too long.
WIDEST_UNROLLED = 64


def by_platform(function: Callable[[bool], Any], *args: Any) -> Any:
    """`function(for_cpu)(*args)`, for the platform that the program is lowered for.

    JAX traces both forms and lowers one of them. A backward pass is traced later than
    its forward pass, so each pass has to enter `forms` by itself.
    """
    return lax.platform_dependent(*args, cpu=function(True), default=function(False))


@contextlib.contextmanager
def forms(for_cpu: bool) -> Iterator[None]:
    """What is traced within uses the CPU's forms, or the plain ones."""
    token = _for_cpu.set(for_cpu)
    try:
        yield
    finally:
        _for_cpu.reset(token)


def for_cpu() -> bool:
    """Whether the CPU's forms are in use."""
    return _for_cpu.get()


def noinline(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, as a call that XLA neither inlines nor splits between threads.

    The CPU runtime gives ready operations to another thread as soon as there are more
    than eight of them, whatever they cost. A call counts as one operation. It waits for
    all of its arguments, which also orders a read before the write that follows it.
    """
    if _metadata_call is None or not for_cpu():
        return function
    return _metadata_call(function, inlineable="false")


def noinline_vjp(function: Callable[..., Any], *primals: Any) -> tuple[Any, Any]:
    """`jax.vjp(function, *primals)`; for a CPU, both passes as calls of their own.

    There, the backward pass recomputes its residuals from the primals, so that no
    residual is handed from one call to the other.
    """
    if not for_cpu():
        return jax.vjp(function, *primals)

    def vjp(cotangents):
        return noinline(
            lambda primals, cotangents: jax.vjp(function, *primals)[1](cotangents)
        )(primals, cotangents)

    return noinline(function)(*primals), vjp


def sum_of_slots(weights: Array) -> Array:
    """`jnp.sum(weights, axis=-1)`; a CPU is faster with a product with ones."""
    if not for_cpu():
        return jnp.sum(weights, axis=-1)
    ones = jnp.ones(weights.shape[-1], weights.dtype)
    return jnp.matmul(weights, ones, precision=lax.Precision.HIGHEST)


def sum_of_heads(weights: Array, memory: Array) -> Array:
    """`jnp.sum(weights, axis=1)`; for a CPU written out if no cache holds the memory.

    Of the memory, only the size matters.
    XLA hands a sum and all that is fused with it to a library, which writes to a new
    array. Here that would be the whole cotangent of the memory.
    """
    if not for_cpu() or memory.size <= CACHED_NUMBERS:
        return jnp.sum(weights, axis=1)
    heads = [weights[:, k] for k in range(weights.shape[1])]
    return sum(heads[1:], start=heads[0])


def sum_of_squares(memory: Array, scale: float = 1.0) -> Array:
    """`jnp.sum((scale * memory) ** 2, axis=1)`; for a CPU unrolled, in one pass."""
    if not for_cpu() or memory.shape[1] > WIDEST_UNROLLED:
        return jnp.sum((scale * memory) ** 2, axis=1)
    squares = [(scale * memory[:, m]) ** 2 for m in range(memory.shape[1])]
    return sum(squares[1:], start=squares[0])


def weighted_slots(weights: Array, slots: Array) -> Array:
    """`jnp.einsum("bkn,bmn->bkm", weights, slots)`; for a CPU one head at a time."""
    if not for_cpu():
        return jnp.einsum("bkn,bmn->bkm", weights, slots)
    per_head = [
        jnp.einsum("bn,bmn->bm", weights[:, k], slots) for k in range(weights.shape[1])
    ]
    return jnp.stack(per_head, axis=1)


def products_with(windows: list[Array], weights: Array) -> Array:
    """`jnp.sum(weights[:, :, None] * jnp.stack(windows, axis=2), axis=-1)`.

    For a CPU as matrix products.
    """
    stacked = jnp.stack(windows, axis=2)
    if for_cpu():
        return jnp.einsum("bkn,bksn->bks", weights, stacked)
    return jnp.sum(weights[:, :, None] * stacked, axis=-1)


def sum_of_outer(vectors: Array, weights: Array) -> Array:
    """`jnp.einsum("bkm,bkn->bmn", vectors, weights)`, or the same written out.

    A matrix product is a kernel of its own for a GPU, and a pass over the memory for a
    CPU. What is written out becomes a part of another pass. Only in a CPU's cache is
    the product faster.
    """
    if for_cpu() and vectors.shape[-1] * weights[:, 0].size <= CACHED_NUMBERS:
        return jnp.einsum("bkm,bkn->bmn", vectors, weights)
    outer = [
        jnp.swapaxes(vectors[:, k : k + 1], 1, 2) * weights[:, k : k + 1]
        for k in range(vectors.shape[1])
    ]
    return sum(outer[1:], start=outer[0])


def twice_half(linear: Callable[[Array], PyTree], a: Array, b: Array) -> PyTree:
    """`linear(a * b)`, for a linear function.

    XLA does not vectorise a product of two arrays and nothing else for a CPU. There,
    the product is halved and the results are doubled, which rounds nothing.
    """
    if not for_cpu():
        return linear(a * b)
    return jax.tree.map(lambda leaf: 2 * leaf, linear(0.5 * a * b))


def pad_rows(matrix: Array) -> Array:
    """`matrix`; except for a CPU with rows of zeros up to a multiple of 32.

    For a GPU, XLA splits a sum over the rows into up to eight parts of whole vectors,
    and pads for that at every step. `product` multiplies by such a matrix.
    """
    if for_cpu():
        return matrix
    return jnp.pad(matrix, ((0, -matrix.shape[0] % _ROWS), (0, 0)))


def product(inputs: Array, padded: Array) -> Array:
    """`inputs @ matrix`, for the matrix that `pad_rows` has padded."""
    missing = padded.shape[0] - inputs.shape[-1]
    return (
        jnp.pad(inputs, ((0, 0),) * (inputs.ndim - 1) + ((0, missing),))
        if missing
        else inputs
    ) @ padded


def pad_columns(matrix: Array) -> Array:
    """`matrix`; for a CPU with columns of zeros up to a multiple of the SIMD width."""
    if not for_cpu():
        return matrix
    return jnp.pad(matrix, ((0, 0), (0, -matrix.shape[1] % VECTOR)))


class Alternating(NamedTuple):
    """An array that every step replaces; for a CPU a buffer that it is written to.

    XLA splits an update of 512 KB or more between threads if it is in place, but not
    from one buffer to another. So there are two buffers, written in turn, for an array
    that fits into the cache. Beyond it the split pays.
    """

    array: Array

    @classmethod
    def of(cls, array: Array) -> "Alternating":
        """With that array at any step."""
        if not for_cpu():
            return cls(array)
        number = 2 if array.size <= CACHED_NUMBERS else 1
        return cls(jnp.broadcast_to(array, (number, *array.shape)))

    def at(self, t: Any) -> Array:
        """The array that step t has put."""
        return (
            row_noinline(t % len(self.array), self.array) if for_cpu() else self.array
        )

    def put(self, t: Any, array: Array) -> "Alternating":
        """With the array of step t."""
        if not for_cpu():
            return Alternating(array)
        return Alternating(set_row(t % len(self.array), self.array, array))


# Rows of buffers that a loop carries.


def row(index: Any, tree: PyTree) -> PyTree:
    """`leaf[index]` of every leaf, for a scalar index or a pair, never negative."""
    index = index if isinstance(index, tuple) else (index,)
    axes = len(index)

    def take(leaf):
        shape = leaf.shape[axes:]
        start = (*index, *(0,) * len(shape))
        cut = lax.dynamic_slice(
            leaf, start, (*(1,) * axes, *shape), allow_negative_indices=False
        )
        return cut.reshape(shape)

    return jax.tree.map(take, tree)


def row_noinline(index: Any, tree: PyTree) -> PyTree:
    """`row(index, tree)`, as a call. For constants take `row`: XLA folds it."""
    return noinline(row)(index, tree)


def set_row(index: Any, tree: PyTree, new: PyTree) -> PyTree:
    """`leaf.at[index].set(new_leaf)` of every leaf."""
    index = index if isinstance(index, tuple) else (index,)

    def put(leaf, new):
        return lax.dynamic_update_slice(
            leaf,
            new.reshape(*(1,) * len(index), *new.shape),
            (*index, *(0,) * new.ndim),
            allow_negative_indices=False,
        )

    return jax.tree.map(put, tree, new)


def buffers_like(sizes: tuple[int, ...], tree: PyTree) -> PyTree:
    """`jnp.zeros((*sizes, *leaf.shape))` of every leaf.

    Under `shard_map` they vary over the devices that `tree` varies over.
    """
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(jnp.zeros_like(leaf), (*sizes, *leaf.shape)), tree
    )
