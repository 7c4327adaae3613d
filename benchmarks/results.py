"""Writes docs/RESULTS.md, its figures and README's table of tasks from the records.

    python -m benchmarks.results

Text on the pages stays as it is; what stands between `<!-- TASK -->`, or in README
`<!-- tasks -->`, and `<!-- end -->` is made anew of the records in benchmarks/records.
"""

import dataclasses
import math
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import tasks
from benchmarks.records import (
    Record,
    config_of,
    load,
    of_task,
)
from tasks.registry import name_in_words
from train import cli
from train.runs.files import write_whole
from train.runs.outcome import readable
from train.runs.presets import preset
from train.show.figures import compared_curves, error_axes, leave_room
from train.show.figures.style import STYLE, colour
from train.show.learners import has_curves, validation_curves

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
PAGES = (ROOT / "README.md", ROOT / "docs" / "RESULTS.md")
# Of a trial, for each difficulty.
Size = tuple[int | tuple[int, int], ...]
_BLOCK = re.compile(r"(<!-- (?P<task>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
# What README says of each task: what to do, and how hard it is in training.
_TASKS = {
    "copy": ("give back a sequence of vectors", "1 to 20 vectors"),
    "repeat_copy": (
        "give it back several times, then say that this was the end",
        "1 to 10 vectors, 1 to 10 times",
    ),
    "associative_recall": (
        "of a list of items, give back the one after the one asked for",
        "2 to 6 items of three vectors",
    ),
    "dynamic_ngrams": (
        "predict the next bit, from a table of chances that is another every time",
        "200 bits, chances by the last five",
    ),
    "priority_sort": (
        "give back the vectors of highest priority, in order",
        "16 of 20 vectors",
    ),
    "reverse_string": (
        "give back a string of two symbols from its end",
        "1 to 40 symbols",
    ),
}


@dataclasses.dataclass(frozen=True)
class Flags:
    """Writes docs/RESULTS.md, its figures and README's table anew from the records."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    cli.parse(Flags, arguments, prog="python -m benchmarks.results")
    with cli.readable_errors():
        records = load()
        pages = {path: rendered(path.read_text(), records) for path in PAGES}
        for name, figure in drawn(records).items():
            figure.savefig(IMAGES / name)
        for path, text in pages.items():
            write_whole(path, text)
    return 0


def drawn(records: Sequence[Record]) -> dict[str, Figure]:
    """The figures, by the names of their files."""
    figures = {}
    for task in tasks.names():
        own = of_task(records, task)
        if trained := list(filter(has_curves, own)):
            figures[f"learning_{task}.png"] = learning_curves(task, trained)
        if own:
            draw = accuracy_by_length if is_of_strings(task) else generalization
            figures[f"beyond_{task}.png"] = draw(task, own)
    return figures


def rendered(page: str, records: Sequence[Record]) -> str:
    """The page with its blocks made anew."""

    def block(match: re.Match[str]) -> str:
        task = match["task"]
        lines = (
            overview(records)
            if task == "tasks"
            else section(task, of_task(records, task))
        )
        return match[1] + "\n".join(lines) + match[3]

    return _BLOCK.sub(block, page)


def overview(records: Sequence[Record]) -> Iterator[str]:
    """README's table: a row for each task, of the machine that its preset trains."""
    yield (
        "| `--task` | what to do | how hard, in training | seeds solved | "
        "sequences it takes | minutes | error per sequence then |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for task, (what, how_hard) in _TASKS.items():
        own = next((r for r in of_task(records, task) if is_preset_s(r)), None)
        if own is None:
            yield f"| `{task}` | {what} | {how_hard} | | | | |"
            continue
        machines = own["machines"]
        seen = sorted(machine["sequences"] for machine in machines)
        solved = sum(machine["solved_after"] is not None for machine in machines)
        size = tuple(tasks.get(task).trials()[0].values())
        errors = trials(task, own)[size]
        yield (
            f"| `{task}` | {what} | {how_hard} | {solved} of {len(machines)} | "
            f"{' to '.join(f'{n:,}' for n in sorted({seen[0], seen[-1]}))} | "
            f"{own['seconds'] / len(machines) / 60:.1f} | "
            f"{cell(errors)} {tasks.get(task).error_name} |"
        )
    yield ""


def is_preset_s(record: Record) -> bool:
    """Whether it is of runs of the task's preset, without any other flag."""
    config = config_of(record)
    return config.for_any_seed() == preset("default", config.task).for_any_seed()


def section(task: str, records: Sequence[Record]) -> Iterator[str]:
    """The lines of a task: commands, tables and figures."""
    if not records:
        yield "Nothing is recorded yet.\n"
        return
    trained = list(filter(has_curves, records))
    yield "```sh"
    yield from dict.fromkeys(record["command"] for record in records)
    yield "```"
    yield ""
    if trained:
        yield from learned(trained)
        yield ""
    if is_of_strings(task):
        yield "Accuracy, in per cent of the symbols:"
        yield ""
        yield from accuracies(task, records)
    else:
        error = tasks.get(task).error_name
        yield f"{error[0].upper() + error[1:]} per sequence:"
        yield ""
        yield from beyond(task, records, "errors", cell)
    yield ""
    yield "What the answer costs, in bits per sequence (its cross-entropy):"
    yield ""
    yield from beyond(task, records, "loss_bits", cell)
    yield ""
    if hasattr(tasks.get(task), "optimal_logits"):
        yield f"The best possible predictor's cost: {optimum(records[0]):.2f}."
        yield ""
    if trained:
        yield f"![Learning curves](images/learning_{task}.png)"
        yield ""
    yield f"![Beyond the training size](images/beyond_{task}.png)"
    yield ""


def learned(records: Sequence[Record]) -> Iterator[str]:
    """A row for what learned: how many seeds, how soon."""
    yield (
        "| | seeds | solved | sequences until then: median | worst | "
        "trained on at most | minutes |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for record in records:
        machines = record["machines"]
        after = [machine["solved_after"] or math.inf for machine in machines]
        longest = max(machine["sequences"] for machine in machines)
        yield (
            f"| {record['learner']} | {len(machines)} | "
            f"{sum(map(math.isfinite, after))} of {len(after)} | "
            f"{readable(statistics.median_high(after))} | {readable(max(after))} | "
            f"{longest:,} | {record['seconds'] / 60:.0f} |"
        )


def seeds(record: Record) -> str:
    """How many, in words."""
    number = len(record["machines"])
    return f"{number} seed{'s' * (number > 1)}"


def beyond(
    task: str,
    records: Sequence[Record],
    what: str,
    shown: Callable[[Sequence[float]], str],
) -> Iterator[str]:
    """A row for each trial: that of the median machine, of the best and the worst."""
    names = " × ".join(tasks.get(task).difficulty)
    yield f"| {names} | " + " | ".join(record["learner"] for record in records) + " |"
    yield "| --- |" + " --- |" * len(records)
    tried = [trials(task, record, what) for record in records]
    for size in all_sizes(tried):
        cells = " | ".join(shown(of_one.get(size, [])) for of_one in tried)
        yield f"| {in_words(size)} | {cells} |"


def is_of_strings(task: str) -> bool:
    """Whether a task's errors are parts of its symbols, and so 1 - accuracy."""
    return isinstance(tasks.get(task), tasks.StringTask)


def accuracies(task: str, records: Sequence[Record]) -> Iterator[str]:
    """A row for each trial, as in `beyond`, and one for the benchmark's score."""
    yield from beyond(task, records, "errors", accuracy_cell)
    cells = " | ".join(accuracy_cell(scores(task, record)) for record in records)
    yield f"| score | {cells} |"


def scores(task: str, record: Record) -> list[float]:
    """1 - the benchmark's score of each machine: its mean error beyond training.

    Every length counts alike, so that a range counts as often as it has lengths.
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


def accuracy_cell(errors: Sequence[float]) -> str:
    """As `cell`, from the highest accuracy to the lowest."""
    if not errors:
        return ""
    spread = f" ({percent(min(errors))} to {percent(max(errors))})"
    return percent(statistics.median_high(errors)) + spread * (len(errors) > 1)


def percent(error: float) -> str:
    """Of right symbols; 100 only where none is wrong."""
    return f"{min(100 * (1 - error), 99.99):.2f}" if error else "100"


def optimum(record: Record) -> float:
    """What the best possible answers to a record's trial cost, in bits."""
    (trial,) = record["trials"]
    return trial["loss_bits"][0] - trial["errors"][0]


def trials(task: str, record: Record, what: str = "errors") -> dict[Size, list[float]]:
    """The errors, or what else there is, of all machines at each size tried."""

    def size(trial: Record) -> Size:
        own = (trial[name] for name in tasks.get(task).difficulty)
        return tuple(tuple(n) if isinstance(n, list) else n for n in own)

    return {size(trial): trial[what] for trial in record["trials"]}


def all_sizes(tried: Iterable[dict[Size, Any]]) -> list[Size]:
    """Of all records, the easiest first."""

    def by_highest(size: Size) -> tuple[Any, ...]:
        highest, lowest = ([pick(np.ravel(n)) for n in size] for pick in (max, min))
        return math.prod(highest), highest, lowest

    return sorted({size for of_one in tried for size in of_one}, key=by_highest)


def in_words(size: Size) -> str:
    """A number for each difficulty, or from which to which."""
    return " × ".join(
        " to ".join(map(str, n)) if isinstance(n, tuple) else str(n) for n in size
    )


def cell(errors: Sequence[float]) -> str:
    """Of a table."""
    if not errors:
        return ""
    spread = f" ({short(min(errors))} to {short(max(errors))})"
    return short(statistics.median_high(errors)) + spread * (len(errors) > 1)


def short(error: float) -> str:
    """An error or a cost to read: 0 only where there is none."""
    return f"{error:.3g}" if error < 100 else f"{error:,.1f}"


def learning_curves(task: str, records: Sequence[Record]) -> Figure:
    """Errors in validation against sequences: seeds thin, their median thick."""
    learners = [(record["learner"], validation_curves(record)) for record in records]
    return compared_curves(
        f"Learning {name_in_words(task)}: validations of each seed",
        tasks.get(task).error_name,
        learners,
    )


@mpl.rc_context(STYLE)
def generalization(task: str, records: Sequence[Record]) -> Figure:
    """Errors of every machine at every trial."""
    figure, axes = error_axes((7, 4))
    tried = [trials(task, record) for record in records]
    sizes = all_sizes(tried)
    for i, (record, of_one) in enumerate(zip(records, tried)):
        shift = (i - (len(records) - 1) / 2) * 0.2
        tried_at = [size for size in sizes if size in of_one]
        places = [sizes.index(size) + shift for size in tried_at]
        medians = [statistics.median_high(of_one[size]) for size in tried_at]
        axes.plot(places, medians, "o-", color=colour(i), label=record["learner"])
        for place, size in zip(places, tried_at):
            errors = of_one[size]
            axes.plot([place] * len(errors), errors, "_", color=colour(i))
    axes.set_xticks(range(len(sizes)), list(map(in_words, sizes)))
    axes.set_xlabel(" × ".join(tasks.get(task).difficulty))
    axes.set_ylabel(f"{tasks.get(task).error_name} per sequence")
    axes.set_title(
        f"{name_in_words(task).capitalize()} at and beyond the training size: "
        "seeds (dashes), their median"
    )
    axes.legend()
    axes.set_xlim(-0.5, len(sizes) - 0.5)
    leave_room(axes)
    return figure


@mpl.rc_context(STYLE)
def accuracy_by_length(task: str, records: Sequence[Record]) -> Figure:
    """Accuracy of every machine in each range of lengths: seeds thin, medians thick."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for i, record in enumerate(records):
        ranges = {
            size: errors
            for (size,), errors in trials(task, record).items()
            if isinstance(size, tuple)
        }
        centres = np.mean([*ranges], axis=1)
        accuracy = 1 - np.asarray([*ranges.values()])
        axes.plot(centres, accuracy, ".-", alpha=0.4, lw=0.6, color=colour(i))
        label = f"{record['learner']} ({seeds(record)})"
        middle = np.median(accuracy, axis=1)
        axes.plot(centres, middle, "o-", lw=2, color=colour(i), label=label)
    longest = np.max(tasks.get(task).difficulty["length"])
    axes.axvline(longest, color="gray", ls=":", label="longest in training")
    axes.axhline(0.5, color="gray", ls="--", label="guessing")
    axes.set_ylim(0.4, 1.05)
    axes.set_xlabel("length of the string")
    axes.set_ylabel("accuracy (part of the symbols)")
    axes.set_title(f"{name_in_words(task).capitalize()}: accuracy by length")
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")
    return figure


if __name__ == "__main__":
    sys.exit(main())
