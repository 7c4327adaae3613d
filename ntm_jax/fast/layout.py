"""How a state and a batch are laid out on the fast path, and the way there and back.

Letters: G tiles of B sequences, T steps, K = R + W heads, read heads first.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntm_jax.fast import xla
from ntm_jax.types import NTMState

PyTree = Any

# Sequences in a tile where not even two memories fit into a core's cache.
LEAST_TILE = 8


class State(NamedTuple):
    """An `NTMState`, divided into the memory and everything else."""

    memory: Array  # [B, M, N]: slots last, so that SIMD vectors run along them
    small: "Small"


class Small(NamedTuple):
    """Everything in a state except its memory."""

    weightings: Array  # [B, K, N]
    reads: Array  # [B, R, M]
    carry: PyTree


class Sequence(NamedTuple):
    """The inputs of all steps."""

    xs: Array  # [G, T, B, I]
    mask: Array | None  # bool [G, T, B]
    reset: Array | None  # bool [G, T, B]
    num_steps: Array | None  # [G], steps up to the last that any sequence needs

    def inputs(self) -> tuple[Array, Array | None, Array | None]:
        """What has a row for each step."""
        return self.xs, self.mask, self.reset

    def end(self, g: Any) -> int | Array:
        """One more than the last step of tile g that is computed."""
        return self.xs.shape[1] if self.num_steps is None else self.num_steps[g]


def from_state(state: NTMState, num_batch_axes: int) -> State:
    """An `NTMState` with its batch axes merged into one and its slots last."""
    size = math.prod(state.memory.shape[:num_batch_axes])

    def merge(leaf: Array) -> Array:
        return leaf.reshape(size, *leaf.shape[num_batch_axes:])

    weightings = jnp.concatenate([state.read_weights, state.write_weights], axis=-2)
    carry = jax.tree.map(merge, state.controller)
    small = Small(merge(weightings), merge(state.reads), carry)
    return State(jnp.swapaxes(merge(state.memory), 1, 2), small)


def to_state(end: State, num_reads: int, batch_shape: tuple[int, ...]) -> NTMState:
    """The inverse of `from_state`."""

    def split(leaf: Array) -> Array:
        return leaf.reshape(*batch_shape, *leaf.shape[1:])

    return NTMState(
        memory=split(jnp.swapaxes(end.memory, 1, 2)),
        read_weights=split(end.small.weightings[:, :num_reads]),
        write_weights=split(end.small.weightings[:, num_reads:]),
        reads=split(end.small.reads),
        controller=jax.tree.map(split, end.small.carry),
    )


class Tiles(NamedTuple):
    """A batch as `number` tiles of `size` sequences, computed one after another.

    Each tile has sequences of every part of the batch, so that a batch that is sharded
    over devices stays where it is.
    """

    number: int
    size: int

    @classmethod
    def of(cls, memory: Array) -> "Tiles":
        """For a CPU, tiles whose memories fit into a core's cache; elsewhere one."""
        size = math.prod(memory.shape[:-2])
        if not xla.for_cpu():
            return cls(1, size)
        cached = xla.CACHED_NUMBERS // math.prod(memory.shape[-2:])
        most = cached if cached > 1 else LEAST_TILE
        least = min(LEAST_TILE, -(-most // 2))
        devices = jax.local_device_count()
        fitting = [
            n
            for n in range(least, min(most, size) + 1)
            if size % n == 0 and n % devices == 0
        ]
        return cls(size // max(fitting), max(fitting)) if fitting else cls(1, size)

    def split(self, leaf: Array, axis: int = 0) -> Array:
        """The sequences of each tile, `[G, B, ...]`, of `[G B, ...]`.

        With axis 1: `[G, T, B, ...]` of `[T, G B, ...]`.
        """
        shape = leaf.shape
        sizes = (self.size, self.number)
        leaf = leaf.reshape(*shape[:axis], *sizes, *shape[axis + 1 :])
        return jnp.moveaxis(leaf, axis + 1, 0)

    def merge(self, leaf: Array, axis: int = 0) -> Array:
        """The inverse of `split`."""
        leaf = jnp.moveaxis(leaf, 0, axis + 1)
        size = self.size * self.number
        return leaf.reshape(*leaf.shape[:axis], size, *leaf.shape[axis + 2 :])
