"""Measures how training scales over devices and processes of this computer.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --updates=200 --turns=3

The same run is made in 1 process with 1 device, in 1 with 2, and in 2 with 1 each; they
take turns. A number is the median over the turns of a run's own sequences per second,
each the median over its calls but the first, which compiles.

The last line is one JSON object.
"""

import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.table import Table

from ntm_jax.checks import check_count
from train import cli

# Processes, and devices of each.
WAYS = ((1, 1), (1, 2), (2, 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Measures training over devices and processes of this computer."""

    task: str = "copy"
    """The task."""
    batch_size: int = 16
    """Sequences in one update, of all devices together."""
    updates: int = 200
    """Updates of a run."""
    turns: int = 3
    """Runs in each way."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.scaling")
    with cli.readable_errors():
        for name in ("batch_size", "updates", "turns"):
            check_count(name, getattr(flags, name))
        rates: dict[tuple[int, int], list[float]] = {way: [] for way in WAYS}
        for _ in range(flags.turns):
            for way in WAYS:
                rates[way].append(rate(flags, *way))
        medians = {way: statistics.median(rates[way]) for way in WAYS}
        table = Table("processes", "devices of each", "sequences/s", "to 1 with 2")
        for way in WAYS:
            ratio = medians[way] / medians[1, 2]
            table.add_row(*map(str, way), f"{medians[way]:.0f}", f"{ratio:.2f}")
        cli.make_console().print(table)
        measured = [
            {"processes": way[0], "devices": way[1], "sequences_per_second": rates[way]}
            for way in WAYS
        ]
        print(json.dumps({**dataclasses.asdict(flags), "ways": measured}))
    return 0


def rate(flags: Flags, processes: int, devices: int) -> float:
    """Sequences per second of one run.

    Raises:
      ValueError: if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "train.main", f"--task={flags.task}", "--quiet"),
            *(f"--workdir={folder}/run", f"--batch_size={flags.batch_size}"),
            *(f"--steps={flags.updates}", f"--validate_every={flags.updates}"),
            *(f"--checkpoint_every={flags.updates}", "--steps_per_call=10"),
            *("--validation_sequences=4", "--polish_steps=10"),
        ]
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            address = f"--coordinator_address=localhost:{probe.getsockname()[1]}"
        own = [
            [address, f"--num_processes={processes}", f"--process_id={i}"]
            for i in range(processes)
        ]
        environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
        started = [
            subprocess.Popen(
                [*command, *(each if processes > 1 else [])],
                env=environment,
                stdout=subprocess.DEVNULL,
            )
            for each in own
        ]
        statuses = [process.wait() for process in started]
        if any(statuses):
            raise ValueError(f"processes: got {processes}, in which the run fails")
        lines = (
            (Path(folder) / "run" / "metrics.jsonl")
            .read_text(encoding="utf-8")
            .splitlines()
        )
        calls = [entry for entry in map(json.loads, lines) if entry["kind"] == "train"]
        return statistics.median(each["sequences_per_second"] for each in calls[1:])


if __name__ == "__main__":
    sys.exit(main())
