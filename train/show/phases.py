"""The phases of a sequence: input, delimiter and answer."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NAMES = ("input", "delimiter", "answer")


class Phase(NamedTuple):
    """The steps from `first` to `end - 1`; `name` is one of `NAMES`."""

    name: str
    first: int
    end: int


def phases(
    inputs: np.ndarray, mask: np.ndarray, input_names: Sequence[str]
) -> list[Phase]:
    """The phases of one sequence, in order; together they cover all steps.

    A step belongs to the answer if one is due, to a delimiter if a channel with that
    word in its name is on, and to the input otherwise.

    Args:
      inputs: `[T, I]`.
      mask: bool `[T]`, where an answer is due.
      input_names: the names of the I channels.
    """
    delimiters = [i for i, name in enumerate(input_names) if "delimiter" in name]
    kinds = np.where(
        mask,
        "answer",
        np.where(inputs[:, delimiters].any(axis=1), "delimiter", "input"),
    )
    changes = np.flatnonzero(kinds[1:] != kinds[:-1]) + 1
    bounds = [0, *changes.tolist(), len(kinds)]
    return [
        Phase(str(kinds[first]), first, end)
        for first, end in itertools.pairwise(bounds)
    ]
