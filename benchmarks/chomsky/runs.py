"""A run of a cell: trained, evaluated at every length, kept in the cell's record."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chomsky.cells import Cell, Settings
from benchmarks.chomsky.score import accuracies
from benchmarks.records import FOLDER
from train import cli
from train.learn import DivergedError, run_to_the_end
from train.runs import schema
from train.runs.config import TrainConfig
from train.runs.files import read_json, write_whole
from train.runs.folder import RunFolder
from train.runs.lock import locked
from train.training.population import member

Record = dict[str, Any]
RECORDS = FOLDER / "chomsky"
# A machine with this score, in per cent, has learned the task.
LEARNED = 99.5
_RUN: schema.Fields = {
    "settings": schema.record_of({}),
    "seed": schema.count,
    "sequences": schema.total,
    "seconds": schema.seconds,
    "cpu_seconds": schema.or_none(schema.number),
    "strings": schema.total,
    "score": schema.number,
    "accuracies": schema.list_of(schema.number),
}


def read(folder: Path, name: str) -> list[Record]:
    """The runs of that cell so far.

    Raises:
      ValueError: if the file is not a record.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        return []
    try:
        fields = read_json(path.read_text(encoding="utf-8"))
        schema.check_record("", fields, {"runs": schema.records_of(_RUN)})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a record: {error}") from None
    return fields["runs"]


def is_done(runs: list[Record], settings: Settings, seed: int) -> bool:
    """Whether one of the runs has these settings and that seed."""
    plain = in_json(settings)
    return any(run["settings"] == plain and run["seed"] == seed for run in runs)


def in_json(settings: Settings) -> Settings:
    """The settings as a file gives them back."""
    return json.loads(json.dumps(settings))


def add(
    cell: Cell, settings: Settings, seed: int, *, runs: Path, records: Path, each: int
):
    """Makes a run, unless the record has it, and writes the record with it.

    Args:
      cell: of the run.
      settings: one of the cell's.
      seed: of the run.
      runs: folder in which the run has one of its own; a run that was stopped goes on.
      records: folder of the records.
      each: strings of each length in the evaluation.

    Returns:
      The run as the record has it; None if it was there.
    """
    done = read(records, cell.name)
    if is_done(done, settings, seed):
        return None
    number = cell.settings.index(settings)
    path = runs / f"{cell.name}_{number}_{seed}"
    made = of_run(cell, settings, cell.config(settings, seed), path, each)
    records.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"runs": [*done, made]}, indent=1)
    write_whole(records / f"{cell.name}.json", text + "\n")
    return made


def of_run(
    cell: Cell, settings: Settings, config: TrainConfig, path: Path, each: int
) -> Record:
    """The numbers of one run. The CPU's seconds are None if it was resumed."""
    is_new, cpu = not path.exists(), time.process_time()
    run = RunFolder.plan(path, config)
    try:
        if run.result() is None:
            with locked(path):
                console = cli.make_console(quiet=True)
                run_to_the_end(run, run.load(), console, drawn=False)
        cpu = time.process_time() - cpu
        params = member(run.restore().params, 0)
        found = accuracies(params, config, cell.num_slots, each=each)
    except DivergedError:
        cpu, found = time.process_time() - cpu, [0.0]
    last = max((entry["step"] for entry in run.metrics()), default=0)
    return {
        "settings": in_json(settings),
        "seed": config.seed,
        "sequences": last * config.batch_size,
        "seconds": run.seconds(config.seed),
        "cpu_seconds": round(cpu) if is_new else None,
        "strings": each,
        "score": round(100 * float(np.mean(found)), 3),
        "accuracies": [round(one, 5) for one in found],
    }
