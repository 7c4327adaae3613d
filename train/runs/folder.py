"""The run folder: all that a run leaves behind, and what it goes on from.

config.json       what was asked for
steps_before.json with how many --steps it was started before, where it got more
metrics.jsonl     one object for every report on a seed: training, health, validation
answers.jsonl     at every report, what the first machine says to one sequence
checkpoints/      the newest few, of all seeds together
evaluation.json   how well each machine does; its presence says the run is complete
figures/          pictures of what was learned
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
from train.training.devices import spread
from train.training.state import TrainState, init_states, mesh_of
from train.runs.presets import command

# What a run that was killed as it started may have left.
_UNFINISHED = {"config.json.tmp"}
# What is read of every entry of an evaluation, beside its machine and difficulty.
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
        """The run that is in that folder, which came by that flag.

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
        """A new run in that folder, or the one that is there if it is the same.

        One that is there may get more `steps`: it goes on from its last checkpoint,
        complete or not, with the learning rate that a run of so many has there.

        Raises:
          ValueError: if something else is there, which is not touched then, or the
            folder cannot be written.
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
                f"workdir: got {path}, want a folder that I may write to: "
                f"{error.strerror}"
            ) from None
        return run

    def lengthen(self, steps: int) -> None:
        """Makes a run of so many steps one of as many as the config has."""
        if steps < self.config.steps:
            before = sorted({*self.steps_before(), steps})
            self._evaluation.unlink(missing_ok=True)
            write_whole(self._steps_before, json.dumps(before))
            write_whole(self.path / "config.json", self.config.to_json())

    def steps_before(self) -> list[int]:
        """With how many it was started before it got as many as it has.

        Raises:
          ValueError: if the file of them is damaged.
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
        """What to type for the same run."""
        return command(self.config, self.steps_before())

    def start(self) -> TrainState:
        """The states to train on from: the newest checkpoint's, or fresh ones.

        What was recorded after that checkpoint is dropped, as it will come again.
        """
        newest, recorded = self._checkpoints.latest_step(), self.metrics()
        last = max((entry["step"] for entry in recorded), default=0)
        if newest is None and last > self.config.checkpoint_every:
            raise ValueError(
                f"workdir: got {self.path}, which has metrics up to update {last} but "
                "no checkpoint, want a whole run or another folder"
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
        """Writes a checkpoint, named by the furthest seed's update."""
        self._checkpoints.save(int(states.step.max()), states)

    def record(self, step: int, kind: str, *, seed: int, **scalars: float) -> None:
        """Adds one entry to the metrics and to the TensorBoard events."""
        append(self._metrics, {"step": step, "kind": kind, "seed": seed, **scalars})
        named = {f"{kind}/{name}": value for name, value in scalars.items()}
        self.events.scalars(step, named, seed=seed)

    def metrics(self) -> list[dict[str, Any]]:
        """All that was recorded; a line that a kill cut short does not count."""
        return entries_of(self._metrics, {"step", "kind", "seed"})

    def keep_answer(self, step: int, outputs: np.ndarray) -> None:
        """Adds what the first machine says, `[T, O]`, to three digits."""
        outputs = np.round(outputs.astype(np.float64), 3)
        append(self._answers, {"step": step, "outputs": outputs.tolist()})

    def answers(self) -> list[dict[str, Any]]:
        """What was kept of them: each a `step` and its `outputs`."""
        return entries_of(self._answers, {"step", "outputs"})

    def seconds(self, seed: int) -> int:
        """That the calls took in which that seed learned."""
        calls = (
            entry.get("seconds", 0)
            for entry in self.metrics()
            if entry["kind"] == "train" and entry["seed"] == seed
        )
        return round(sum(calls))

    def finish(self, evaluation: list[dict[str, Any]]) -> None:
        """Keeps the evaluation, which makes the run complete."""
        write_whole(self._evaluation, json.dumps(evaluation, indent=2) + "\n")
        self.events.close()

    def evaluation(self) -> list[dict[str, Any]] | None:
        """The evaluation of a complete run, else None.

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
                f"workdir: got {self._evaluation}, which is damaged, or of other "
                "trials than today's; without it, the same command evaluates again"
            )
        return entries


def open_complete(path: Path) -> tuple[RunFolder, list[dict[str, Any]]]:
    """The run in that folder, which must be complete, and its evaluation.

    Raises:
      ValueError: if there is none, or it has not come to its end.
    """
    run = RunFolder.open(path.expanduser())
    evaluation = run.evaluation()
    if evaluation is None:
        raise ValueError(
            f"workdir: got {run.path}, want a complete run; the same command of "
            "train.main goes on with it"
        )
    return run, evaluation


def check_free(path: Path, config: TrainConfig) -> None:
    """Raises a `ValueError` unless a run of that config is there, or nothing is."""
    if (path / "config.json").exists():
        check_same(path, old=RunFolder.open(path).config, new=config)
    elif path.is_dir() and {file.name for file in path.iterdir()} - _UNFINISHED:
        raise ValueError(
            f"workdir: got {path}, which holds other files than a run's, want an "
            "empty or a new folder"
        )


def check_same(path: Path, *, old: TrainConfig, new: TrainConfig) -> None:
    """Raises a `ValueError` that names the first field in which two configs differ.

    There may be more steps.
    """
    for field in dataclasses.fields(TrainConfig):
        was, wanted = getattr(old, field.name), getattr(new, field.name)
        more_is_right = field.name == "steps"
        if was != wanted and not (more_is_right and wanted > was):
            raise ValueError(
                f"{field.name}: got {wanted!r}, but the run in {path} has {was!r}; "
                f"give {'as many or more' if more_is_right else 'the same value'} to "
                "go on with it, or another --workdir"
            )
