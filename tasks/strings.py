"""The common part of the string tasks of the benchmark of Delétang et al. 2023.

*Neural Networks and the Chomsky Hierarchy*, arXiv:2207.02098: networks learn from
strings of at most 40 symbols and are evaluated on strings of up to 500.
"""

import abc
import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from .task import Batch, Difficulty, Range, Task, as_channel
from .vectors import taken


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageTask(Task):
    """A string, then its answer: the lengths and the error of the benchmark."""

    @property
    def error_name(self) -> str:
        """A fraction, as in the benchmark."""
        return "fraction of symbols wrong"

    @property
    def difficulty(self) -> dict[str, Difficulty]:
        """The number of symbols in a string, as the benchmark trains."""
        return {"length": (1, 40)}

    @property
    def beyond(self) -> tuple[dict[str, int], ...]:
        """Half as long again; the benchmark's 500 symbols need a larger memory."""
        return ({"length": 60},)

    def errors(self, logits: Array, batch: Batch) -> Array:
        """The fraction of each answer's symbols that is wrong, `[B]`: 1 - accuracy."""
        wrong = self.targets.wrong(logits, batch.targets, batch.mask)
        return wrong / jnp.sum(batch.mask, axis=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StringTask(LanguageTask):
    """A string of two symbols, then an empty token for every symbol of the answer.

    The two symbols and the token have an input channel each. The one output is the
    logit of the second symbol. The benchmark has two outputs, as
    `tasks.Categories(2)` would have here, but its softmax depends on their difference
    only; so the loss here is its cross-entropy, and a wrong bit is a symbol that its
    softmax gets wrong. Recorded results and shipped machines have this one output.

    Attributes:
      answer_length: symbols of the answer for each symbol of the string.
    """

    answer_length: ClassVar[int]

    @property
    def input_size(self) -> int:
        """Two symbols and the empty token."""
        return 3

    @property
    def output_size(self) -> int:
        """The logit of the second symbol."""
        return 1

    def min_slots(self, ranges: dict[str, Range]) -> int:
        """One for each symbol."""
        return ranges["length"].limit

    @abc.abstractmethod
    def places(self, answered: Array, lengths: Array) -> Array:
        """The positions in the string of the symbols of the answer.

        Args:
          answered: int `[T, 1]`, symbols of the answer before this one.
          lengths: int `[1, B]`, of the strings.

        Returns:
          int `[T, B]`; any value where no answer is due.
        """

    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """A batch as long as the longest string and its answer."""
        length = ranges["length"]
        length_key, symbols_key = jax.random.split(key)
        lengths = length.draw(length_key, (1, batch_size))
        shape = length.limit, batch_size
        second = jax.random.bernoulli(symbols_key, jnp.float32(0.5), shape)
        symbols = as_channel(second)

        num_steps = (1 + self.answer_length) * length.limit
        step = jnp.arange(num_steps, dtype=jnp.int32)[:, None]
        shown = step < lengths
        answered = step - lengths
        mask = (answered >= 0) & (answered < self.answer_length * lengths)
        one_hot = jnp.concatenate([1 - symbols, symbols], axis=-1)
        return Batch(
            inputs=jnp.concatenate(
                [taken(one_hot, step, shown), as_channel(mask)], axis=-1
            ),
            targets=taken(symbols, self.places(answered, lengths), mask),
            mask=mask,
        )
