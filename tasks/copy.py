"""Copy: repeat a sequence of random bit vectors once it has ended (paper, section 4.1).

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

import jax
import jax.numpy as jnp
from jax import Array

from tasks.task import Batch, Difficulty, Range, Task, as_channel, check_count


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copy(Task):
    """Sequences of `num_bits` wide vectors, then a delimiter on a channel of its own.

    There is no input while the answer is due. The paper trains on 8 bits and lengths
    drawn from 1 to 20.
    """

    num_bits: int = 8

    def __post_init__(self) -> None:
        check_count("num_bits", self.num_bits)

    @property
    def input_size(self) -> int:
        """The bits and the delimiter."""
        return self.num_bits + 1

    @property
    def output_size(self) -> int:
        """The bits."""
        return self.num_bits

    @property
    def difficulty(self) -> dict[str, Difficulty]:
        """The number of vectors in a sequence."""
        return {"length": (1, 20)}

    @property
    def beyond(self) -> tuple[dict[str, int], ...]:
        """Six times the length (paper, figure 4)."""
        return ({"length": 120},)

    def num_kept(self, ranges: dict[str, Range]) -> int:
        """The vectors."""
        return ranges["length"].limit

    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """A batch with T = 2 * (longest length) + 1."""
        length = ranges["length"]
        length_key, bits_key = jax.random.split(key)
        lengths = length.draw(length_key, (1, batch_size))
        shape = (length.limit, batch_size, self.num_bits)
        bits = jax.random.bernoulli(bits_key, shape=shape).astype(jnp.float32)

        num_steps = 2 * length.limit + 1
        step = jnp.arange(num_steps)[:, None]
        source = (
            jnp.zeros((num_steps, *shape[1:]), bits.dtype).at[: length.limit].set(bits)
        )
        presented = jnp.where((step < lengths)[:, :, None], source, 0)
        delimiter = as_channel(step == lengths)

        answered = step - lengths - 1
        mask = (answered >= 0) & (answered < lengths)
        due = jnp.clip(answered, 0, length.limit - 1)[:, :, None]
        answers = jnp.take_along_axis(bits, due, axis=0)
        return Batch(
            inputs=jnp.concatenate([presented, delimiter], axis=-1),
            targets=jnp.where(mask[:, :, None], answers, 0),
            mask=mask,
        )
