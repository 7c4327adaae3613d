"""The run folder: everything that a run writes, and what it continues from.

config.json       the config of the run
steps_before.json its earlier values of --steps, if that was raised
metrics.jsonl     one object for every report on a seed: training, health, validation
answers.jsonl     at every report, the first machine's answer to one fixed sequence
checkpoints/      the newest few, each of all seeds together
evaluation.json   the evaluation of each machine; a run that has it is complete
figures/          figures of what was learned
tensorboard/      the metrics again, histograms and pictures, a folder for each seed
"""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import jax
import numpy as np

from train.runs.checkpoint import Checkpoints
from train.runs.config import TrainConfig
from train.runs.events import Events
from train.runs.files import append, entries_of, read_json, write_whole
from train.runs.presets import command
from train.training.devices import spread
from train.training.state import TrainState, init_states, mesh_of

# What a run can leave that is killed while it starts.
_UNFINISHED = {"config.json.tmp"}
# The keys of every entry of an evaluation, beside its machine and difficulty.
_WANTED = {
    "step",
    "solved_at",
    "diverged_at",
    "num_sequences",
    "error_per_sequence",
    "wrong_bits_per_sequence",
    "perfect_fraction",
}


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path, config: TrainConfig) -> None:
        self.path = path
        self.config = config
        self.figures = path / "figures"
        self._metrics = path / "metrics.jsonl"
        self._answers = path / "answers.jsonl"
        self._evaluation = path / "evaluation.json"
        self._steps_before = path / "steps_before.json"
        self._checkpoints = Checkpoints(path / "checkpoints")
        self.events = Events(path / "tensorboard")

    @classmethod
    def open(cls, path: Path, flag: str = "workdir") -> "RunFolder":
        """The run in that folder, which was given by that flag.

        Raises:
          ValueError: if there is none.
        """
        if not (path / "config.json").is_file():
            raise ValueError(
                f"{flag}: got {path}, want the folder of a run, with a config.json; "
                "python -m train.main makes one"
            )
        return cls(path, TrainConfig.from_json(path / "config.json"))

    @classmethod
    def create(cls, path: Path, config: TrainConfig) -> "RunFolder":
        """A new run in that folder, or the run that is there if its config is the same.

        The config can have more `steps` than the run: the run then continues from its
        last checkpoint, complete or not, with the learning rate of the longer run.

        Raises:
          ValueError: if the folder holds something else, which is not touched, or
            cannot be written.
        """
        check_free(path, config)
        run = cls(path, config)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not (path / "config.json").exists():
                write_whole(path / "config.json", config.to_json())
            else:
                run.lengthen(cls.open(path).config.steps)
        except OSError as error:
            raise ValueError(
                f"workdir: got {path}, want a folder that can be written to: "
                f"{error.strerror}"
            ) from None
        return run

    def lengthen(self, steps: int) -> None:
        """Raises the steps of a run to those of the config."""
        if steps < self.config.steps:
            before = sorted({*self.steps_before(), steps})
            self._evaluation.unlink(missing_ok=True)
            write_whole(self._steps_before, json.dumps(before))
            write_whole(self.path / "config.json", self.config.to_json())

    def steps_before(self) -> list[int]:
        """The earlier values of --steps of this run, in order.

        Raises:
          ValueError: if their file is damaged.
        """
        if not self._steps_before.exists():
            return []
        try:
            return [int(steps) for steps in read_json(self._steps_before.read_text())]
        except (TypeError, ValueError):
            raise ValueError(
                f"workdir: got {self._steps_before}, which is damaged"
            ) from None

    def command(self) -> str:
        """The command that makes the same run."""
        return command(self.config, self.steps_before())

    def start(self) -> TrainState:
        """The states to start from: those of the newest checkpoint, or initial ones.

        Entries after that checkpoint are dropped: they will be recorded again.

        Raises:
          ValueError: if there are metrics but their checkpoint is missing.
        """
        newest, recorded = self._checkpoints.latest_step(), self.metrics()
        last = max((entry["step"] for entry in recorded), default=0)
        if newest is None and last > self.config.checkpoint_every:
            raise ValueError(
                f"workdir: got {self.path}, which has metrics up to update {last} but "
                "no checkpoint, want a whole run; use a new --workdir"
            )
        states = init_states(self.config) if newest is None else self.restore()
        step = newest or 0
        for path, entries in (
            (self._metrics, recorded),
            (self._answers, self.answers()),
        ):
            kept = [json.dumps(entry) for entry in entries if entry["step"] <= step]
            write_whole(path, "".join(line + "\n" for line in kept))
        self.events.open(self.config.seeds(), step)
        return states

    def restore(self) -> TrainState:
        """The states of the newest checkpoint.

        Raises:
          ValueError: if there is no checkpoint.
        """
        step = self._checkpoints.latest_step()
        if step is None:
            raise ValueError(
                f"workdir: got {self.path}, which has no checkpoint yet, want a run "
                "that has been training"
            )
        template = jax.eval_shape(lambda: init_states(self.config))
        return spread(self._checkpoints.restore(step, template), mesh_of(self.config))

    def save(self, states: TrainState) -> None:
        """Writes a checkpoint, named by the update of the furthest seed."""
        self._checkpoints.save(int(states.step.max()), states)

    def record(self, step: int, kind: str, *, seed: int, **scalars: float) -> None:
        """Adds one entry to the metrics and to the TensorBoard events."""
        append(self._metrics, {"step": step, "kind": kind, "seed": seed, **scalars})
        named = {f"{kind}/{name}": value for name, value in scalars.items()}
        self.events.scalars(step, named, seed=seed)

    def metrics(self) -> list[dict[str, Any]]:
        """All recorded metrics; a line that a kill cut short is skipped."""
        return entries_of(self._metrics, {"step", "kind", "seed"})

    def keep_answer(self, step: int, outputs: np.ndarray) -> None:
        """Adds the answer of the first machine, `[T, O]`, to three digits."""
        outputs = np.round(outputs.astype(np.float64), 3)
        append(self._answers, {"step": step, "outputs": outputs.tolist()})

    def answers(self) -> list[dict[str, Any]]:
        """The kept answers, each with its `step` and `outputs`."""
        return entries_of(self._answers, {"step", "outputs"})

    def seconds(self, seed: int) -> int:
        """The duration of the calls in which that seed learned."""
        calls = (
            entry.get("seconds", 0)
            for entry in self.metrics()
            if entry["kind"] == "train" and entry["seed"] == seed
        )
        return round(sum(calls))

    def finish(self, evaluation: list[dict[str, Any]]) -> None:
        """Writes the evaluation, which makes the run complete."""
        write_whole(self._evaluation, json.dumps(evaluation, indent=2) + "\n")
        self.events.close()

    def evaluation(self) -> list[dict[str, Any]] | None:
        """The evaluation of a complete run; None if it is not complete.

        Raises:
          ValueError: if its file does not hold one.
        """
        if not self._evaluation.exists():
            return None
        task = self.config.make_task()
        wanted = [
            (seed, *(trial[name] for name in task.difficulty))
            for seed in self.config.seeds()
            for trial in task.trials()
        ]
        try:
            entries = read_json(self._evaluation.read_text())
            found = [
                (entry["machine"], *(entry[name] for name in task.difficulty))
                for entry in entries
                if set(entry) >= _WANTED
            ]
            whole = Counter(found) == Counter(wanted) and len(found) == len(entries)
        except (KeyError, TypeError, ValueError):
            entries, whole = [], False
        if not whole:
            raise ValueError(
                f"workdir: got {self._evaluation}, which is damaged, or has other "
                "trials than this version; delete it, and the same command evaluates "
                "the run again"
            )
        return entries


