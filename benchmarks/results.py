"""Writes docs/RESULTS.md and its figures from the records.

    python -m benchmarks.results

Text in docs/RESULTS.md stays as it is; what stands between `<!-- TASK -->` and
`<!-- end -->` is made anew of the records in benchmarks/records.
"""

import dataclasses
import math
import re
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import tasks
from benchmarks.record import FOLDER, read
from train import cli
from train.figures import error_axes, median_curve
from train.outcome import readable
from train.run import write_whole

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "RESULTS.md"
Record = dict[str, Any]
_BLOCK = re.compile(r"(<!-- (?P<task>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_STYLE: dict[Any, Any] = {"font.size": 9, "figure.dpi": 150}


@dataclasses.dataclass(frozen=True)
class Flags:
    """Writes docs/RESULTS.md and its figures anew from the records."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    cli.parse(Flags, arguments, prog="python -m benchmarks.results")
    with cli.readable_errors():
        records = load()
        page, figures = rendered(PAGE.read_text(), records), drawn(records)
        for name, figure in figures.items():
            figure.savefig(DOCS / "images" / name)
        write_whole(PAGE, page)
    return 0


def drawn(records: Sequence[Record]) -> dict[str, Figure]:
    """The figures, by the names of their files."""
    figures = {}
    for task in tasks.names():
        own = of_task(records, task)
        if trained := list(filter(shows_learning, own)):
            figures[f"learning_{task}.png"] = learning_curves(task, trained)
        if own:
            figures[f"beyond_{task}.png"] = generalization(task, own)
    return figures


def load() -> list[Record]:
    """All records, by the names of their files."""
    return [read(path) for path in sorted(FOLDER.glob("*.json"))]


def of_task(records: Iterable[Record], task: str) -> list[Record]:
    """Those of a task: machines with a memory first."""
    own = [record for record in records if record["task"] == task]
    kinds = ("NTM, LSTM", "NTM")
    return sorted(
        own,
        key=lambda record: [record["learner"].startswith(kind) for kind in kinds],
        reverse=True,
    )


def rendered(page: str, records: Sequence[Record]) -> str:
    """The page with its blocks made anew."""

    def block(match: re.Match[str]) -> str:
        task = match["task"]
        return match[1] + "\n".join(section(task, of_task(records, task))) + match[3]

    return _BLOCK.sub(block, page)


def section(task: str, records: Sequence[Record]) -> Iterator[str]:
    """The lines of a task: commands, tables and figures."""
    if not records:
        yield "Nothing is recorded yet.\n"
        return
    trained = list(filter(shows_learning, records))
    yield "```sh"
    yield from dict.fromkeys(record["command"] for record in records)
    yield "```"
    yield ""
    if trained:
        yield from learned(trained)
        yield ""
    error = tasks.get(task).error_name
    yield f"{error[0].upper() + error[1:]} per sequence:"
    yield ""
    yield from beyond(task, records)
    yield ""
    if hasattr(tasks.get(task), "optimal_logits"):
        yield from costs(records)
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


def shows_learning(record: Record) -> bool:
    """Whether it is of a run; of a machine that ships nothing is kept but itself."""
    return any(machine["validated_after"] for machine in record["machines"])


def beyond(task: str, records: Sequence[Record]) -> Iterator[str]:
    """A row for each trial: the median machine's error, and the best and the worst."""
    names = " × ".join(tasks.get(task).difficulty)
    yield f"| {names} | " + " | ".join(record["learner"] for record in records) + " |"
    yield "| --- |" + " --- |" * len(records)
    tried = [trials(task, record) for record in records]
    for size in all_sizes(tried):
        cells = " | ".join(cell(of_one.get(size, [])) for of_one in tried)
        yield f"| {' × '.join(map(str, size))} | {cells} |"


def costs(records: Sequence[Record]) -> Iterator[str]:
    """What answers cost beside what the best possible ones cost, medians in bits."""
    yield "| bits per sequence | learned | best possible |"
    yield "| --- | --- | --- |"
    for record in records:
        for trial in record["trials"]:
            each = zip(trial["loss_bits"], trial["errors"])
            best = statistics.median(loss - error for loss, error in each)
            own = statistics.median_high(trial["loss_bits"])
            yield f"| {record['learner']} | {own:.2f} | {best:.2f} |"


def trials(task: str, record: Record) -> dict[tuple[int, ...], list[float]]:
    """The errors of all machines at each size that was tried."""
    names = tasks.get(task).difficulty
    return {
        tuple(trial[name] for name in names): trial["errors"]
        for trial in record["trials"]
    }


def all_sizes(tried: Iterable[dict[tuple[int, ...], Any]]) -> list[tuple[int, ...]]:
    """Of all records, the easiest first."""
    return sorted(
        {size for of_one in tried for size in of_one},
        key=lambda size: (math.prod(size), size),
    )


def cell(errors: Sequence[float]) -> str:
    """Of a table."""
    if not errors:
        return ""
    spread = f" ({short(min(errors))} to {short(max(errors))})"
    return short(statistics.median_high(errors)) + spread * (len(errors) > 1)


def short(error: float) -> str:
    """An error to read: 0 only where there is none."""
    return "0" if error == 0 else f"{error:.3g}"


@mpl.rc_context(_STYLE)
def learning_curves(task: str, records: Sequence[Record]) -> Figure:
    """Errors in validation against sequences: seeds thin, their median thick."""
    figure, axes = error_axes((7, 4))
    for i, record in enumerate(records):
        curves = [
            (
                np.asarray(machine["validated_after"]) / 1000,
                np.asarray(machine["errors"]),
            )
            for machine in record["machines"]
        ]
        for sequences, errors in curves:
            axes.plot(sequences, errors, alpha=0.3, lw=0.6, color=f"C{i}")
        label = f"{record['learner']} ({len(curves)} seed{'s' * (len(curves) > 1)})"
        axes.plot(*median_curve(curves), lw=2, color=f"C{i}", label=label)
    axes.set_xlabel("sequences seen (thousands)")
    axes.set_ylabel(f"{tasks.get(task).error_name} per sequence")
    axes.set_title(f"Learning {task.replace('_', ' ')}: validations of each seed")
    axes.legend()
    return figure


@mpl.rc_context(_STYLE)
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
        axes.plot(places, medians, "o-", color=f"C{i}", label=record["learner"])
        for place, size in zip(places, tried_at):
            errors = of_one[size]
            axes.plot([place] * len(errors), errors, "_", color=f"C{i}")
    axes.set_xticks(range(len(sizes)), [" × ".join(map(str, size)) for size in sizes])
    axes.set_xlabel(" × ".join(tasks.get(task).difficulty))
    axes.set_ylabel(f"{tasks.get(task).error_name} per sequence")
    axes.set_title(
        f"{task.replace('_', ' ').capitalize()} at and beyond the training size: "
        "seeds (dashes), their median"
    )
    axes.legend()
    return figure


if __name__ == "__main__":
    sys.exit(main())
