"""What belongs to one run: its config, JAX's settings, and the journals so far."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from . import schema
from .config import TrainConfig
from .files import unfinished_of
from .journal import MARK
from .lock import NAME as LOCK
from .schema import Record

JOURNALS = ("metrics.jsonl", "answers.jsonl")
# The fields of what is told about a checkpoint.
ABOUT: schema.Fields = {
    "config": schema.record_of({}),
    "steps_before": schema.list_of(schema.count),
    "settings": schema.record_of({}),
    "journals": schema.record_of(dict.fromkeys(JOURNALS, schema.record_of(MARK))),
}
# The settings of JAX that decide which numbers a run computes.
_SETTINGS = (
    "jax_enable_x64",
    "jax_default_prng_impl",
    "jax_default_matmul_precision",
    "jax_random_seed_offset",
    "jax_threefry_partitionable",
)


def about(
    config: TrainConfig, steps_before: list[int], journals: dict[str, Record]
) -> Record:
    """The record for a checkpoint that is written now."""
    return {
        "config": config.to_dict(),
        "steps_before": steps_before,
        "settings": settings(),
        "journals": journals,
    }


def settings() -> dict[str, Any]:
    """JAX's settings, as text; a version can lack some."""
    return {
        name: str(getattr(jax.config, name))
        for name in _SETTINGS
        if hasattr(jax.config, name)
    }


def check_settings(path: Path, about: Record) -> None:
    """Raises a `ValueError` for a setting other than that of the run so far.

    Args:
      path: of the checkpoint.
      about: what it tells.
    """
    for name, now in settings().items():
        was = about["settings"].get(name, now)
        if was != now:
            remedy = "unset " if was == "None" else "set "
            remedy += name.upper() + (f"={was}" if was != "None" else "")
            raise ValueError(
                f"{name}: got {now}, but the run has been trained with {was} ({path}), "
                f"and would go on to other numbers; {remedy}"
            )


def check_made_by(
    path: Path, about: Record, config: TrainConfig, steps_before: list[int]
) -> None:
    """Raises a `ValueError` unless a checkpoint is of a run with that config.

    The run may since have got more steps.

    Args:
      path: of the checkpoint.
      about: what it tells.
      config: of the run.
      steps_before: the earlier values of --steps of the run.
    """
    try:
        its = TrainConfig.from_text(json.dumps(about["config"]))
    except ValueError as error:
        raise ValueError(f"workdir: got {path}, which is damaged: {error}") from None
    for name, was, wanted in compared(its, config):
        if name != "steps" and was != wanted:
            raise ValueError(
                f"{name}: got {wanted!r} in config.json, but {was!r} in {path}, "
                "want both of one run; restore the file that has been changed"
            )
    made, now = [*about["steps_before"], its.steps], [*steps_before, config.steps]
    if now[: len(made)] != made:
        raise ValueError(
            f"steps: got {now} in steps_before.json and config.json, but {made} in "
            f"{path}, want both of one run; restore the file that has been changed"
        )


def check_free(path: Path, config: TrainConfig) -> None:
    """Raises a `ValueError` unless a run of that config is there, or nothing is."""
    file = path / "config.json"
    # What a run can leave that is killed while it starts.
    unfinished = {path / LOCK, *unfinished_of(file)}
    if file.exists():
        check_same(path, old=TrainConfig.from_json(file), new=config)
    elif path.is_dir() and {*path.iterdir()} - unfinished:
        raise ValueError(
            f"workdir: got {path}, which holds files of something else, want an empty "
            "or a new folder"
        )


def check_same(path: Path, *, old: TrainConfig, new: TrainConfig) -> None:
    """Raises a `ValueError` that names the first field in which two configs differ.

    The new config can have more steps.
    """
    for name, was, wanted in compared(old, new):
        more_is_right = name == "steps"
        if was != wanted and not (more_is_right and wanted > was):
            raise ValueError(
                f"{name}: got {wanted!r}, but the run in {path} has {was!r}. A "
                "run's settings are fixed, except that you can raise --steps to "
                "continue it. To change anything else, use a new --workdir."
            )


def compared(one: TrainConfig, other: TrainConfig) -> Iterator[tuple[str, Any, Any]]:
    """Every setting of two configs: its name, and both values."""
    ones, others = one.settings(), other.settings()
    for name in {**ones, **others}:
        yield name, ones.get(name), others.get(name)


def check_unbroken(path: Path, metrics: list[Record], newest: int, every: int) -> None:
    """Raises a `ValueError` if a compiled call up to a checkpoint left no metrics.

    Args:
      path: of the metrics.
      metrics: all of them.
      newest: the step of the checkpoint.
      every: the most updates in one call.
    """
    made = [0, *sorted({entry["step"] for entry in metrics if entry["step"] <= newest})]
    longest = max((to - at for at, to in itertools.pairwise(made)), default=0)
    if made[-1] < newest or longest > every:
        raise ValueError(
            f"workdir: got {path}, which lacks updates on the way to {newest}, those "
            "of the newest checkpoint; restore that file, or use a new --workdir"
        )
