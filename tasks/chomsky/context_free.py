"""The tasks on deterministic context-free languages, which a stack solves.

The fourth of them is `tasks.ReverseString`.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from . import expressions
from .expressions import MODULUS
from .protocol import ChomskyTask, one, uniform, within


@dataclasses.dataclass(frozen=True, kw_only=True)
class StackManipulation(ChomskyTask):
    """A stack from bottom to top, then actions; the answer is the stack from the top.

    The actions are `p`, which pops, and `a` and `b`, which push 0 and 1. A pop of an
    empty stack does nothing. The answer ends with the termination symbol `$`.
    """

    symbols: ClassVar[str] = "01pab"
    answers: ClassVar[str] = "01$"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """The stack has a symbol at least, and of two or more one is an action."""
        height_key, stack_key, actions_key = jax.random.split(key, 3)
        height = 1 + uniform(height_key, (), jnp.maximum(length - 1, 1))
        return jnp.where(
            jnp.arange(limit, dtype=jnp.int32) < height,
            uniform(stack_key, (limit,), 2),
            2 + uniform(actions_key, (limit,), 3),
        )

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """The stack from top to bottom, and the termination symbol."""
        pop = self.symbols.index("p")

        def step(state: tuple[Array, Array], read: tuple[Array, Array]):
            stack, height = state
            symbol, is_shown = read
            pushed = jnp.where(symbol > pop, symbol - pop - 1, symbol)
            stack = stack.at[height].set(pushed)
            after = jnp.where(symbol == pop, jnp.maximum(height - 1, 0), height + 1)
            return (stack, jnp.where(is_shown, after, height)), None

        start = jnp.zeros(len(string) + 1, jnp.int32), jnp.int32(0)
        (stack, height), _ = jax.lax.scan(step, start, (string, within(string, length)))
        place = height - 1 - jnp.arange(len(string) + 1, dtype=jnp.int32)
        end = self.answers.index("$")
        return jnp.where(place >= 0, stack[place], end), height + 1

    def most_answers(self, limit: int) -> int:
        """All symbols on the stack, and the termination symbol."""
        return limit + 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModularArithmetic(ChomskyTask):
    """The value, modulo 5, of an expression with brackets."""

    symbols: ClassVar[str] = expressions.SYMBOLS
    answers: ClassVar[str] = "01234"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """An expression with plus, minus and times."""
        return expressions.draw(key, length, limit, "+-*")

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """Its value."""
        return one(expressions.value(string, length))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SolveEquation(ChomskyTask):
    """The number x in an expression of which the value is given, modulo 5.

    Without a product, there is one solution. A string of less than three symbols holds
    no equation; it has zeros, and the answer is 0.
    """

    symbols: ClassVar[str] = expressions.SYMBOLS.replace("*", "x=")
    answers: ClassVar[str] = "01234"

    def string(self, key: Array, length: Array, limit: int) -> Array:
        """An expression in which a number is x, the equals sign, and the value.

        The number is the first at a random place or after it, from the end on to the
        start.
        """
        expression_key, place_key = jax.random.split(key)
        size = jnp.maximum(length - 2, 1)
        expression = expressions.draw(expression_key, size, limit, "+-")
        place = jnp.arange(limit, dtype=jnp.int32)
        distance = (place - uniform(place_key, (), size)) % size
        is_number = (expression < MODULUS) & (place < size)
        unknown = jax.lax.argmin(jnp.where(is_number, distance, limit), 0, jnp.int32)
        string = jnp.where(place == unknown, self.symbols.index("x"), expression)
        string = jnp.where(place == size, self.symbols.index("="), string)
        given = expressions.value(expression, size)
        string = jnp.where(place == size + 1, given, string)
        return jnp.where(length < 3, 0, string)

    def answer(self, string: Array, length: Array) -> tuple[Array, Array]:
        """x; the value is a line in it, of slope 1 or -1, which is its own inverse."""
        size = jnp.maximum(length - 2, 1)
        is_unknown = string == self.symbols.index("x")
        at_0, at_1 = (
            expressions.value(jnp.where(is_unknown, x, string), size) for x in (0, 1)
        )
        x = (string[jnp.maximum(length - 1, 0)] - at_0) * (at_1 - at_0)
        return one(jnp.where(length < 3, 0, x % MODULUS))