def open_complete(path: Path) -> tuple[RunFolder, list[dict[str, Any]]]:
    """The run in that folder and its evaluation.

    Raises:
      ValueError: if there is no run, or it is not complete.
    """
    run = RunFolder.open(path.expanduser())
    evaluation = run.evaluation()
    if evaluation is None:
        raise ValueError(
            f"workdir: got {run.path}, want a complete run; continue it with "
            f"{command(run.config, workdir=str(run.path))}"
        )
    return run, evaluation


def check_free(path: Path, config: TrainConfig) -> None:
    """Raises a `ValueError` unless a run of that config is there, or nothing is."""
    if (path / "config.json").exists():
        check_same(path, old=RunFolder.open(path).config, new=config)
    elif path.is_dir() and {file.name for file in path.iterdir()} - _UNFINISHED:
        raise ValueError(
            f"workdir: got {path}, which holds files of something else, want an empty "
            "or a new folder"
        )


def check_same(path: Path, *, old: TrainConfig, new: TrainConfig) -> None:
    """Raises a `ValueError` that names the first field in which two configs differ.

    The new config can have more steps.
    """
    for field in dataclasses.fields(TrainConfig):
        was, wanted = getattr(old, field.name), getattr(new, field.name)
        more_is_right = field.name == "steps"
        if was != wanted and not (more_is_right and wanted > was):
            raise ValueError(
                f"{field.name}: got {wanted!r}, but the run in {path} has {was!r}. A "
                "run's settings are fixed, except that you can raise --steps to "
                "continue it. To change anything else, use a new --workdir."
            )
