"""What is kept of complete runs, in benchmarks/records: a JSON file for each record."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from train.config import TrainConfig, read_json
from train.figures.curves import Curve

Record = dict[str, Any]
FOLDER = Path(__file__).parent.parent / "benchmarks" / "records"
# What a trial has of each machine.
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
    """All records, by the names of their files."""
    return [read(path) for path in sorted(FOLDER.glob("*.json"))]


def read(path: Path) -> Record:
    """The record in that file.

    Raises:
      ValueError: if it holds none.
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
    """Those of a task: machines with a memory first."""
    own = [record for record in records if record["task"] == task]
    kinds = ("NTM, LSTM", "NTM")
    return sorted(
        own,
        key=lambda record: [record["learner"].startswith(kind) for kind in kinds],
        reverse=True,
    )


def config_of(record: Record) -> TrainConfig:
    """Of the runs that a record is of.

    Raises:
      ValueError: if the record does not hold one.
    """
    return TrainConfig.from_text(json.dumps(record["config"]))


def learner(config: TrainConfig) -> str:
    """What learned, in a few words."""
    if config.model == "lstm":
        return f"LSTM, {config.controller_layers} × {config.controller_units}"
    name = {"lstm": "LSTM", "gru": "GRU", "feed_forward": "feed-forward"}
    code = "" if config.repeat_code == "scalar" else f", {config.repeat_code}"
    return f"NTM, {name[config.controller]}{code}"


def shows_learning(record: Record) -> bool:
    """Whether it is of a run; of a machine that ships nothing is kept but itself."""
    return any(machine["validated_after"] for machine in record["machines"])


def validations(record: Record) -> list[Curve]:
    """Of each seed: sequences seen, in thousands, and the error then."""
    return [
        (
            np.asarray(machine["validated_after"]) / 1000,
            np.asarray(machine["errors"]),
        )
        for machine in record["machines"]
    ]
