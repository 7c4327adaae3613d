"""Copy: repeat a sequence of random bit vectors after its end (paper, section 4.1).

>>> import jax
>>> batch = Copy(num_bits=2).sample(jax.random.key(1), batch_size=1, length=3)
>>> batch.inputs[:, 0].astype(int).tolist()  # two bits and the delimiter
[[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
>>> batch.targets[:, 0].astype(int).tolist()
[[0, 0], [0, 0], [0, 0], [0, 0], [1, 0], [1, 1], [0, 0]]
>>> batch.mask[:, 0].astype(int).tolist()
[0, 0, 0, 0, 1, 1, 1]
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from .task import Batch, Difficulty, Range, as_channel
from .vectors import VectorTask, taken


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy(VectorTask):
    """Sequences of `num_bits` wide vectors, then a delimiter on a channel of its own.

    There is no input while the answer is due. The paper trains on 8 bits and lengths
    drawn from 1 to 20.
    """

    other_inputs: ClassVar[tuple[str, ...]] = ("delimiter",)

    @property
    def difficulty(self) -> dict[str, Difficulty]:
        """The number of vectors in a sequence."""
        return {"length": (1, 20)}

    @property
    def beyond(self) -> tuple[dict[str, int], ...]:
        """Six times the length (paper, figure 4)."""
        return ({"length": 120},)

    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """A batch with T = 2 * (longest length) + 1."""
        length = ranges["length"]
        length_key, bits_key = jax.random.split(key)
        lengths = length.draw(length_key, (1, batch_size))
        bits = self.draw_bits(bits_key, length.limit, batch_size)

        step = jnp.arange(2 * length.limit + 1, dtype=jnp.int32)[:, None]
        presented = taken(bits, step, step < lengths)
        delimiter = as_channel(step == lengths)

        answered = step - lengths - 1
        mask = (answered >= 0) & (answered < lengths)
        return Batch(
            inputs=jnp.concatenate([presented, delimiter], axis=-1),
            targets=taken(bits, answered, mask),
            mask=mask,
        )
