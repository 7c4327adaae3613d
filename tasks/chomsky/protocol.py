"""The common part of the tasks: a string, then empty tokens while the answer is due."""

import abc
import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..inputs import Vectors
from ..strings import LanguageTask
from ..targets import Categories
from ..task import Batch, Range

_EMPTY = "_"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChomskyTask(LanguageTask):
    """A string of symbols, then an empty token for every symbol of the answer.

    Each symbol has an input channel, and so has the empty token. An answer ends with
    the last symbol that the benchmark's accuracy counts. A subclass says how one string
    is drawn and what its answer is; both are written in JAX, for one string.

    Attributes:
      symbols: a character for each symbol of a string.
      answers: a character for each symbol of an answer.
    """

    symbols: ClassVar[str]
    answers: ClassVar[str]

    @abc.abstractmethod
    def string(self, key: Array, length: Array, limit: int) -> Array:
        """A random string.

        Args:
          key: of `jax.random.key`.
          length: int32 scalar from 1 to `limit`.
          limit: L, a Python integer.

        Returns:
          int32 `[L]`, indices in `symbols`; any of them from `length` on.
        """

    @abc.abstractmethod
    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """The answer to a string.

        Args:
          string: int32 `[L]`, as `string` returns it.
          length: int32 scalar.

        Returns:
          int32 `[most_answers(L)]`, indices in `answers`, and how many of them count.
        """

    def most_answers(self, limit: int) -> int:
        """The symbols of the longest answer to strings of that length; by default 1."""
        del limit
        return 1

    def string_length(self, length: Array) -> Array:
        """The length of the strings for a difficulty; by default the same."""
        return length

    @property
    def inputs(self) -> Vectors:
        """A channel for each symbol, and the last for the empty token."""
        return Vectors(len(self.symbols) + 1)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The symbols and the empty token."""
        return (*self.symbols, "empty")

    @property
    def targets(self) -> Categories:
        """The symbols of an answer."""
        return Categories(len(self.answers))

    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """A batch as long as the longest string and the longest answer."""
        length = ranges["length"]
        length_key, strings_key = jax.random.split(key)
        lengths = self.string_length(length.draw(length_key, (batch_size,)))
        keys = jax.random.split(strings_key, batch_size)
        draw = functools.partial(self.string, limit=length.limit)
        strings = jax.vmap(draw)(keys, lengths)
        answers, counts = jax.vmap(self.answer)(strings, lengths)

        num_steps = length.limit + self.most_answers(length.limit)
        step = jnp.arange(num_steps, dtype=jnp.int32)[:, None]
        answered = step - lengths[None]
        mask = (answered >= 0) & (answered < counts[None])
        empty_or_none = jnp.where(mask, len(self.symbols), -1)
        symbols = jnp.where(answered < 0, _at(strings, step), empty_or_none)
        return Batch(
            inputs=jax.nn.one_hot(symbols, self.inputs.size, dtype=jnp.float32),
            targets=jnp.where(mask, _at(answers, answered), 0),
            mask=mask,
        )

    def in_words(self, batch: Batch) -> list[str]:
        """Each sequence of a batch in characters: its inputs and its answer."""
        inputs, targets, mask = map(
            np.asarray, (batch.inputs, batch.targets, batch.mask)
        )
        characters = np.array([*self.symbols, _EMPTY])
        answers = np.array([*self.answers])
        return [
            "".join(characters[each[each.any(axis=-1)].argmax(axis=-1)])
            + " -> "
            + "".join(answers[targets[mask[:, i], i]])
            for i, each in enumerate(inputs.swapaxes(0, 1))
        ]


def one(symbol: Array) -> tuple[Array, Array]:
    """An answer of a single symbol."""
    return symbol.astype(jnp.int32)[None], jnp.int32(1)


def within(string: Array, length: Array) -> Array:
    """Whether each place of a string is one of its symbols, bool `[L]`."""
    return jnp.arange(len(string), dtype=jnp.int32) < length


def shown(string: Array, length: Array) -> Array:
    """A string with zeros from its end on, `[L]`."""
    return jnp.where(within(string, length), string, 0)


def uniform(key: Array, shape: tuple[int, ...], below: int | Array) -> Array:
    """Integers from 0 to `below` - 1; of one dtype, so that they depend on no flag."""
    return jax.random.randint(key, shape, 0, below, jnp.int32)


def _at(rows: Array, places: Array) -> Array:
    """`rows[b, places[t, b]]`, `[T, B]`; any value for a place that is not there."""
    places = jnp.clip(places, 0, rows.shape[1] - 1)
    places = jnp.broadcast_to(places, (len(places), len(rows)))
    return jnp.take_along_axis(rows.T, places, axis=0)
