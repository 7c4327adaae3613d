"""The tasks on context-sensitive languages, for which a stack is not enough."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from . import binary
from .protocol import ChomskyTask, one, uniform, within


@dataclasses.dataclass(frozen=True, kw_only=True)
class DuplicateString(ChomskyTask):
    """The string, twice."""

    symbols: ClassVar[str] = "01"
    answers: ClassVar[str] = "01"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """Fair bits."""
        return uniform(key, (limit,), 2)

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """From its start, and again."""
        place = jnp.arange(2 * len(string), dtype=jnp.int32)
        return string[place % length], 2 * length

    def most_answers(self, limit: int) -> int:
        """Twice the string."""
        return 2 * limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class MissingDuplicate(ChomskyTask):
    """The symbol that is missing in a string that comes twice.

    `?` stands for the symbol. A string of odd length ends with `.`, and one of a single
    symbol is 1, with the answer 1.
    """

    symbols: ClassVar[str] = "01?."
    answers: ClassVar[str] = "01"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """Fair bits, twice, of which a random one is missing."""
        bits_key, missing_key = jax.random.split(key)
        half, place = length // 2, jnp.arange(limit, dtype=jnp.int32)
        bits = uniform(bits_key, (limit,), 2)[place % jnp.maximum(half, 1)]
        missing = uniform(missing_key, (), jnp.maximum(2 * half, 1))
        string = jnp.where(place == missing, self.symbols.index("?"), bits)
        string = jnp.where(place < 2 * half, string, self.symbols.index("."))
        return jnp.where(length == 1, 1, string)

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """The symbol at the same place of the other string."""
        half = length // 2
        missing = jax.lax.argmax(string == self.symbols.index("?"), 0, jnp.int32)
        other = jnp.where(missing < half, missing + half, missing - half)
        return one(jnp.where(length == 1, 1, string[other]))


@dataclasses.dataclass(frozen=True, kw_only=True)
class OddsFirst(ChomskyTask):
    """Every second symbol, and then the others.

    As in the benchmark's code, the second, fourth, … symbols come first.
    """

    symbols: ClassVar[str] = "01"
    answers: ClassVar[str] = "01"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """Fair bits."""
        return uniform(key, (limit,), 2)

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """The places 1, 3 and so on, counted from 0, and then 0, 2 and so on."""
        i, half = jnp.arange(len(string), dtype=jnp.int32), length // 2
        place = jnp.where(i < half, 2 * i + 1, 2 * (i - half))
        return string[place % len(string)], length

    def most_answers(self, limit: int) -> int:
        """As long as the string."""
        return limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class BucketSort(ChomskyTask):
    """The symbols in order."""

    symbols: ClassVar[str] = "01234"
    answers: ClassVar[str] = "01234"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """Each of the five alike."""
        return uniform(key, (limit,), len(self.symbols))

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """Sorted; what is not shown would come last."""
        last = jnp.where(within(string, length), string, len(self.symbols))
        return jnp.sort(last), length

    def most_answers(self, limit: int) -> int:
        """As long as the string."""
        return limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class _TwoNumbers(ChomskyTask):
    """Two binary numbers, the lowest bit first, with an operator between them.

    The first of them has any length that leaves the second a bit, and can have zeros at
    its end, as the second can; neither is 0. A string of less than three symbols is one
    number, which is not the largest of its length.
    """

    answers: ClassVar[str] = "01$"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """Two random numbers, or one."""
        size_key, *keys = jax.random.split(key, 4)
        first = 1 + uniform(size_key, (), jnp.maximum(length - 2, 1))
        a = binary.positive(keys[0], first, limit)
        b = binary.positive(keys[1], jnp.maximum(length - 1 - first, 1), limit)
        place = jnp.arange(limit, dtype=jnp.int32)
        two = jnp.where(place < first, a, b[jnp.maximum(place - first - 1, 0)])
        two = jnp.where(place == first, 2, two)
        number = uniform(keys[2], (), 2 ** jnp.minimum(length, 2) - 1)
        return jnp.where(length < 3, (number >> jnp.minimum(place, 2)) & 1, two)

    def numbers(self, string: Array, length: Array) -> tuple[Array, Array, Array]:
        """Both, as bits `[L]`, and whether there are two; if not, the second is 0."""
        place = jnp.arange(len(string), dtype=jnp.int32)
        is_operator = (string == 2) & (place < length)
        is_two = jnp.any(is_operator)
        first = jnp.where(is_two, jax.lax.argmax(is_operator, 0, jnp.int32), length)
        a = jnp.where(place < first, string, 0)
        after = place + first + 1
        b = jnp.where(after < length, string[jnp.minimum(after, len(string) - 1)], 0)
        return a, b, is_two

    def with_end(self, number: Array, count: Array) -> tuple[Array, Array]:
        """An answer: so many bits of a number, and the termination symbol."""
        place = jnp.arange(len(number), dtype=jnp.int32)
        end = self.answers.index("$")
        return jnp.where(place < count, number, end), count + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class BinaryAddition(_TwoNumbers):
    """The sum of two binary numbers, without zeros at its end, and then `$`."""

    symbols: ClassVar[str] = "01+"

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """The lowest bit first; 0 has one bit."""
        a, b, _ = self.numbers(string, length)
        total = binary.carried(jnp.pad(a + b, (0, 1)))
        return self.with_end(total, jnp.maximum(binary.num_bits(total), 1))

    def most_answers(self, limit: int) -> int:
        """For one number of two bits, all and the termination symbol."""
        return limit + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class BinaryMultiplication(_TwoNumbers):
    """The product of two binary numbers, without zeros at its end, and then `$`.

    The answer to a single number is `$`, or `0$` if it has two bits.
    """

    symbols: ClassVar[str] = "01*"

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """The lowest bit first."""
        a, b, is_two = self.numbers(string, length)
        number = binary.product(a, b)[: len(string)]
        count = jnp.where(is_two, binary.num_bits(number), length - 1)
        return self.with_end(number, count)

    def most_answers(self, limit: int) -> int:
        """The bits of both numbers, and the termination symbol."""
        return limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputeSqrt(ChomskyTask):
    """The square root of a binary number, rounded down; the highest bit is first.

    The root has half as many bits as the number, rounded up, and can begin with zeros.
    """

    symbols: ClassVar[str] = "01"
    answers: ClassVar[str] = "01"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """A number that is not 0."""
        return binary.positive(key, length, limit)

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """A bit for each pair of bits; a number of odd length begins with a 0."""
        pair = jnp.arange(self.most_answers(len(string)), dtype=jnp.int32)[:, None]
        place = 2 * pair + jnp.arange(2, dtype=jnp.int32)[None] - length % 2
        is_there = (place >= 0) & (place < length)
        bits = string[jnp.clip(place, 0, len(string) - 1)]
        return binary.root(jnp.where(is_there, bits, 0)), (length + 1) // 2

    def most_answers(self, limit: int) -> int:
        """Half as long as the string."""
        return (limit + 1) // 2
