"""Expressions with brackets, modulo 5: how they are drawn, and their values.

An expression is a number d, -d, (d), (-d), or two expressions with an operator between
them and brackets around them. Only the length tells which.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .protocol import uniform, within

MODULUS = 5
# The symbols of every expression, by their indices; the numbers come first.
SYMBOLS = "01234+-()*"
_PLUS, _MINUS, _OPEN, _CLOSE, _TIMES = map(SYMBOLS.index, "+-()*")


def draw(key: Array, length: Array, limit: int, operators: str) -> Array:
    """A random expression of that length.

    Brackets around two expressions and the operator take three symbols. All ways to
    share the others are alike, and so are the operators and the numbers.

    Args:
      key: of `jax.random.key`.
      length: int32 scalar, at least 1.
      limit: L, a Python integer.
      operators: those between two expressions.

    Returns:
      int32 `[L]`, indices in `SYMBOLS`; zeros from `length` on.
    """
    numbers_key, operators_key, shares_key = jax.random.split(key, 3)
    numbers = uniform(numbers_key, (limit,), MODULUS)
    chosen = uniform(operators_key, (limit,), len(operators))
    chosen = jnp.array(list(map(SYMBOLS.index, operators)), jnp.int32)[chosen]
    shares = jax.random.split(shares_key, limit)

    def begin(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        """Writes what is known of an expression that begins at i, if one does."""
        string, widths = state  # the symbols; the expression that begins at each place
        width = widths[i]
        is_pair = width >= 5
        share = 1 + uniform(shares[i], (), jnp.maximum(width - 4, 1))
        left = jnp.where(is_pair, share, jnp.where(width == 2, 1, width - 2))
        first = jnp.where(width == 1, numbers[i], jnp.where(width == 2, _MINUS, _OPEN))

        def put(at: Array, value: Array | int, into: Array, when: Array) -> Array:
            return into.at[jnp.where(when, at, limit)].set(value, mode="drop")

        string = put(i, first, string, width >= 1)
        string = put(i + width - 1, _CLOSE, string, width >= 3)
        string = put(i + 1 + left, chosen[i], string, is_pair)
        widths = put(i + 1, left, widths, width >= 2)
        widths = put(i + 2 + left, width - 3 - left, widths, is_pair)
        return string, widths

    nothing = jnp.zeros(limit, jnp.int32)
    state = nothing, nothing.at[0].set(length)
    return jax.lax.fori_loop(0, limit, begin, state)[0]


class _Reading(NamedTuple):
    """How far the value of an expression is known.

    Attributes:
      values: int32 `[L + 1]`, of what was read within the brackets of each depth.
      operators: int32 `[L + 1]`, what the next operand of each depth is for, or `_NONE`
        after an operand.
      depth: of the brackets that are open.
      sign: of the next number, 1 or -1.
    """

    values: Array
    operators: Array
    depth: Array
    sign: Array


_NONE = -1


def value(string: Array, length: Array) -> Array:
    """The value of an expression, int32 from 0 to 4.

    Args:
      string: int32 `[L]`, as `draw` returns it.
      length: int32 scalar.
    """
    others = jnp.where(string == _OPEN, 1, jnp.where(string == _CLOSE, 2, 3))
    kinds = jnp.where(string < MODULUS, 0, others)
    kinds = jnp.where(within(string, length), kinds, 4)
    readers = _number, _open, _close, _operator, _nothing

    def step(state: _Reading, read: tuple[Array, Array]) -> tuple[_Reading, None]:
        symbol, kind = read
        return jax.lax.switch(kind, readers, state, symbol), None

    zeros = jnp.zeros(len(string) + 1, jnp.int32)
    start = _Reading(zeros, zeros.at[0].set(_PLUS), jnp.int32(0), jnp.int32(1))
    end, _ = jax.lax.scan(step, start, (string, kinds))
    return end.values[0]


def _number(state: _Reading, symbol: Array) -> _Reading:
    return _operand(state, state.sign * symbol)


def _open(state: _Reading, symbol: Array) -> _Reading:
    """What is in the brackets is added to nothing."""
    del symbol
    depth = state.depth + 1
    values = state.values.at[depth].set(0)
    operators = state.operators.at[depth].set(_PLUS)
    return _Reading(values, operators, depth, state.sign)


def _close(state: _Reading, symbol: Array) -> _Reading:
    """What was in the brackets is an operand."""
    del symbol
    outside = state._replace(depth=state.depth - 1)
    return _operand(outside, state.values[state.depth])


def _operator(state: _Reading, symbol: Array) -> _Reading:
    """Where an operand is due, a minus is the sign of a number."""
    before = state.operators[state.depth]
    is_sign = before != _NONE
    operators = state.operators.at[state.depth].set(jnp.where(is_sign, before, symbol))
    sign = jnp.where(is_sign, -state.sign, state.sign)
    return state._replace(operators=operators, sign=sign)


def _nothing(state: _Reading, symbol: Array) -> _Reading:
    del symbol
    return state


def _operand(state: _Reading, operand: Array) -> _Reading:
    """The value so far and an operand, with the operator between them, modulo 5."""
    at, operator = state.depth, state.operators[state.depth]
    left = state.values[at]
    found = jnp.where(operator == _TIMES, left * operand, left + operand)
    found = jnp.where(operator == _MINUS, left - operand, found) % MODULUS
    values = state.values.at[at].set(found)
    operators = state.operators.at[at].set(_NONE)
    return _Reading(values, operators, at, jnp.int32(1))
