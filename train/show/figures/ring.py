"""The part of a memory to show: the slots that are used lie together on its ring."""

from typing import NamedTuple

import numpy as np
from matplotlib.axis import Axis


class Stretch(NamedTuple):
    """Neighbouring slots of a ring, on which the first comes after the last.

    Attributes:
      first: the lowest; below zero where the stretch goes over the end of the ring.
      length: how many slots it has.
      slots: how many the ring has.
    """

    first: int
    length: int
    slots: int

    def part(self, values: np.ndarray) -> np.ndarray:
        """Of `[..., slots]`, what belongs to the stretch: `[..., length]`."""
        slots = np.arange(self.first, self.first + self.length)
        return np.take(values, slots, axis=-1, mode="wrap")

    def place(self, slot: np.ndarray) -> np.ndarray:
        """Where a slot is drawn."""
        return (slot - self.first) % self.slots + self.first

    def number(self, axis: Axis) -> None:
        """Has an axis call the places by their slots."""
        axis.set_major_formatter(lambda place, _: f"{round(place) % self.slots}")


def visited(*weights: np.ndarray) -> Stretch:
    """The shortest stretch with the most weighted slots of all steps, and one around.

    It is all of the ring, unless that leaves a quarter of it out.

    Args:
      *weights: `[..., N]`, of steps and of heads.
    """
    slots = weights[0].shape[-1]
    most = np.unique(np.concatenate([each.argmax(-1).ravel() for each in weights]))
    gaps = np.diff(most, append=most[0] + slots)
    widest = int(gaps.argmax())
    length = slots - int(gaps[widest]) + 3
    if length > 0.75 * slots:
        return Stretch(0, slots, slots)
    first = int(most[(widest + 1) % len(most)]) - 1
    return Stretch(first - slots * (first + length > slots), length, slots)
