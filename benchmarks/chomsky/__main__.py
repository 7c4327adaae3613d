"""Runs the benchmark, cell by cell, and writes its tables in docs/chomsky.md.

    python -m benchmarks.chomsky
    python -m benchmarks.chomsky --tasks parity even_pairs --models ntm_lstm lstm
    python -m benchmarks.chomsky --num_seeds=0

A cell is a task and a learner; it has runs of several seeds, and of a few settings. Its
record in benchmarks/records/chomsky has them. A run that is in the record is not made
again, and one that was stopped goes on. The last of the commands only writes the
tables.
"""

import dataclasses
import json
import sys
from pathlib import Path

from benchmarks.chomsky import page
from benchmarks.chomsky.cells import MODELS, PLACES, cells
from benchmarks.chomsky.runs import RECORDS, add
from ntm_jax.checks import check_count
from train import cli


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Runs the benchmark of the Chomsky hierarchy, and writes its tables."""

    tasks: tuple[str, ...] = tuple(PLACES)
    """Names of the tasks."""
    models: tuple[str, ...] = tuple(MODELS)
    """Names of the learners."""
    seed: int = 0
    """The first seed."""
    num_seeds: int = 10
    """Number of seeds for each of a cell's settings."""
    num_strings: int = 8
    """Strings of each length from 41 to 500 in the evaluation."""
    runs: Path = Path("runs/chomsky")
    """Folder of the runs."""
    records: Path = RECORDS
    """Folder of the records."""
    page: Path = page.PAGE
    """Page with the tables."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.chomsky")
    with cli.readable_errors():
        cli.keep_compilations()
        check_count("seed", flags.seed, 0)
        check_count("num_seeds", flags.num_seeds, 0)
        check_count("num_strings", flags.num_strings)
        for cell in [*cells(flags.tasks, flags.models)]:
            for settings in cell.settings:
                for seed in range(flags.seed, flags.seed + flags.num_seeds):
                    made = add(
                        cell,
                        settings,
                        seed,
                        runs=flags.runs,
                        records=flags.records,
                        each=flags.num_strings,
                    )
                    if made is not None:
                        told = {"cell": cell.name, **made}
                        del told["accuracies"]
                        print(json.dumps(told), flush=True)
                        page.write(flags.records, flags.page)
        page.write(flags.records, flags.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
