"""Associative recall: the item after the queried one (paper, section 4.3).

>>> import jax
>>> task = AssociativeRecall(num_bits=1, item_length=1)
>>> batch = task.sample(jax.random.key(1), batch_size=1, items=2)
>>> batch.inputs[:, 0].astype(int).tolist()  # a bit, and the two delimiters
[[0, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
>>> batch.targets[:, 0].astype(int).tolist()
[[0], [0], [0], [0], [0], [0], [0], [1]]
>>> batch.mask[:, 0].astype(int).tolist()
[0, 0, 0, 0, 0, 0, 0, 1]
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from .checks import check_count
from .task import Batch, Difficulty, Range, as_channel
from .vectors import VectorTask, taken


@dataclasses.dataclass(frozen=True, kw_only=True)
class AssociativeRecall(VectorTask):
    """Items of `item_length` vectors, then one of them again; the answer is the next.

    A delimiter precedes each item; another, on its own channel, precedes and follows
    the query. The query is any item except the last. There is no input while the answer
    is due.
    """

    num_bits: int = 6
    item_length: int = 3

    other_inputs: ClassVar[tuple[str, ...]] = (
        "item delimiter",
        "query delimiter",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("item_length", self.item_length)

    @property
    def difficulty(self) -> dict[str, Difficulty]:
        """The number of items."""
        return {"items": (2, 6)}

    @property
    def beyond(self) -> tuple[dict[str, int], ...]:
        """Up to twenty items (paper, figure 11)."""
        return {"items": 12}, {"items": 20}

    def ranges(self, **difficulty: Difficulty | Range) -> dict[str, Range]:
        """The same as for any task, with at least two items.

        Raises:
          TypeError, ValueError: also for fewer than 2 items.
        """
        ranges = super().ranges(**difficulty)
        if ranges["items"].below(2):
            raise ValueError(
                f"items: got {difficulty['items']!r}, want at least 2: the query and "
                "the item after it"
            )
        return ranges

    def min_slots(self, ranges: dict[str, Range]) -> int:
        """One for each item."""
        return ranges["items"].limit

    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """A batch as long as the sequence with the most items."""
        items = ranges["items"]
        count_key, query_key, bits_key = jax.random.split(key, 3)
        counts = items.draw(count_key, (1, batch_size))
        shape = 1, batch_size
        queries = jax.random.randint(query_key, shape, 0, counts - 1, jnp.int32)
        bits = self.draw_bits(bits_key, items.limit * self.item_length, batch_size)

        # Every step belongs to a period: the delimiter, then the vectors of an item.
        period = self.item_length + 1
        num_steps = period * items.limit + period + 1 + self.item_length
        step = jnp.arange(num_steps, dtype=jnp.int32)[:, None]
        asked = period * counts
        after = step - asked
        item = jnp.where(after < 0, step // period, queries)
        place = jnp.where(after < 0, step, after) % period - 1
        shown = (place >= 0) & (after < period)
        presented = taken(bits, item * self.item_length + place, shown)
        answered = after - period - 1
        mask = (answered >= 0) & (answered < self.item_length)
        answers = taken(bits, (queries + 1) * self.item_length + answered, mask)

        item_delimiter = (place < 0) & (after < 0)
        query_delimiter = (after == 0) | (after == period)
        return Batch(
            inputs=jnp.concatenate(
                [
                    presented,
                    as_channel(item_delimiter),
                    as_channel(query_delimiter),
                ],
                axis=-1,
            ),
            targets=answers,
            mask=mask,
        )
