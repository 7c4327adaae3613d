"""`steps_before.json`: the earlier values of --steps of a run, if that was raised.

They decide the learning rate of the updates that were made with them.
"""

import json
from pathlib import Path

from . import schema
from .config import TrainConfig
from .files import read_json, write_whole

NAME = "steps_before.json"


def read(path: Path, config: TrainConfig) -> list[int]:
    """The earlier values, in order; none if there is no such file.

    Args:
      path: of the file.
      config: of the run.

    Raises:
      ValueError: if the file is damaged.
    """
    if not path.exists():
        return []
    try:
        before = read_json(path.read_bytes())
        schema.list_of(schema.count)("steps", before)
        if before != sorted(set(before)):
            raise ValueError(f"steps: got {before}, want each more than the last")
    except (TypeError, ValueError) as error:
        raise ValueError(f"workdir: got {path}, which is damaged: {error}") from None
    # A kill while the steps are raised leaves there those of config.json, too.
    return [steps for steps in before if steps < config.steps]


def write(path: Path, before: list[int]) -> None:
    """Writes the earlier values."""
    write_whole(path, json.dumps(sorted(set(before))))
