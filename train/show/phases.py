"""The phases of a sequence: what goes in, what stands between, what is to come out."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NAMES = ("input", "delimiter", "answer")


class Phase(NamedTuple):
    """The steps from `first` up to, but without, `end`; `name` is one of `NAMES`."""

    name: str
    first: int
    end: int


def phases(
    inputs: np.ndarray, mask: np.ndarray, input_names: Sequence[str]
) -> list[Phase]:
    """The phases of one sequence, in order; together they are all its steps.

    A step is of the answer where one is due, of a delimiter where a channel with that
    word in its name is on, else of the input.

    Args:
      inputs: `[T, I]`.
      mask: bool `[T]`, where an answer is due.
      input_names: of the channels, I.
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
