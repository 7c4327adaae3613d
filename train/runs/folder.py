"""The run folder: everything that a run writes, and what it continues from.

config.json       the config of the run
steps_before.json its earlier values of --steps, if that was raised
metrics.jsonl     one object for every report on a seed: training, health, validation
answers.jsonl     at every report, the first machine's answer to one fixed sequence
checkpoints/      the newest few, each of all seeds together
evaluation.json   the evaluation of each machine; a run that has it is complete
sums.json         the hashes of evaluation.json and of the checkpoint evaluated there
figures/          figures of what was learned
tensorboard/      the metrics again, histograms and pictures, a folder for each seed
lock              names the process that is writing; removed at its end

Each checkpoint records the config and the hashes of both journals so far. Reading
checks the files against these. Folders of 0.1 have no hashes and are checked as far as
possible.
"""

from pathlib import Path
from typing import Any

import numpy as np
import optax

from ..training.devices import spread
from ..training.footprint import check_memory
from ..training.learned import check_learn
from ..training.optimizer import make_optimizer
from ..training.state import TrainState, mesh_of
from . import belongs, entries, pretrained, steps_before
from .beginning import as_saved, as_used, begin, template
from .checkpoint import SHA256, Checkpoints
from .commands import spelled
from .config import TrainConfig
from .evaluation import EvaluationFile
from .events import Events
from .files import check_spelling, expanded, unfinished_of, write_whole
from .given import Given
from .journal import Journal
from .model_check import check_model
from .presets import command
from .schema import Record
from .task_check import check_task

PyTree = Any
# What only the run itself writes, each as a whole.
_FILES = (
    *("config.json", steps_before.NAME, "metrics.jsonl", "answers.jsonl"),
    *("evaluation.json", "sums.json"),
)


