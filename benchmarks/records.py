"""Records of complete runs, in benchmarks/records: a JSON file for each."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from train.runs.config import TrainConfig
from train.runs.files import read_json
from train.show.learners import memory_first

Record = dict[str, Any]
FOLDER = Path(__file__).parent / "records"
# The values that a trial has for each machine.
EACH = ("errors", "perfect_fractions", "loss_bits")
_WANTED_OF_A_MACHINE = {
    "seed",
    "sequences",
    "solved_after",
    "validated_after",
    "errors",
}
_WANTED = {"task", "learner", "config", "command", "seconds", "machines", "trials"}


def load() -> list[Record]:
    """All records, in the order of their files."""
    return [read(path) for path in sorted(FOLDER.glob("*.json"))]


def read(path: Path) -> Record:
    """The record in that file.

    Raises:
      ValueError: if the file is not a record.
    """
    record = read_json(path.read_text())
    if not (
        isinstance(record, dict)
        and set(record) >= _WANTED
        and _are_dicts(record["trials"], set(EACH))
        and _are_dicts(record["machines"], _WANTED_OF_A_MACHINE)
    ):
        raise ValueError(f"name: got {path}, which is not a record")
    return record


def _are_dicts(values: Any, wanted: set[str]) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, dict) and set(value) >= wanted for value in values
    )


def of_task(records: Iterable[Record], task: str) -> list[Record]:
    """The records of a task; machines with a memory come first."""
    own = [record for record in records if record["task"] == task]
    return sorted(own, key=lambda record: memory_first(record["learner"]))


def config_of(record: Record) -> TrainConfig:
    """The config of the runs of a record.

    Raises:
      ValueError: if the record does not hold one.
    """
    return TrainConfig.from_text(json.dumps(record["config"]))
