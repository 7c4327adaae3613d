"""The tables of the benchmark in docs/chomsky.md, written from the records."""

import statistics
from collections.abc import Iterator
from pathlib import Path

from benchmarks import blocks
from benchmarks.chomsky import published
from benchmarks.chomsky.cells import LEVELS, MODELS, PLACES
from benchmarks.chomsky.runs import LEARNED, Record, read
from train.runs.files import write_whole

PAGE = Path(__file__).parents[2] / "docs" / "chomsky.md"
_TITLES = {
    "ntm_feed_forward": "NTM, feed-forward",
    "ntm_lstm": "NTM, LSTM",
    "stack_rnn": "stack RNN",
    "tape_rnn": "Tape-RNN",
    "lstm": "LSTM",
}


def write(records: Path, page: Path = PAGE) -> None:
    """Writes the page's block of tables."""
    text = page.read_text(encoding="utf-8")
    tables = {"scores": [*best(records), "", *every_cell(records), ""]}
    write_whole(page, blocks.written(text, tables.__getitem__))


def best(records: Path) -> Iterator[str]:
    """The best score of each cell, beside the published ones."""
    ours = [_TITLES[model] for model in MODELS]
    theirs = [f"*{name}*" for name in published.LEARNERS]
    yield f"| task | {' | '.join([*ours, *theirs])} |"
    yield "| --- |" + " --- |" * len([*ours, *theirs])
    for task in PLACES:
        cells = [shown(read(records, f"{task}_{model}")) for model in MODELS]
        cells += [f"*{score:g}*" for score in published.SCORES[task]]
        yield f"| {in_words(task)} | {' | '.join(cells)} |"


def shown(runs: list[Record]) -> str:
    """The best score of a cell; nothing if there is no run."""
    return percent(max(run["score"] for run in runs)) if runs else ""


def percent(score: float) -> str:
    """A score; 100 only if no symbol was wrong.

    >>> percent(100.0), percent(99.999), percent(51.24)
    ('100', '99.9', '51.2')
    """
    return "100" if score == 100 else f"{min(score, 99.9):.1f}"


def every_cell(records: Path) -> Iterator[str]:
    """A row for each cell with runs: all seeds and what they took."""
    yield (
        "| level | task | learner | runs | learned | best | median | worst | "
        "sequences of the best | CPU minutes of the best |"
    )
    yield "| --- |" + " --- |" * 9
    for level, tasks in LEVELS.items():
        for task in tasks:
            for model in MODELS:
                if runs := read(records, f"{task}_{model}"):
                    yield f"| {level} | {in_words(task)} | {row(model, runs)} |"


def row(model: str, runs: list[Record]) -> str:
    """What a cell's runs have reached."""
    scores = [run["score"] for run in runs]
    first = max(runs, key=lambda run: run["score"])
    minutes = first["cpu_seconds"]
    return " | ".join(
        [
            _TITLES[model],
            str(len(runs)),
            str(sum(score >= LEARNED for score in scores)),
            percent(max(scores)),
            percent(statistics.median_low(scores)),
            percent(min(scores)),
            f"{first['sequences']:,}",
            "–" if minutes is None else f"{minutes / 60:.1f}",
        ]
    )


def in_words(task: str) -> str:
    """The name of a task in a table.

    >>> in_words("modular_arithmetic_simple")
    'modular arithmetic (simple)'
    """
    return task.replace("_simple", " (simple)").replace("_", " ")
