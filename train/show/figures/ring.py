"""The part of a memory to show: the slots in use lie together on its ring."""

from typing import NamedTuple

import numpy as np
from matplotlib.axis import Axis


class Stretch(NamedTuple):
    """Neighbouring slots of a ring, on which slot 0 follows the last slot.

    Attributes:
      first: the lowest slot; negative if the stretch crosses the end of the ring.
      length: number of slots in the stretch.
      slots: number of slots in the ring.
    """

    first: int
    length: int
    slots: int

    def part(self, values: np.ndarray) -> np.ndarray:
        """The entries `[..., length]` of `[..., slots]` that belong to the stretch."""
        slots = np.arange(self.first, self.first + self.length)
        return np.take(values, slots, axis=-1, mode="wrap")

    def place(self, slot: np.ndarray) -> np.ndarray:
        """The coordinate at which a slot is drawn."""
        return (slot - self.first) % self.slots + self.first

    def number(self, axis: Axis) -> None:
        """Labels the coordinates of an axis with their slots."""
        axis.set_major_formatter(lambda place, _: f"{round(place) % self.slots}")


def visited(*weights: np.ndarray) -> Stretch:
    """The shortest stretch with the most weighted slot of every step, and one around.

    If it covers more than three quarters of the ring, it is the whole ring.

    Args:
      *weights: `[..., N]`, over steps and heads.
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
