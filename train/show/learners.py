"""The learning curves of a task's learners: of runs, and of files of recorded runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..models import registry as models
from ..runs import schema
from ..runs.config import TrainConfig
from ..runs.files import expanded, read_json
from ..runs.folder import RunFolder
from .figures.curves import Curve, curves_of

_RECORD: schema.Fields = {
    "task": schema.text,
    "learner": schema.text,
    "machines": schema.records_of(
        {
            "validated_after": schema.list_of(schema.total),
            "errors": schema.list_of(schema.number),
        }
    ),
}


class Learner(NamedTuple):
    """A name for the legend, and a curve of validation errors for each seed."""

    name: str
    curves: list[Curve]


def learner_name(config: TrainConfig) -> str:
    """The model of a run in a few words."""
    if config.model != "ntm":
        sizes = [*config.model_fields.values()]
        if config.model in ("lstm", "gru"):
            sizes = [f"{config.controller_layers} × {config.controller_units}"]
        return ", ".join([models.title(config.model), *map(str, sizes)])
    name = {"lstm": "LSTM", "gru": "GRU", "feed_forward": "feed-forward"}
    own = "".join(f", {value}" for value in config.task_fields.values())
    return f"NTM, {name[config.controller]}{own}"


def learner_of_run(run: RunFolder) -> Learner:
    """The seeds of a run that have been validated."""
    curves = curves_of(run.metrics(), run.config, "validation", "error")
    return Learner(
        learner_name(run.config), [curve for curve in curves if len(curve[0])]
    )


def recorded_learners(folder: Path, task: str) -> list[Learner]:
    """The learners of a task in a folder of records; none without such a folder.

    A record is a JSON file as `python -m benchmarks.record` writes it. Machines with a
    memory come first.

    Raises:
      ValueError: for a file that is not a record.
    """
    own = []
    for path in sorted(expanded(folder, "records").glob("*.json")):
        record = read_record(path)
        if record["task"] == task and has_curves(record):
            own.append(Learner(record["learner"], validation_curves(record)))
    return sorted(own, key=lambda learner: memory_first(learner.name))


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file, whose curves at least are whole.

    Raises:
      ValueError: if the file is not a record.
    """
    try:
        record = read_json(path.read_bytes())
        schema.check_record("", record, _RECORD)
        for i, machine in enumerate(record["machines"]):
            lengths = len(machine["validated_after"]), len(machine["errors"])
            if lengths[0] != lengths[1]:
                raise ValueError(
                    f"machines[{i}]: got {lengths[0]} validated_after and {lengths[1]} "
                    "errors, want as many"
                )
    except (TypeError, ValueError) as error:
        raise ValueError(f"records: got {path}, not a record: {error}") from None
    return record


def memory_first(name: str) -> tuple[bool, bool]:
    """A sort key for names of learners: the NTM with an LSTM, other NTMs, the rest."""
    return not name.startswith("NTM, LSTM"), not name.startswith("NTM")


def has_curves(record: Mapping[str, Any]) -> bool:
    """Whether a record holds validations; that of a shipped machine does not."""
    return any(machine["validated_after"] for machine in record["machines"])


def validation_curves(record: Mapping[str, Any]) -> list[Curve]:
    """The curve of each seed in a record."""
    return [
        (
            np.asarray(machine["validated_after"]) / 1000,
            np.asarray(machine["errors"]),
        )
        for machine in record["machines"]
    ]
