"""Records of complete runs, in benchmarks/records: a JSON file for each."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from train.runs import schema
from train.runs.config import TrainConfig
from train.show.learners import memory_first, read_record

Record = dict[str, Any]
FOLDER = Path(__file__).parent / "records"
# The values that a trial has for each machine.
EACH = ("errors", "perfect_fractions", "loss_bits")
_MACHINE: schema.Fields = {
    "seed": schema.count,
    "sequences": schema.total,
    "solved_after": schema.or_none(schema.total),
}
_TRIAL: schema.Fields = dict.fromkeys(EACH, schema.list_of(schema.number))
_FIELDS: schema.Fields = {
    "config": schema.record_of({}),
    "command": schema.text,
    "seconds": schema.seconds,
    "machines": schema.records_of(_MACHINE),
    "trials": schema.records_of(_TRIAL),
}


def load() -> list[Record]:
    """All records, in the order of their files."""
    return [read(path) for path in sorted(FOLDER.glob("*.json"))]


def read(path: Path) -> Record:
    """The record in that file.

    Raises:
      ValueError: if the file is not a record.
    """
    record = read_record(path)
    try:
        optional = {"steps_before": schema.list_of(schema.count)}
        schema.check_record("", record, _FIELDS, optional)
        config = config_of(record)
        if config.task != record["task"]:
            raise ValueError(f"task: got {record['task']!r}, want {config.task!r}")
        for i, trial in enumerate(record["trials"]):
            for name in EACH:
                if len(trial[name]) != len(record["machines"]):
                    raise ValueError(
                        f"trials[{i}].{name}: got {len(trial[name])} numbers, want "
                        f"{len(record['machines'])}, one for each machine"
                    )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a record: {error}") from None
    return record


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