class RunFolder:
    """The folder of one run."""

    def __init__(
        self,
        path: Path,
        config: TrainConfig,
        optimizer: optax.GradientTransformation | None = None,
        params: PyTree = None,
    ) -> None:
        """The folder at that path.

        Args:
          path: of the folder.
          config: of the run.
          optimizer: that of a run with one of its own.
          params: of one machine, to start from; `config.init_from` has their hash.
        """
        self.path = path
        self.config = config
        self.optimizer = optimizer
        self.given: Given | None = None
        self._params = params
        self._recorded: list[Record] = []
        self.figures = path / "figures"
        self._metrics = Journal(path / "metrics.jsonl", entries.metric_check(config))
        self._answers = Journal(path / "answers.jsonl", entries.answer_check(config))
        self._evaluation = EvaluationFile(path, config)
        self._steps_before = path / steps_before.NAME
        self._checkpoints = Checkpoints(path / "checkpoints", belongs.ABOUT)
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
                f"{spelled('python -m train.main')} makes one"
            )
        return cls(path, TrainConfig.from_json(path / "config.json"))

    @classmethod
    def plan(
        cls,
        path: Path,
        config: TrainConfig,
        optimizer: optax.GradientTransformation | None = None,
        params: PyTree = None,
    ) -> "RunFolder":
        """A new run in that folder, or the run that is there if its config is the same.

        The config can have more `steps` than the run: the run then continues from its
        last checkpoint, complete or not, with the learning rate of the longer run.
        Nothing is written before `start`. The other arguments are those of the class.

        Raises:
          ValueError: if the folder holds something else.
        """
        belongs.check_free(path, config)
        return cls(path, config, optimizer, params)

    @classmethod
    def create(cls, path: Path, config: TrainConfig) -> "RunFolder":
        """As `plan`, with the config written.

        Raises:
          ValueError: if the folder holds something else, which is not touched.
        """
        run = cls.plan(path, config)
        run.claim()
        return run

    def claim(self) -> None:
        """Writes the config, unless it is there; raises the steps of a shorter run."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self.is_longer():
            steps = RunFolder.open(self.path).config.steps
            self._evaluation.path.unlink(missing_ok=True)
            steps_before.write(self._steps_before, [*self.steps_before(), steps])
        elif (self.path / "config.json").exists():
            return
        write_whole(self.path / "config.json", self.config.to_json())

    def is_longer(self) -> bool:
        """Whether the config has more steps than the run in the folder, if any."""
        if not (self.path / "config.json").exists():
            return False
        return RunFolder.open(self.path).config.steps < self.config.steps

    def result(self) -> list[Record] | None:
        """The evaluation of a run with nothing left to do; None if something is.

        Raises:
          ValueError: as `evaluation` does.
        """
        return None if self.is_longer() else self.evaluation()

    def steps_before(self) -> list[int]:
        """The earlier values of --steps of this run, in order.

        Raises:
          ValueError: if their file is damaged.
        """
        return steps_before.read(self._steps_before, self.config)

    def command(self) -> str:
        """The command that makes the same run."""
        return command(self.config, self.steps_before())

    def load(self) -> TrainState:
        """The states to start from: those of the newest checkpoint, or initial ones.

        Reads all that the run goes on from, and writes nothing. `given` then has the
        parameters that a new run starts from.

        Raises:
          ValueError: if there are metrics but their checkpoint is missing, a file is
            damaged, or the run needs more memory than there is.
        """
        check_spelling("workdir", self.path.absolute())
        check_task(self.config)
        check_model(self.config)
        make_optimizer(self.config, self.optimizer)  # checks that there is one
        check_memory(self.config, self.optimizer)
        if self.config.learn is not None:
            check_learn(self.config, pretrained.shapes_of_params(self.config))
        self.steps_before()
        newest, recorded = self._checkpoints.latest_step(), self.metrics()
        last = max((entry["step"] for entry in recorded), default=0)
        if newest is None and last > self.config.checkpoint_every:
            raise ValueError(
                f"workdir: got {self.path}, which has metrics up to update {last} but "
                "no checkpoint, want a whole run; use a new --workdir"
            )
        self.evaluation()
        self.answers()
        self.check_settings()
        if newest is not None:
            return self.restore()
        states, self.given = begin(
            self.config,
            self.optimizer,
            self._params,
            lambda path: RunFolder.open(path, "init_from").restore(),
        )
        return states

    def start(self) -> None:
        """Writes the config and drops the entries after the newest checkpoint.

        They will be recorded again. What a kill left unfinished is removed.
        """
        self.claim()
        for name in _FILES:
            for unfinished in unfinished_of(self.path / name):
                unfinished.unlink()
        step = self._checkpoints.latest_step() or 0
        for journal in (self._metrics, self._answers):
            journal.cut(step)
        self.events.open(self.config.seeds(), step)

    def check_settings(self) -> None:
        """Raises a `ValueError` if JAX now computes other numbers than the run's."""
        newest, about = self._checkpoints.latest_step(), self._about_newest()
        if newest is not None and about:
            belongs.check_settings(self._checkpoints.path(newest), about)

    def _about_newest(self) -> Record | None:
        """What the newest checkpoint tells; None without one, or for one of 0.1.

        Raises:
          ValueError: if it is not of the run whose config is in the folder.
        """
        newest = self._checkpoints.latest_step()
        about = None if newest is None else self._checkpoints.about(newest)
        if newest is not None and about is not None:
            path = self._checkpoints.path(newest)
            on_disk = RunFolder.open(self.path)  # this one may have more steps
            belongs.check_made_by(path, about, on_disk.config, on_disk.steps_before())
        return about

    def _hash_newest(self) -> str | None:
        """The hash of the newest checkpoint, if it has one."""
        about = self._about_newest()
        return about[SHA256] if about else None

    def _entries(self, journal: Journal) -> list[Record]:
        """The entries of a journal, which begins as at the newest checkpoint."""
        about, newest = self._about_newest(), self._checkpoints.latest_step()
        try:
            marked = about and about["journals"][journal.path.name]
            return journal.entries(marked or None)
        except ValueError as error:
            at = "" if newest is None else f" ({self._checkpoints.path(newest)})"
            raise ValueError(f"workdir: got {error}{at}") from None

    def restore(self) -> TrainState:
        """The states of the newest checkpoint.

        Without the optimizer of a run with one of its own, `opt_state` is the list of
        its arrays.

        Raises:
          ValueError: if there is no checkpoint, or it is of another optimizer.
        """
        step = self._checkpoints.latest_step()
        if step is None:
            raise ValueError(
                f"workdir: got {self.path}, which has no checkpoint yet, want a run "
                "that has been training"
            )
        path, its_hash = self._checkpoints.path(step), self._hash_newest()
        shapes = template(self.config, lambda: self._checkpoints.shapes(step))
        states = self._checkpoints.restore(step, shapes)
        if int(states.step.max()) != step:
            raise ValueError(
                f"workdir: got {path}, which holds the state after update "
                f"{states.step.max()}; rename the folder to {states.step.max()}"
            )
        self._evaluation.check_of(states, its_hash)
        states = as_used(self.config, states, self.optimizer, path)
        return spread(states, mesh_of(self.config))

    def save(self, states: TrainState) -> None:
        """Writes a checkpoint, named by the update of the furthest seed."""
        step = int(states.step.max())
        journals = {
            journal.path.name: journal.mark()
            for journal in (self._metrics, self._answers)
        }
        about = belongs.about(self.config, self.steps_before(), journals)
        self._checkpoints.save(step, as_saved(self.config, states), about)
        self.events.flush()

    def record(self, step: int, kind: str, *, seed: int, **scalars: float) -> None:
        """Adds one entry to the metrics and to the TensorBoard events."""
        entry = {"step": step, "kind": kind, "seed": seed, **scalars}
        self._metrics.add(entry)
        self._recorded.append(entry)
        named = {f"{kind}/{name}": value for name, value in scalars.items()}
        self.events.scalars(step, named, seed=seed)

    def newly_recorded(self) -> list[Record]:
        """The entries that were recorded since the last call of this method."""
        entries, self._recorded = self._recorded, []
        return entries

    def metrics(self) -> list[dict[str, Any]]:
        """All recorded metrics; a last line that a kill cut short is left out.

        Raises:
          ValueError: for a damaged line, or if they do not lead to the checkpoint.
        """
        metrics = self._entries(self._metrics)
        newest = self._checkpoints.latest_step()
        if newest is not None and self._about_newest() is None:
            # A checkpoint of 0.1 has no hash of them.
            every = self.config.steps_per_call
            belongs.check_unbroken(self._metrics.path, metrics, newest, every)
        return metrics

    def keep_answer(self, step: int, outputs: np.ndarray) -> None:
        """Adds the answer of the first machine, `[T, O]`, to three digits."""
        outputs = np.round(outputs.astype(np.float64), 3)
        self._answers.add({"step": step, "outputs": outputs.tolist()})

    def answers(self) -> list[dict[str, Any]]:
        """The kept answers, each with its `step` and `outputs`.

        Raises:
          ValueError: as `metrics` does.
        """
        return self._entries(self._answers)

    def seconds(self, seed: int) -> int:
        """The duration of the calls in which that seed learned."""
        calls = (
            entry.get("seconds", 0)
            for entry in self.metrics()
            if entry["kind"] == "train" and entry["seed"] == seed
        )
        return round(sum(calls))

    def finish(self, evaluation: list[Record]) -> None:
        """Writes the evaluation, which makes the run complete."""
        self._evaluation.write(evaluation, self._hash_newest())

    def evaluation(self) -> list[Record] | None:
        """The evaluation of a complete run; None if it is not complete.

        Raises:
          ValueError: if its file does not hold one, or that of another checkpoint.
        """
        newest = self._checkpoints.latest_step()
        return self._evaluation.of_run(newest, self._hash_newest())


def open_complete(path: Path) -> tuple[RunFolder, list[dict[str, Any]]]:
    """The run in that folder and its evaluation.

    Raises:
      ValueError: if there is no run, or it is not complete.
    """
    run = RunFolder.open(expanded(path, "workdir"))
    evaluation = run.evaluation()
    if evaluation is None:
        raise ValueError(
            f"workdir: got {run.path}, want a complete run; continue it with "
            f"{command(run.config, workdir=str(run.path))}"
        )
    return run, evaluation
