"""Interval arithmetic in float64: the exact result lies between `lo` and `hi`.

Sums, products and quotients are rounded outward by one float. Functions of the system's
libm are taken to be within 8 ulps of the exact value, and are widened by as much. Sums
of many terms are widened by the bound that holds in every order of the terms (Higham
2002, *Accuracy and Stability of Numerical Algorithms*, section 3.1).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Self

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
_UNIT = 2.0**-53
# Of a function of libm: 8 ulps, each at most 2^-52 of the value.
_LIBM = 2.0**-49
# Absolute, for results that underflow.
_TINY = 1e-300


def up(x: Any) -> Array:
    """The next float above."""
    return np.nextafter(x, np.inf)


def down(x: Any) -> Array:
    """The next float below."""
    return np.nextafter(x, -np.inf)


@dataclasses.dataclass(frozen=True)
class Interval:
    """Arrays of numbers, each known to lie from `lo` to `hi`."""

    lo: Array
    hi: Array

    def __post_init__(self) -> None:
        if not np.all(self.lo <= self.hi):  # also if one is NaN
            raise ValueError(f"lo, hi: got {self.lo} and {self.hi}, want lo <= hi")

    @classmethod
    def of(cls, value: Any) -> Self:
        """Numbers that are known exactly."""
        value = np.asarray(value, np.float64)
        return cls(value, value)

    @classmethod
    def around(cls, centre: Any, radius: Any) -> Self:
        """All numbers within a radius of a centre."""
        return cls(down(centre - radius), up(centre + radius))

    @property
    def largest(self) -> Array:
        """The largest absolute values."""
        return np.maximum(np.abs(self.lo), np.abs(self.hi))

    def __getitem__(self, index: Any) -> "Interval":
        return Interval(self.lo[index], self.hi[index])

    def __neg__(self) -> "Interval":
        return Interval(-self.hi, -self.lo)

    def __add__(self, other: "Interval | float | Array") -> "Interval":
        other = _interval(other)
        return Interval(down(self.lo + other.lo), up(self.hi + other.hi))

    def __sub__(self, other: "Interval | float | Array") -> "Interval":
        return self + -_interval(other)

    def __rsub__(self, other: "float | Array") -> "Interval":
        return _interval(other) - self

    def __mul__(self, other: "Interval | float | Array") -> "Interval":
        other = _interval(other)
        corners = [x * y for x in (self.lo, self.hi) for y in (other.lo, other.hi)]
        return Interval(down(np.min(corners, 0)), up(np.max(corners, 0)))

    def __truediv__(self, other: "Interval | float | Array") -> "Interval":
        """The quotient by positive numbers."""
        other = _interval(other)
        if not np.all(other.lo > 0):
            raise ValueError(f"divisor: got {other.lo}, want more than 0")
        corners = [x / y for x in (self.lo, self.hi) for y in (other.lo, other.hi)]
        return Interval(down(np.min(corners, 0)), up(np.max(corners, 0)))

    def __matmul__(self, matrix: Array) -> "Interval":
        """The product with a matrix that is known exactly."""
        centre = self.lo / 2 + self.hi / 2
        radius = up(np.maximum(self.hi - centre, centre - self.lo))
        terms = len(matrix) + 4
        spread = radius @ np.abs(matrix)
        size = (np.abs(centre) + radius) @ np.abs(matrix)
        # Each of the sums below is itself wrong by no more than this.
        slack = 4 * terms * _UNIT * size + _TINY
        return Interval.around(centre @ matrix, up(spread + slack))

    __radd__ = __add__
    __rmul__ = __mul__


def _interval(value: "Interval | float | Array") -> Interval:
    return value if isinstance(value, Interval) else Interval.of(value)


def hull(*parts: Interval) -> Interval:
    """What lies in any of the parts, or between them."""
    lows, highs = zip(*((part.lo, part.hi) for part in parts))
    return Interval(np.min(np.stack(lows), 0), np.max(np.stack(highs), 0))


def _rising(function: Callable[[Array], Array]) -> Callable[[Interval], Interval]:
    """A function that never falls, from that of float64."""

    def bounds(x: Interval) -> Interval:
        low, high = function(x.lo), function(x.hi)
        return Interval(
            down(low - _LIBM * np.abs(low) - _TINY),
            up(high + _LIBM * np.abs(high) + _TINY),
        )

    # Not NumPy's own, whose examples are about NumPy.
    bounds.__doc__ = f"Bounds of `np.{function.__name__}` on an interval."
    return bounds


exp = _rising(np.exp)
log = _rising(np.log)
tanh = _rising(np.tanh)


def sigmoid(x: Interval) -> Interval:
    """1 / (1 + exp(-x))."""
    one = Interval.of(1.0)
    return one / (exp(-x) + one)


def softplus(x: Interval) -> Interval:
    """log(1 + exp(x))."""
    return log(exp(x) + Interval.of(1.0))


def softmax(x: Interval) -> Interval:
    """exp(x(i)) / Σ_j exp(x(j)), over the last axis: 1 / Σ_j exp(x(j) - x(i))."""
    parts = []
    for i in range(x.lo.shape[-1]):
        others = [exp(x[..., j] - x[..., i]) for j in range(x.lo.shape[-1]) if j != i]
        parts.append(Interval.of(1.0) / sum(others, start=Interval.of(1.0)))
    return Interval(
        np.stack([part.lo for part in parts], -1),
        np.stack([part.hi for part in parts], -1),
    )


def tanh_slope(x: Interval) -> Interval:
    """The derivative of tanh, 1 - tanh(x)^2: largest at 0, falling on both sides."""
    nearest = np.where(x.lo > 0, x.lo, np.where(x.hi < 0, x.hi, 0))
    farthest = np.where(np.abs(x.lo) > np.abs(x.hi), x.lo, x.hi)
    near, far = tanh(Interval.of(nearest)), tanh(Interval.of(farthest))
    ones = Interval.of(1.0)
    return Interval((ones - far * far).lo, (ones - near * near).hi)
