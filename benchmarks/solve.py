"""Measures the seconds from the start of a process to a solved copy task, seed by seed.

    python -m benchmarks.solve
    python -m benchmarks.solve --seed=100 --num_seeds=3

Each seed is a run of `python -m train.main --task=copy` in its own process and folder.
The time includes imports, compilation, training, the evaluations at lengths 20 and 120
and the figures. The runs follow one another.

The last line is one JSON object.
"""

import dataclasses
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.table import Table

from ntm_jax.checks import check_count
from train import cli
from train.runs.folder import open_complete


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Trains copy in a new process for each seed, and measures the whole time."""

    seed: int = 0
    """The first seed."""
    num_seeds: int = 10
    """Number of seeds."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.solve")
    with cli.readable_errors():
        check_count("seed", flags.seed, 0)
        check_count("num_seeds", flags.num_seeds)
        with tempfile.TemporaryDirectory() as folder:
            runs = []
            for seed in range(flags.seed, flags.seed + flags.num_seeds):
                runs.append(solve(seed, Path(folder) / str(seed)))
                print(json.dumps(runs[-1]), flush=True)
        cli.make_console().print(table(runs))
        times = [run["seconds"] if run["solved"] else math.inf for run in runs]
        told = {
            "solved": sum(run["solved"] for run in runs),
            "median_s": finite(statistics.median_high(times)),
            "worst_s": finite(max(times)),
        }
        print(json.dumps(told | {"runs": runs}))
    return 0


def solve(seed: int, workdir: Path) -> dict[str, Any]:
    """One run: its seconds, and the wrong bits per sequence of each evaluation.

    It counts as solved if its validations say so and no evaluation has a wrong bit.

    Raises:
      ValueError: if the run fails.
    """
    command = ["train.main", "--task=copy", f"--seed={seed}", f"--workdir={workdir}"]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", *command],
        capture_output=True,
        text=True,
        # Every run compiles everything: none uses the cache of the run before.
        env={**os.environ, "JAX_COMPILATION_CACHE_DIR": ""},
    )
    took = time.perf_counter() - started
    if done.returncode:
        raise ValueError(f"seed: got {seed}, whose run failed: {done.stderr}")
    run, evaluation = open_complete(workdir)
    wrong = [entry["wrong_bits_per_sequence"] for entry in evaluation]
    return {
        "seed": seed,
        "solved": evaluation[0]["solved_at"] is not None and not any(wrong),
        "seconds": round(took, 1),
        "training_s": run.seconds(seed),
        "sequences": evaluation[0]["step"] * run.config.batch_size,
        "lengths": [entry["length"] for entry in evaluation],
        "wrong_bits": wrong,
    }


def finite(seconds: float) -> float | None:
    """The number for JSON, which has no infinity: None instead."""
    return seconds if math.isfinite(seconds) else None


def table(runs: list[dict[str, Any]]) -> Table:
    """The runs as a table."""
    lengths = [f"wrong bits at {length}" for length in runs[0]["lengths"]]
    made = Table("seed", "seconds", "of these in training", "sequences", *lengths)
    for run in runs:
        columns = [run[name] for name in ("seed", "seconds", "training_s", "sequences")]
        made.add_row(*map(str, [*columns, *run["wrong_bits"]]))
    return made


if __name__ == "__main__":
    sys.exit(main())
