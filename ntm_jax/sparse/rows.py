"""Rows of the memory, taken out and put back in place.

Each function takes the memory and returns it, as if there were only one. In a
`lax.scan` XLA then changes the one buffer of the carry. So does the reverse: the
cotangent of the memory is a carry too, and a step changes only the rows that it took
and put. Neither direction makes a pass over the memory.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.addressing import SMALLEST_LENGTH


@jax.custom_vjp
def take(memory: Array, slots: Array) -> tuple[Array, Array]:
    """The rows `[..., U, M]` at slots, int `[..., U]`, and the memory as it was.

    >>> rows, memory = take(jnp.eye(3), jnp.array([2, 2]))
    >>> rows.tolist()
    [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]
    """
    rows = _flat(memory)[_flat_slots(memory, slots)]
    # Whoever changes the memory does so after the rows are taken: no copy is kept.
    return lax.optimization_barrier((rows, memory))


def _take_fwd(memory: Array, slots: Array):
    return take(memory, slots), slots


def _take_bwd(slots: Array, cotangents: tuple[Array, Array]):
    d_rows, d_memory = cotangents
    flat = _flat(d_memory).at[_flat_slots(d_memory, slots)].add(d_rows)
    return flat.reshape(d_memory.shape), None


take.defvjp(_take_fwd, _take_bwd)


@jax.custom_vjp
def put(memory: Array, slots: Array, rows: Array) -> Array:
    """The memory with these rows at slots, int `[..., U]`, which differ.

    A row at slot N is put nowhere.

    >>> put(jnp.eye(2), jnp.array([2, 0]), jnp.array([[3.0, 3.0], [4.0, 4.0]])).tolist()
    [[4.0, 4.0], [0.0, 1.0]]
    """
    flat = _flat(memory).at[_flat_slots(memory, slots)].set(rows, mode="drop")
    return flat.reshape(memory.shape)


def _put_fwd(memory: Array, slots: Array, rows: Array):
    return put(memory, slots, rows), slots


def _put_bwd(slots: Array, d_memory: Array):
    flat, places = _flat(d_memory), _flat_slots(d_memory, slots)
    d_rows = flat.at[places].get(mode="fill", fill_value=0)
    # Zero, as a difference: setting it to 0 might come before the rows are taken, and
    # XLA would then keep a copy of all rows.
    flat = flat.at[places].add(-d_rows, mode="drop")
    return flat.reshape(d_memory.shape), None, d_rows


put.defvjp(_put_fwd, _put_bwd)


def directions(rows: Array) -> Array:
    """Rows `[..., M]` scaled to the length 1, as `unit_key`: of entries up to 1e18."""
    return rows * inverse_lengths(rows)[..., None]


def inverse_lengths(rows: Array) -> Array:
    """The inverse lengths `[...]` of rows `[..., M]` with entries up to 1e18."""
    return lax.rsqrt(jnp.sum(rows**2, axis=-1) + SMALLEST_LENGTH**2)


def _flat(memory: Array) -> Array:
    """The memories of a batch as one, `[B N, M]`."""
    return memory.reshape(math.prod(memory.shape[:-1]), memory.shape[-1])


def _flat_slots(memory: Array, slots: Array) -> Array:
    """The slots in `_flat`; slot N, which is none, is beyond all of them."""
    *batch, num_slots, _ = memory.shape
    size = math.prod(batch)
    first = num_slots * jnp.arange(size, dtype=jnp.int32).reshape(*batch, 1)
    return jnp.where(slots < num_slots, first + slots, size * num_slots)
