"""The tasks on regular languages, which a finite number of states solves."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from .protocol import ChomskyTask, one, shown, uniform, within

_MODULUS = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parity(ChomskyTask):
    """Whether the number of ones is odd."""

    symbols: ClassVar[str] = "01"
    answers: ClassVar[str] = "01"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """Fair bits."""
        return uniform(key, (limit,), 2)

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """1 for an odd number."""
        return one(jnp.sum(shown(string, length), dtype=jnp.int32) % 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvenPairs(ChomskyTask):
    """Whether the number of pairs 01 and 10 is odd; so, whether the two ends differ."""

    symbols: ClassVar[str] = "01"
    answers: ClassVar[str] = "01"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """Fair bits."""
        return uniform(key, (limit,), 2)

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """1 for an odd number of unequal neighbours."""
        unequal = string[:-1] != string[1:]
        return one(jnp.sum(unequal & within(string, length)[1:], dtype=jnp.int32) % 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CycleNavigation(ChomskyTask):
    """The place on a ring of five after steps back, none or forth."""

    symbols: ClassVar[str] = "-.+"
    answers: ClassVar[str] = "01234"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """Each of the three alike."""
        return uniform(key, (limit,), 3)

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """The sum of all steps."""
        return one(jnp.sum(shown(string - 1, length), dtype=jnp.int32) % _MODULUS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModularArithmeticSimple(ChomskyTask):
    """The value, modulo 5, of numbers with plus, minus and times between them.

    A string has an odd length: that of the difficulty, or one less.
    """

    symbols: ClassVar[str] = "01234+-*"
    answers: ClassVar[str] = "01234"

    def string_length(self, length: Array) -> Array:
        """The largest odd number."""
        return length - 1 + length % 2

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """Numbers at even places, and operators at odd ones."""
        numbers, operators = jax.random.split(key)
        return jnp.where(
            jnp.arange(limit, dtype=jnp.int32) % 2 == 0,
            uniform(numbers, (limit,), _MODULUS),
            _MODULUS + uniform(operators, (limit,), 3),
        )

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """The sum of products; a product comes before a sum."""
        plus, minus, times = map(self.symbols.index, "+-*")

        def step(state: tuple[Array, ...], read: tuple[Array, Array]):
            before, product, operator = state  # the sum before the product, and that
            symbol, is_shown = read
            signed = jnp.where(operator == minus, -symbol, symbol)
            is_factor = operator == times
            after = (
                jnp.where(is_factor, before, before + product) % _MODULUS,
                jnp.where(is_factor, product * symbol, signed) % _MODULUS,
                operator,
            )
            unread = before, product, symbol
            is_number = symbol < _MODULUS
            kept = tuple(jnp.where(is_number, a, b) for a, b in zip(after, unread))
            return tuple(jnp.where(is_shown, a, b) for a, b in zip(kept, state)), None

        start = jnp.int32(0), jnp.int32(0), jnp.int32(plus)
        (before, product, _), _ = jax.lax.scan(
            step, start, (string, within(string, length))
        )
        return one((before + product) % _MODULUS)
