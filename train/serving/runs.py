"""The runs below a folder, and the files of each. Nothing outside is ever read."""

import os
import time
from pathlib import Path
from typing import Any

from ..runs import schema
from ..runs.entries import any_metric_check
from ..runs.files import read_json
from .refused import damaged, missing
from .tail import Tail

# How deep runs may lie, and how many are shown: more than anybody looks at.
_DEEPEST = 4
_MOST = 1000
# How long a list of the runs is good for, in seconds.
_GOOD_FOR = 1.0


class Run:
    """One run folder.

    Attributes:
      name: the path within the served folder; "" for that folder itself.
      path: of the folder.
      metrics: the entries of `metrics.jsonl`.
      answers: those of `answers.jsonl`.
    """

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.path = root / name
        self._real = root.resolve()
        self._config: tuple[Any, dict[str, Any]] | None = None
        self.metrics = Tail(lambda: self.file("metrics.jsonl"), any_metric_check)
        # Large, where a task has many outputs.
        self.answers = Tail(
            lambda: self.file("answers.jsonl"), _answer_check, kept=False
        )

    def file(self, name: str) -> Path:
        """The path of a file of the run that exists.

        Raises:
          RefusedError: if it does not, or leads out of the served folder.
        """
        path = self.path / name
        if not path.exists():
            self.check_there()
            raise missing(f"{name}: not there yet")
        if not path.resolve().is_relative_to(self._real):
            raise missing(f"{name}: leads out of the folder that is served")
        return path

    def has(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return (self.path / name).is_file()

    def seconds_since(self, name: str) -> float:
        """How long ago a file was last written."""
        return max(0.0, time.time() - self.file(name).stat().st_mtime)

    def check_there(self) -> None:
        """Raises a `RefusedError` if the folder is no run, or no longer."""
        if not self.has("config.json"):
            raise missing(f"run: got {self.title()}, which is not there, or not yet")

    def title(self) -> str:
        """The name of the folder."""
        return self.name or self.path.resolve().name

    def config(self) -> dict[str, Any]:
        """The run's settings, as in its `config.json`.

        Raises:
          RefusedError: if they are not there, or not those of a run.
        """
        path = self.file("config.json")
        try:
            found = path.stat()
            known = found.st_ino, found.st_size, found.st_mtime
            if self._config is None or self._config[0] != known:
                config = read_json(path.read_bytes())
                schema.check_record("", config, {"task": schema.text})
                self._config = known, config
        except (TypeError, ValueError) as error:
            raise damaged(f"config.json: {error}") from None
        except OSError as error:
            raise missing(f"config.json: cannot be read: {error.strerror}") from None
        return self._config[1]

    def checkpoints(self) -> list[int]:
        """The steps of the checkpoints on disk, in order."""
        folder = self.path / "checkpoints"
        if not folder.is_dir() or not folder.resolve().is_relative_to(self._real):
            return []
        try:
            names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
        except OSError:  # removed just now
            return []
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def stays_inside(self, step: int) -> bool:
        """Whether no link within a checkpoint leads out of the served folder."""
        paths = [self.path, *(self.path / "checkpoints" / str(step)).rglob("*")]
        return all(path.resolve().is_relative_to(self._real) for path in paths)


class Runs:
    """All runs in a folder: that one itself, or those below it."""

    def __init__(self, root: Path, *, single: bool) -> None:
        """The runs.

        Args:
          root: the folder.
          single: whether it is, or will be, the folder of one run.
        """
        self.root = root
        self.single = single
        self._runs: dict[str, Run] = {"": Run(root, "")} if single else {}
        self._found_at = -_GOOD_FOR

    def all(self) -> dict[str, Run]:
        """The runs by their names, which are paths within the folder."""
        if not self.single and time.monotonic() - self._found_at > _GOOD_FOR:
            names = names_below(self.root)
            old = self._runs
            self._runs = {name: old.get(name) or Run(self.root, name) for name in names}
            self._found_at = time.monotonic()
        return self._runs

    def get(self, name: str) -> Run:
        """The run of that name; a path that is no run's name leads nowhere.

        Raises:
          RefusedError: if there is none.
        """
        run = self.all().get(name)
        if run is None:
            raise missing(f"run: got {schema.short(name)}, want one of /api/runs")
        return run


def names_below(root: Path) -> list[str]:
    """The run folders below a folder, without following links, as paths within it."""
    names: list[str] = []
    for folder, below, files in os.walk(root):
        place = Path(folder).relative_to(root)
        if "config.json" in files and folder != str(root):
            names.append(place.as_posix())
            below.clear()
        elif len(place.parts) >= _DEEPEST:
            below.clear()
        if len(names) >= _MOST:
            break
    return sorted(names)


def _answer_check(name: str, value: Any) -> None:
    schema.check_record(name, value, {"outputs": schema.list_of(_row)})


def _row(name: str, value: Any) -> None:
    """The outputs of a step, or its category."""
    check = schema.list_of(schema.number) if isinstance(value, list) else schema.number
    check(name, value)
