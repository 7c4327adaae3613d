"""Writes the tables of results, docs/RESULTS.md and its figures from the records.

    python -m benchmarks.results

The records are those in benchmarks/records. On the pages, the text between
`<!-- TASK -->`, `<!-- summary -->`, `<!-- tasks -->` (in README) or `<!-- choosing -->`
(in docs/choosing.md) and `<!-- end -->` is written from the records; all other text
stays as it is.
"""

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import blocks
from benchmarks.figures import drawn
from benchmarks.records import Record, load, of_task
from benchmarks.tables import choosing, overview, section, summary
from train import cli
from train.runs.files import write_whole
from train.show.draw import save_figure

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "RESULTS.md",
    ROOT / "docs" / "choosing.md",
)
# Blocks that are of all tasks; any other is named by its task.
_OF_ALL_TASKS = {"choosing": choosing, "summary": summary, "tasks": overview}


@dataclasses.dataclass(frozen=True)
class Flags:
    """Writes docs/RESULTS.md, its figures and README's table from the records."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    cli.parse(Flags, arguments, prog="python -m benchmarks.results")
    with cli.readable_errors():
        records = load()
        pages = {
            path: rendered(path.read_text(encoding="utf-8"), records) for path in PAGES
        }
        for name, figure in drawn(records).items():
            save_figure(figure, IMAGES / name)
        for path, text in pages.items():
            write_whole(path, text)
    return 0


def rendered(page: str, records: Sequence[Record]) -> str:
    """The page with its blocks written from the records."""

    def lines(name: str) -> Iterable[str]:
        if name in _OF_ALL_TASKS:
            return _OF_ALL_TASKS[name](records)
        return section(name, of_task(records, name))

    return blocks.written(page, lines)


if __name__ == "__main__":
    sys.exit(main())
