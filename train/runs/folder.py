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

Of several processes that make one run, the first writes all but the checkpoints.
"""

from pathlib import Path
from typing import Any

import numpy as np
import optax

from ..cluster.together import is_writer
from ..training.state import TrainState
from . import belongs, entries, steps_before
from .beginning import begin, check_can_begin
from .commands import spelled
from .config import TrainConfig
from .evaluation import EvaluationFile
from .events import Events
from .files import check_spelling, expanded, unfinished_of, write_whole
from .given import Given
from .journal import Journal
from .presets import command
from .saved_states import Saved, SavedStates
from .schema import Record

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
        self.states = SavedStates(path, config)
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
          TypeError, ValueError: if the folder holds something else, the run cannot
            begin, a file is damaged, or there are metrics without their checkpoint.
        """
        # Another process may have begun a run there since `plan`.
        belongs.check_free(self.path, self.config)
        check_spelling("workdir", self.path.absolute())
        check_can_begin(self.config, self.optimizer)
        self.steps_before()
        newest, recorded = self.states.newest(), self.metrics()
        last = max((entry["step"] for entry in recorded), default=0)
        if newest is None and last > self.config.checkpoint_every:
            raise ValueError(
                f"workdir: got {self.path}, which has metrics up to update {last} but "
                "no checkpoint, want a whole run; use a new --workdir"
            )
        self.evaluation()
        self.answers()
        self.states.check_settings()
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
        if not is_writer():
            return
        self.claim()
        for name in _FILES:
            for unfinished in unfinished_of(self.path / name):
                unfinished.unlink()
        for unfinished in self.figures.glob("*.tmp"):
            unfinished.unlink()
        newest = self.states.newest()
        step = 0 if newest is None else newest.step
        for journal in (self._metrics, self._answers):
            journal.cut(step)
        self.events.open(self.config.seeds(), step)

    def restore(self) -> TrainState:
        """The states of the newest checkpoint.

        Without the optimizer of a run with one of its own, `opt_state` is the list of
        its arrays.

        Raises:
          ValueError: if there is no checkpoint, or it is of another optimizer.
        """
        newest = self.states.newest()
        if newest is None:
            raise ValueError(
                f"workdir: got {self.path}, which has no checkpoint yet, want a run "
                "that has been training"
            )
        states = self.states.restore(newest, self.optimizer)
        self._evaluation.check_of(states, newest.sha256)
        return states

    def save(self, states: TrainState) -> None:
        """Writes a checkpoint, named by the update of the furthest seed.

        Of several processes, each writes its part of the arrays.
        """
        journals = {
            journal.path.name: journal.mark()
            for journal in (self._metrics, self._answers)
            if is_writer()
        }
        self.states.save(states, journals)
        self.events.flush()

    def record(self, step: int, kind: str, *, seed: int, **scalars: float) -> None:
        """Adds one entry to the metrics and to the TensorBoard events."""
        entry = {"step": step, "kind": kind, "seed": seed, **scalars}
        if is_writer():
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
        newest = self.states.newest()
        metrics = self._entries(self._metrics, newest)
        if newest is not None and newest.about is None:
            # A checkpoint of 0.1 has no hash of them.
            every = self.config.steps_per_call
            belongs.check_unbroken(self._metrics.path, metrics, newest.step, every)
        return metrics

    def keep_answer(self, step: int, outputs: np.ndarray) -> None:
        """Adds the answer of the first machine as its targets keep it.

        Real numbers have three digits.
        """
        if not is_writer():
            return
        if outputs.dtype.kind == "f":
            outputs = np.round(outputs.astype(np.float64), 3)
        self._answers.add({"step": step, "outputs": outputs.tolist()})

    def answers(self) -> list[dict[str, Any]]:
        """The kept answers, each with its `step` and `outputs`.

        Raises:
          ValueError: as `metrics` does.
        """
        return self._entries(self._answers, self.states.newest())

    def _entries(self, journal: Journal, newest: Saved | None) -> list[Record]:
        """The entries of a journal, which begins as at the newest checkpoint."""
        try:
            return journal.entries(newest and newest.mark_of(journal.path.name))
        except ValueError as error:
            at = "" if newest is None else f" ({newest.path})"
            raise ValueError(f"workdir: got {error}{at}") from None

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
        if not is_writer():
            return
        newest = self.states.newest()
        self._evaluation.write(evaluation, newest and newest.sha256)

    def evaluation(self) -> list[Record] | None:
        """The evaluation of a complete run; None if it is not complete.

        Raises:
          ValueError: if its file does not hold one, or that of another checkpoint.
        """
        newest = self.states.newest()
        return self._evaluation.of_run(newest and newest.step, newest and newest.sha256)


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
