"""The file of a certificate: an invariant, as numbers.

It states of every step what the weightings of both heads are afterwards, and what the
slots hold. The numbers depend on how many slots the memory has, so there are several
invariants, each for a range.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from train.runs.files import write_whole

Array = np.ndarray[Any, np.dtype[np.float64]]
# Slots on each side of a head of which a certificate says more than of those far away.
REACH = 2
OFFSETS = tuple(offset for offset in range(-REACH, REACH + 1) if offset)


class Weighting(NamedTuple):
    """A weighting that is nearly all on one slot, the head's place: bounds of the rest.

    Attributes:
      near: `[2 REACH]`, the weights of the slots at `OFFSETS` from the head's place.
      far: the weight of each other slot.
      mass: the sum of the weights of these.
    """

    near: Array
    far: float
    mass: float

    @property
    def elsewhere(self) -> float:
        """The sum of all weights but that at the head's place."""
        return float(np.sum(self.near) + self.mass)

    def at(self, offset: int) -> float:
        """The weight at an offset from the head's place."""
        if offset == 0:
            return 1.0
        return self.near[OFFSETS.index(offset)] if offset in OFFSETS else self.far


NOWHERE_ELSE = Weighting(np.zeros(2 * REACH), 0.0, 0.0)


class Contents(NamedTuple):
    """What slots hold that a stage has written: a box for each kind.

    A stage that keeps symbols has a kind for each, any other one for each of its cells.

    Attributes:
      centre: `[k, M]`.
      radius: `[k, M]`.
    """

    centre: Array
    radius: Array


class Invariant(NamedTuple):
    """What is true after every step, with so many slots.

    Attributes:
      slots: the least number of slots and the largest.
      read: the weighting of the read head after a step of each stage.
      write: that of the write head.
      contents: what slots hold that a stage has written, until the end.
    """

    slots: tuple[int, int]
    read: dict[str, Weighting]
    write: dict[str, Weighting]
    contents: dict[str, Contents]


class Certificate(NamedTuple):
    """Invariants of one machine.

    Attributes:
      machine: its name or file.
      weights: the hash of its weights.
      task: the name of its task, and of the plan.
      invariants: one for each range of the number of slots.
    """

    machine: str
    weights: str
    task: str
    invariants: tuple[Invariant, ...]


def save(path: Path, certificate: Certificate) -> None:
    """Writes a certificate."""
    write_whole(path, json.dumps(_plain(certificate)) + "\n")


def load(path: Path) -> Certificate:
    """The certificate in a file.

    Raises:
      ValueError: if the file is not a certificate.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        invariants = tuple(map(_invariant, fields.pop("invariants")))
        return Certificate(**fields, invariants=invariants)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a certificate: {error!r}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _invariant(fields: dict[str, Any]) -> Invariant:
    def weightings(by_stage: dict[str, Any]) -> dict[str, Weighting]:
        return {
            name: Weighting(np.array(each["near"], float), each["far"], each["mass"])
            for name, each in by_stage.items()
        }

    low, high = fields["slots"]
    return Invariant(
        slots=(low, high),
        read=weightings(fields["read"]),
        write=weightings(fields["write"]),
        contents={
            name: Contents(np.array(each["centre"]), np.array(each["radius"]))
            for name, each in fields["contents"].items()
        },
    )
