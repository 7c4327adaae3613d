"""The common part of the tasks on sequences of random bit vectors."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from .checks import check_count
from .task import Range, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorTask(Task):
    """A task on vectors of `num_bits`, with other channels beside them.

    Attributes:
      other_inputs: names of the channels of the input beside the bits.
      other_outputs: channels of the output beside the bits.
    """

    num_bits: int = 8

    other_inputs: ClassVar[tuple[str, ...]]
    other_outputs: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_count("num_bits", self.num_bits)

    @property
    def input_size(self) -> int:
        """The bits and the channels beside them."""
        return self.num_bits + len(self.other_inputs)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the bits and of the channels beside them."""
        bits = tuple(f"bit {i + 1}" for i in range(self.num_bits))
        return bits + self.other_inputs

    @property
    def output_size(self) -> int:
        """The bits and the channels beside them."""
        return self.num_bits + self.other_outputs

    def min_slots(self, ranges: dict[str, Range]) -> int:
        """One for each vector."""
        return ranges["length"].limit

    def draw_bits(self, key: Array, *shape: int) -> Array:
        """Uniformly random bits, `[*shape, num_bits]`."""
        bits = jax.random.bernoulli(key, jnp.float32(0.5), (*shape, self.num_bits))
        return bits.astype(jnp.float32)


def taken(vectors: Array, places: Array, due: Array) -> Array:
    """`vectors[places]` at the steps where `due`, zeros at the others.

    Args:
      vectors: `[L, B, bits]`.
      places: int `[T, B]`, or `[T, 1]` for the same in all sequences; any value where
        nothing is due.
      due: bool `[T, B]`.

    Returns:
      `[T, B, bits]`.
    """
    places = jnp.clip(places, 0, len(vectors) - 1)[:, :, None]
    return jnp.where(due[:, :, None], jnp.take_along_axis(vectors, places, axis=0), 0)
