"""Writes docs/RESULTS.md and its figures from the records.

    python -m benchmarks.results

Text in docs/RESULTS.md stays as it is; what stands between `<!-- TASK -->` and
`<!-- end -->` is made anew of the records in benchmarks/records.
"""

import json
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
from benchmarks.record import FOLDER
from train.run import write_whole

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "RESULTS.md"
Record = dict[str, Any]
_BLOCK = re.compile(r"(<!-- (?P<task>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_STYLE: dict[Any, Any] = {"font.size": 9, "figure.dpi": 150}


def main() -> int:
    """The command; returns its exit status."""
    records = load()
    for task in tasks.names():
        own = of_task(records, task)
        trained = list(filter(shows_learning, own))
        folder = DOCS / "images"
        if trained:
            curves(task, trained).savefig(folder / f"learning_{task}.png")
        if own:
            carries(task, own).savefig(folder / f"beyond_{task}.png")
    write_whole(PAGE, rendered(PAGE.read_text(), records))
    return 0


def load() -> list[Record]:
    """All records, by the names of their files."""
    return [json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))]


def of_task(records: Iterable[Record], task: str) -> list[Record]:
    """Those of a task: machines first."""
    own = [record for record in records if record["task"] == task]
    return sorted(own, key=lambda record: not record["learner"].startswith("NTM, LSTM"))


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
    yield from dict.fromkeys(line for record in records for line in record["commands"])
    yield "```"
    yield ""
    if trained:
        yield from learned(trained)
        yield ""
    yield from beyond(task, records)
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
        "trained on | minutes |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for record in records:
        machines = record["machines"]
        after = [machine["solved_after"] or math.inf for machine in machines]
        first, last = machines[0]["seed"], machines[-1]["seed"]
        longest = max(machine["sequences"] for machine in machines)
        yield (
            f"| {record['learner']} | {first}–{last} | "
            f"{sum(map(math.isfinite, after))} of {len(after)} | "
            f"{count(statistics.median_high(after))} | {count(max(after))} | "
            f"{longest:,} | {record['seconds'] / 60:.0f} |"
        )


def shows_learning(record: Record) -> bool:
    """Whether it is of a run; of a machine that ships nothing is kept but itself."""
    return any(machine["validated_after"] for machine in record["machines"])


def beyond(task: str, records: Sequence[Record]) -> Iterator[str]:
    """A row for each trial: the median machine's error, and the best and the worst."""
    yield "| | " + " | ".join(record["learner"] for record in records) + " |"
    yield "| --- |" + " --- |" * len(records)
    for size in sizes(task, records):
        cells = []
        for record in records:
            trial = find(task, record, size)
            if trial is None:
                cells.append("")
                continue
            errors = trial["errors"]
            spread = f" ({short(min(errors))} to {short(max(errors))})"
            cells.append(
                short(statistics.median_high(errors)) + spread * (len(errors) > 1)
            )
        yield f"| {' × '.join(map(str, size))} | " + " | ".join(cells) + " |"


def sizes(task: str, records: Iterable[Record]) -> list[tuple[int, ...]]:
    """The difficulties that were tried, the easiest first."""
    names = tasks.get(task).difficulty
    found = {
        tuple(trial[name] for name in names)
        for record in records
        for trial in record["trials"]
    }
    return sorted(found, key=lambda size: (math.prod(size), size))


def find(task: str, record: Record, size: tuple[int, ...]) -> dict[str, Any] | None:
    """The record's trial at that difficulty, if there was one."""
    names = tasks.get(task).difficulty
    for trial in record["trials"]:
        if tuple(trial[name] for name in names) == size:
            return trial
    return None


def count(sequences: float) -> str:
    """A number of sequences to read."""
    return f"{sequences:,.0f}" if math.isfinite(sequences) else "never"


def short(error: float) -> str:
    """An error to read: 0 only where there is none."""
    return "0" if error == 0 else f"{error:.3g}"


@mpl.rc_context(_STYLE)
def curves(task: str, records: Sequence[Record]) -> Figure:
    """Errors in validation against sequences: seeds thin, their median thick."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for colour, record in enumerate(records):
        look: dict[str, Any] = {"color": f"C{colour}"}
        machines = record["machines"]
        steps = np.unique(np.concatenate([m["validated_after"] for m in machines]))
        held = []
        for machine in machines:
            own, errors = map(
                np.asarray, (machine["validated_after"], machine["errors"])
            )
            axes.plot(own / 1000, errors, alpha=0.3, lw=0.6, **look)
            places = np.searchsorted(own, steps, "right") - 1
            held.append(errors[np.clip(places, 0, None)])
        label = f"{record['learner']} ({len(machines)} seeds)"
        axes.plot(steps / 1000, np.median(held, axis=0), lw=2, label=label, **look)
    axes.set_yscale("symlog", linthresh=0.1, linscale=0.3)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("sequences seen (thousands)")
    axes.set_ylabel(f"{tasks.get(task).error_name} per sequence")
    axes.set_title(f"Learning {task.replace('_', ' ')}: 1,000 validation sequences")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


@mpl.rc_context(_STYLE)
def carries(task: str, records: Sequence[Record]) -> Figure:
    """Errors of every machine at every trial."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    all_sizes = sizes(task, records)
    places = np.arange(len(all_sizes))
    for i, record in enumerate(records):
        shift = (i - (len(records) - 1) / 2) * 0.2
        found = [find(task, record, size) for size in all_sizes]
        medians = [
            np.nan if trial is None else statistics.median_high(trial["errors"])
            for trial in found
        ]
        axes.plot(places + shift, medians, "o-", color=f"C{i}", label=record["learner"])
        for place, trial in zip(places, found):
            errors = [] if trial is None else trial["errors"]
            axes.plot([place + shift] * len(errors), errors, "_", color=f"C{i}")
    axes.set_yscale("symlog", linthresh=0.01, linscale=0.3)
    axes.set_ylim(bottom=0)
    axes.set_xticks(places, [" × ".join(map(str, size)) for size in all_sizes])
    axes.set_xlabel(" × ".join(tasks.get(task).difficulty))
    axes.set_ylabel(f"{tasks.get(task).error_name} per sequence")
    axes.set_title(
        f"{task.replace('_', ' ').capitalize()} at and beyond the training size: "
        "seeds (dashes), their median"
    )
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    sys.exit(main())
