"""Callbacks: what is called at each report of a run, and three that are ready.

    train.fit("copy", callbacks=[train.JSONLines("metrics.jsonl"), print])

A callback is any function of one `Report`. If it has a method `close`, that is called
at the end of the run, also after an error.
"""

import contextlib
import dataclasses
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .runs.config import TrainConfig
from .runs.events import Events
from .runs.files import read_json, whole, whole_lines
from .runs.folder import RunFolder
from .training.devices import on_host
from .training.state import TrainState

PyTree = Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What a run says after each compiled call.

    Attributes:
      step: updates made.
      entries: what was measured since the last report: dicts with `step`, `kind`,
        `seed`, and numbers by their names. The kinds are `"train"`, the means of the
        call; `"health"`, the inside of the machine; and, when it is due,
        `"validation"`.
      params: of all machines, `[S, ...]`, arrays of NumPy.
      config: of the run.
    """

    step: int
    entries: list[dict[str, Any]]
    params: PyTree
    config: TrainConfig


Callback = Callable[[Report], object]


def call_all(
    callbacks: Sequence[Callback], run: RunFolder, states: TrainState, step: int
) -> None:
    """Calls each with the report after an update."""
    entries = run.newly_recorded()
    if not callbacks:
        return
    # Copies: the next call reuses the memory of the states.
    params = jax.tree.map(np.array, on_host(states.params))
    report = Report(step=step, entries=entries, params=params, config=run.config)
    for callback in callbacks:
        callback(report)


@contextlib.contextmanager
def closing_all(callbacks: Sequence[Callback]) -> Iterator[None]:
    """Closes at the end the callbacks that can be closed."""
    with contextlib.ExitStack() as stack:
        for callback in callbacks:
            if close := getattr(callback, "close", None):
                stack.callback(close)
        yield


class JSONLines:
    """Writes every entry as a line of JSON to a file.

    Of a file that is there, the first report keeps the lines of earlier updates. So a
    run that was killed and resumed has each entry once.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._begun = False

    def __call__(self, report: Report) -> None:
        """Adds the entries of a report."""
        if not self._begun:
            self._keep_before(report.step)
            self._begun = True
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in report.entries)

    def _keep_before(self, step: int) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = whole_lines(self._path)
        kept = [line for line in lines if self._step_of(line) < step]
        with whole(self._path) as unfinished:
            unfinished.write_bytes(b"".join(kept))

    def _step_of(self, line: bytes) -> int:
        try:
            return int(read_json(line)["step"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"path: got {self._path}, which has other lines than those of "
                "train.JSONLines, want these or a new file"
            ) from None


class TensorBoard:
    """Writes the numbers as TensorBoard events, in a folder for each seed.

    A run with a folder of its own has this already, in its `tensorboard/`.
    """

    def __init__(self, folder: str | Path) -> None:
        self._events = Events(Path(folder))
        self._begun = False

    def __call__(self, report: Report) -> None:
        """Adds the entries of a report."""
        if not self._begun:
            self._events.open(report.config.seeds(), report.step - 1)
            self._begun = True
        for entry in report.entries:
            named = numbers_of(entry)
            self._events.scalars(report.step, named, seed=entry["seed"])
        self._events.flush()

    def close(self) -> None:
        """Closes the files."""
        self._events.close()


class WandB:
    """Sends the numbers to Weights & Biases, with the config; needs the package wandb.

    The numbers of a run of several seeds have names such as `seed_1/train/loss_bits`.
    """

    def __init__(self, **init: Any) -> None:
        """Only keeps the arguments; the first report starts the run.

        Args:
          **init: of `wandb.init`, such as `project="ntm"` or `mode="offline"`. To
            continue a run, pass its `id` and `resume="allow"`.

        Raises:
          ModuleNotFoundError: without the package.
        """
        try:
            self._wandb = importlib.import_module("wandb")
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "train.WandB needs the package wandb; pip install 'ntm_jax[wandb]'",
                name="wandb",
            ) from None
        self._init = init
        self._run: Any = None

    def __call__(self, report: Report) -> None:
        """Sends the entries of a report."""
        if self._run is None:
            self._run = self._wandb.init(
                **{"config": report.config.to_dict(), **self._init}
            )
        several = report.config.num_seeds > 1
        numbers: dict[str, float] = {}
        for entry in report.entries:
            prefix = f"seed_{entry['seed']}/" if several else ""
            named = numbers_of(entry).items()
            numbers |= {prefix + name: value for name, value in named}
        self._run.log(numbers, step=report.step)

    def close(self) -> None:
        """Ends the run."""
        if self._run is not None:
            self._run.finish()


def numbers_of(entry: dict[str, Any]) -> dict[str, float]:
    """The numbers of an entry by their names, such as `train/loss_bits`."""
    about = ("step", "kind", "seed")
    return {
        f"{entry['kind']}/{name}": value
        for name, value in entry.items()
        if name not in about
    }
