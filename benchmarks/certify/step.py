"""One step of a machine, from all states of a kind at once: bounds of what follows.

Exact numbers are bounded by intervals, and the rounding of float32 is added to them.
"""

from typing import NamedTuple

import numpy as np

from benchmarks.certify import intervals, rounding
from benchmarks.certify.certificate import OFFSETS, REACH, Weighting
from benchmarks.certify.intervals import Array, Interval
from benchmarks.certify.machine import Machine

SHIFTS = (-1, 0, 1)
# Added to each weight in the logarithm of eq. 9, and a little more.
_SMALLEST_WEIGHT = 1.1e-30


class UnprovenError(ValueError):
    """The machine may well be right, but this does not show it."""


class Vectors(NamedTuple):
    """A set of vectors: centre + Σ_k λ(k) spread(k) + rest.

    The λ(k) are not negative and sum to at most 1; `rest` is at most `radius` in each
    entry.

    Attributes:
      centre: `[M]`.
      spread: `[n, M]`.
      radius: `[M]`.
    """

    centre: Array
    spread: Array
    radius: Array

    @property
    def largest(self) -> Array:
        """The largest absolute value of each entry."""
        spread = np.max(np.abs(self.spread), axis=0, initial=0)
        return (np.abs(self.centre) + spread + self.radius) * rounding.SAFE


def image(vectors: Vectors, matrix: Array) -> Interval:
    """Bounds of the vectors times a matrix `[M, q]`."""
    centre = Interval.of(vectors.centre) @ matrix
    return centre + deviations(
        Interval.of(vectors.spread) @ matrix,
        Interval.of(vectors.radius) @ np.abs(matrix),
    )


def deviations(corners: Interval, radius: Interval) -> Interval:
    """Bounds of Σ_k λ(k) corners(k) + rest, for corners `[n, q]` and a radius `[q]`."""
    low = np.min(corners.lo, axis=0, initial=0)
    high = np.max(corners.hi, axis=0, initial=0)
    return Interval(low, high) + Interval(-radius.hi, radius.hi)


def emitted(machine: Machine, x: Array, reads: Vectors) -> Interval:
    """Bounds of all that is affine in the controller's output, for one input.

    f(r) = tanh(r K + c) V + d is bounded around the centre r0 by its derivative: by the
    mean value theorem f(r) - f(r0) = Σ_j s(j) ((r - r0) K)(j) V(j), where s(j) is a
    slope of tanh. So what r does to f along one direction is added up before its size
    is taken.
    """
    inputs = len(x)
    for_x, for_read = machine.inner[:inputs], machine.inner[inputs:]
    bias = Interval.of(x) @ for_x + machine.inner_bias
    middle = Interval.of(reads.centre) @ for_read + bias
    corners = Interval.of(reads.spread) @ for_read
    sides = Interval.of(reads.radius[:, None] * for_read)
    moved = deviations(corners, Interval.of(np.abs(sides.lo).sum(0) * rounding.SAFE))
    slope = intervals.tanh_slope(middle + moved)
    typical = slope.lo / 2 + slope.hi / 2
    unsure = np.maximum(slope.hi - typical, typical - slope.lo) * moved.largest
    value = intervals.tanh(middle) @ machine.outer + machine.outer_bias
    along = deviations(
        (corners * typical) @ machine.outer,
        Interval.of(((sides * typical) @ machine.outer).largest.sum(0) * rounding.SAFE),
    )
    # The rounding of the controller, then that of the heads.
    sizes = np.abs(x) @ np.abs(for_x) + reads.largest @ np.abs(for_read)
    sizes = sizes + np.abs(machine.inner_bias)
    wrong = rounding.of_sum(len(machine.inner) + 2) * sizes + rounding.FUNCTION
    outer_sizes = np.abs(machine.outer).sum(0) + np.abs(machine.outer_bias)
    outer_terms = len(machine.outer) + machine.slot_size + 2
    radius = (unsure + wrong) @ np.abs(machine.outer)
    radius = radius + 2 * rounding.of_sum(outer_terms) * outer_sizes
    radius = radius * rounding.SAFE
    return value + along + Interval(-radius, radius)


def weighting(
    head: Interval, move: int, previous: Weighting, slots: tuple[int, int]
) -> Weighting:
    """Bounds of a head's weighting after a step (eqs. 5 to 9).

    Args:
      head: `[M + 6]`, what the head emits: k, β, g, s and γ.
      move: by how many slots its place changes.
      previous: the weighting before.
      slots: the least number of slots and the largest.

    Raises:
      UnprovenError: if a slot elsewhere may have as much weight as the place.
    """
    strength, gate, shift, gamma = head[-6], head[-5], head[-4:-1], head[-1]
    g = _few(intervals.sigmoid(gate))
    stays = _few(Interval.of(1.0) - g)
    s = _few(intervals.softmax(shift))
    power = float(1 + intervals.softplus(gamma).lo * (1 - rounding.FEW))
    most = 1 + intervals.softplus(gamma).hi * (1 + rounding.FEW)
    # No cosine is above 1 or below -1, and the smallest sum of N terms is N e^-β.
    beta = intervals.softplus(strength).hi * (1 + rounding.FEW)
    content = np.exp(2 * beta) / slots[0] * (1 + rounding.FEW)
    content = min(1.0, float(content * (1 + 2 * rounding.of_sum(slots[1]))))

    here = 1 - previous.elsewhere - rounding.of_sum(slots[1])
    if here <= 0:
        raise UnprovenError(f"a weighting may be {previous.elsewhere:.3g} elsewhere")
    peak = stays * here * s[move + 1]
    factor = rounding.of_sharpening(float(most), slots[1])

    def after(gated: Interval) -> float:
        """(x / peak)^γ, at most. A sum of computed weights is not quite 1."""
        largest = gated * (1 + 2 * rounding.of_sum(slots[1])) + _SMALLEST_WEIGHT
        ratio = (largest / Interval.of(peak.lo)).hi
        if not ratio < 1:
            raise UnprovenError(
                f"a weight may be {ratio:.3g} of that at the head's place"
            )
        return _to_the(float(ratio), power) * factor

    def shifted(offset: int) -> Interval:
        """The weight that eq. 8 brings to an offset from the new place."""
        parts = [s[j + 1] * previous.at(offset + move - j) for j in SHIFTS]
        return sum(parts[1:], start=parts[0])

    edge = [side * (REACH + i) for side in (-1, 1) for i in (1, 2)]
    spilled = sum((shifted(o) for o in edge), start=Interval.of(0.0))
    farthest = max(*(float(shifted(o).hi) for o in edge), 1.1 * previous.far)
    gated = g * content
    # Minkowski: the norm of order γ of a sum is at most the sum of the norms. That of
    # the content weighting is at most its largest entry^(1 - 1 / γ).
    norm = g * _to_the(content, 1 - 1 / power) + stays * (
        spilled + previous.mass * (1 + rounding.FEW)
    )
    return Weighting(
        near=np.array([after(gated + stays * shifted(o)) for o in OFFSETS]),
        far=after(gated + stays * farthest),
        mass=after(norm + slots[1] * _SMALLEST_WEIGHT),
    )


def _few(x: Interval) -> Interval:
    """What float32 may have instead of x, after a few operations."""
    return x * Interval(np.array(1 - rounding.FEW), np.array(1 + rounding.FEW))


def _to_the(base: float, exponent: float) -> float:
    """base^exponent, or a little more, for a base from 0 to 1."""
    if base <= 0:
        return 0.0
    logarithm = intervals.log(Interval.of(base)) * Interval.of(exponent)
    return float(intervals.exp(logarithm).hi)
