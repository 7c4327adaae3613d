"""What the tasks on sequences of random bit vectors share."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from tasks.task import Range, Task, check_count


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorTask(Task):
    """A task on vectors of `num_bits`, with other channels beside them.

    Attributes:
      other_inputs: channels of the input beside the bits.
      other_outputs: channels of the output beside the bits.
    """

    num_bits: int = 8

    other_inputs: ClassVar[int]
    other_outputs: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_count("num_bits", self.num_bits)

    @property
    def input_size(self) -> int:
        """The bits and the channels beside them."""
        return self.num_bits + self.other_inputs

    @property
    def output_size(self) -> int:
        """The bits and the channels beside them."""
        return self.num_bits + self.other_outputs

    def num_kept(self, ranges: dict[str, Range]) -> int:
        """The vectors, or the items of several: the first of the difficulties."""
        return next(iter(ranges.values())).limit

    def draw_bits(self, key: Array, *shape: int) -> Array:
        """Fair ones and zeros, `[*shape, num_bits]`."""
        bits = jax.random.bernoulli(key, shape=(*shape, self.num_bits))
        return bits.astype(jnp.float32)


def presented(vectors: Array, lengths: Array, num_steps: int) -> Array:
    """The first of the vectors, one a step, and then nothing.

    Args:
      vectors: `[L, B, bits]`.
      lengths: whole numbers `[1, B]`, how many of them each sequence has.
      num_steps: T.

    Returns:
      `[T, B, bits]`.
    """
    longer = (0, num_steps - len(vectors)), (0, 0), (0, 0)
    step = jnp.arange(num_steps)[:, None]
    return jnp.where((step < lengths)[:, :, None], jnp.pad(vectors, longer), 0)
