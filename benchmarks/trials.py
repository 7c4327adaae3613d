"""The trials of a record, and how their errors read in a table."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

import tasks
from benchmarks.records import Record

# The difficulties of a trial: a number, or the lowest and highest, for each.
Size = tuple[int | tuple[int, int], ...]


def trials(task: str, record: Record, what: str = "errors") -> dict[Size, list[float]]:
    """The errors of all machines at each size, or another value of the trials."""

    def size(trial: Record) -> Size:
        own = (trial[name] for name in tasks.get(task).difficulty)
        return tuple(tuple(n) if isinstance(n, list) else n for n in own)

    return {size(trial): trial[what] for trial in record["trials"]}


def all_sizes(tried: Iterable[dict[Size, Any]]) -> list[Size]:
    """The sizes of all records, the easiest first."""

    def by_highest(size: Size) -> tuple[Any, ...]:
        highest, lowest = ([pick(np.ravel(n)) for n in size] for pick in (max, min))
        return math.prod(highest), highest, lowest

    return sorted({size for of_one in tried for size in of_one}, key=by_highest)


def scores(task: str, record: Record) -> list[float]:
    """1 - the benchmark's score of each machine: its mean error beyond training.

    Every length has the same weight, so a range is weighted by its number of lengths.
    """
    trained = np.max(tasks.get(task).difficulty["length"])
    ranges = {
        size: errors
        for (size,), errors in trials(task, record).items()
        if isinstance(size, tuple) and size[0] > trained
    }
    if not ranges:
        return []
    weights = [highest - lowest + 1 for lowest, highest in ranges]
    return np.average([*ranges.values()], axis=0, weights=weights).tolist()


def optimum(record: Record) -> float:
    """The cost of the best possible answers in a record's one trial, in bits."""
    (trial,) = record["trials"]
    return trial["loss_bits"][0] - trial["errors"][0]


def is_of_strings(task: str) -> bool:
    """Whether a task's errors are fractions of its symbols, which is 1 - accuracy."""
    return isinstance(tasks.get(task), tasks.StringTask)


def in_words(size: Size) -> str:
    """A number, or a range, for each difficulty."""
    return " × ".join(
        " to ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in size
    )


def short(error: float) -> str:
    """An error or a cost in a few digits; 0 only if it is exactly 0."""
    return f"{error:.3g}" if error < 100 else f"{error:,.1f}"


def cell(errors: Sequence[float], shown: Callable[[float], str] = short) -> str:
    """The median over seeds (best to worst), each as text."""
    if not errors:
        return ""
    spread = f" ({shown(min(errors))} to {shown(max(errors))})"
    return shown(statistics.median_high(errors)) + spread * (len(errors) > 1)


def accuracy_cell(errors: Sequence[float]) -> str:
    """The median accuracy over seeds (highest to lowest)."""
    return cell(errors, percent)


def percent(error: float) -> str:
    """The percentage of correct symbols; 100 only if none is wrong."""
    return f"{min(100 * (1 - error), 99.99):.2f}" if error else "100"


def seeds(record: Record) -> str:
    """The number of seeds in words."""
    number = len(record["machines"])
    return f"{number} seed{'s' * (number > 1)}"
