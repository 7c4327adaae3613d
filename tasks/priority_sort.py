"""Priority sort: the vectors of highest priority, in order (paper, section 4.5).

>>> import jax
>>> task = PrioritySort(num_bits=1)
>>> batch = task.sample(jax.random.key(2), batch_size=1, length=3, answers=2)
>>> print(batch.inputs[:3, 0].round(2))  # the bit, its priority and the delimiter
[[ 0.   -0.41  0.  ]
 [ 1.   -0.34  0.  ]
 [ 1.    0.65  0.  ]]
>>> batch.targets[:, 0, 0].astype(int).tolist()
[0, 0, 0, 0, 1, 1]
>>> batch.mask[:, 0].astype(int).tolist()
[0, 0, 0, 0, 1, 1]
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from .task import Batch, Difficulty, Range, as_channel
from .vectors import VectorTask, taken


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrioritySort(VectorTask):
    """Vectors of `num_bits`, each with a priority drawn from -1 to 1, and a delimiter.

    The answer is the vectors of highest priority, the highest first. There is no input
    while the answer is due.
    """

    other_inputs: ClassVar[tuple[str, ...]] = ("priority", "delimiter")

    @property
    def tolerance(self) -> float:
        """One wrong bit: two of twenty priorities can be too close to distinguish."""
        return 1.0

    @property
    def difficulty(self) -> dict[str, Difficulty]:
        """The number of vectors, and the largest number in the answer."""
        return {"length": 20, "answers": 16}

    @property
    def easiest(self) -> dict[str, int]:
        """Two vectors, of which the answer is the one of higher priority."""
        return {"length": 2, "answers": 1}

    @property
    def beyond(self) -> tuple[dict[str, int], ...]:
        """Half as many vectors again."""
        return ({"length": 30, "answers": 24},)

    def ranges(self, **difficulty: Difficulty | Range) -> dict[str, Range]:
        """The same as for any task, with at most as many answers as vectors.

        Raises:
          TypeError, ValueError: also for more answers than vectors.
        """
        ranges = super().ranges(**difficulty)
        if ranges["answers"].limit > ranges["length"].limit:
            raise ValueError(
                f"answers: got {ranges['answers'].limit}, want at most "
                f"{ranges['length'].limit}, the vectors of the longest sequence"
            )
        return ranges

    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """A batch with T = (longest length) + 1 + (most answers)."""
        length, answers = ranges["length"], ranges["answers"]
        length_key, answers_key, bits_key, priority_key = jax.random.split(key, 4)
        lengths = length.draw(length_key, (1, batch_size))
        counts = jnp.minimum(answers.draw(answers_key, (1, batch_size)), lengths)
        shape = length.limit, batch_size
        bits = self.draw_bits(bits_key, *shape)
        priorities = jax.random.uniform(priority_key, shape, jnp.float32, -1.0)

        step = jnp.arange(length.limit + 1 + answers.limit, dtype=jnp.int32)[:, None]
        vectors = jnp.concatenate([bits, priorities[:, :, None]], axis=-1)
        presented = taken(vectors, step, step < lengths)
        delimiter = as_channel(step == lengths)

        place = jnp.arange(length.limit, dtype=jnp.int32)[:, None]
        order = jnp.argsort(
            jnp.where(place < lengths, priorities, -jnp.inf), axis=0, descending=True
        )
        ranked = jnp.take_along_axis(bits, order[:, :, None], axis=0)
        answered = step - lengths - 1
        mask = (answered >= 0) & (answered < counts)
        return Batch(
            inputs=jnp.concatenate([presented, delimiter], axis=-1),
            targets=taken(ranked, answered, mask),
            mask=mask,
        )
