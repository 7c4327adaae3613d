"""A journal that another process writes, read as it grows."""

import bisect
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..runs import schema
from ..runs.files import read_json
from ..runs.schema import Check, Record
from .refused import RefusedError, damaged, missing

# How a line begins that a run has written.
_STEP = re.compile(rb'\{"step": (\d{1,10}),')


class Entry(NamedTuple):
    """A line of a journal, with null for the numbers that JSON does not have.

    Attributes:
      step: its update.
      text: the line as JSON that browsers read.
      record: what it says.
      place: of its first byte in the file.
    """

    step: int
    text: str
    record: Record
    place: int


class Tail:
    """The entries of a journal so far. Each byte is read once.

    A last line without its end is still being written and does not count yet. A run
    that continues from a checkpoint replaces the file; the entries then start anew.

    Attributes:
      replaced: how often the file was replaced. Whoever keeps entries drops them if
        this number changes.
    """

    def __init__(
        self, path: Callable[[], Path], check: Check, *, kept: bool = True
    ) -> None:
        """The journal.

        Args:
          path: returns its path, or raises `RefusedError`.
          check: of one entry.
          kept: whether entries stay in memory. If not, they have only a step and a
            place, and `at` reads and checks the rest.
        """
        self._path = path
        self._check = check
        self._kept = kept
        self._file: tuple[int, int] | None = None
        self._known = (0, 0.0)  # its size and its time when it was last read
        self.replaced = 0
        self._start_again()

    def since(self, step: int = -1) -> list[Entry]:
        """The entries after a step, in order.

        Raises:
          RefusedError: for a file that is not there, cannot be read, or is damaged.
        """
        self._read()
        if self._problem is not None:
            raise self._problem
        return self._entries[bisect.bisect_right(self._entries, step, key=_step) :]

    def at(self, step: int) -> Record | None:
        """The first entry of that step; None if there is none.

        Raises:
          RefusedError: as `since` does.
        """
        after = self.since(step - 1)
        if not after or after[0].step != step:
            return None
        if self._kept:
            return after[0].record
        number, path = len(self._entries) - len(after) + 1, self._path()
        try:
            with path.open("rb") as content:
                content.seek(after[0].place)
                return finite(self._checked(content.readline()))
        except OSError as error:
            raise missing(f"{path.name}: cannot be read: {error.strerror}") from None
        except (TypeError, ValueError) as error:
            raise damaged(f"{path.name}, line {number}: {error}") from None

    def _start_again(self) -> None:
        self._offset = 0
        self._entries: list[Entry] = []
        self._problem: RefusedError | None = None

    def _read(self) -> None:
        path = self._path()
        try:
            found = path.stat()
            file, known = (found.st_dev, found.st_ino), (found.st_size, found.st_mtime)
            if file == self._file and known == self._known:
                return
            mended = self._problem is not None
            if file != self._file or found.st_size < self._offset or mended:
                self.replaced += self._file is not None
                self._start_again()
            with path.open("rb") as content:
                content.seek(self._offset)
                for line in content:
                    if line.endswith(b"\n") and self._problem is None:
                        self._add(path, line)
        except OSError as error:
            self._file = None
            self._start_again()
            raise missing(f"{path.name}: cannot be read: {error.strerror}") from None
        self._file, self._known = file, known

    def _add(self, path: Path, line: bytes) -> None:
        try:
            quick = None if self._kept else _STEP.match(line)
            record = {"step": int(quick[1])} if quick else self._checked(line)
            last = self._entries[-1].step if self._entries else 0
            if record["step"] < last:
                raise ValueError(f"step: got {record['step']} after {last}, want more")
        except (TypeError, ValueError) as error:
            number = len(self._entries) + 1
            self._problem = damaged(f"{path.name}, line {number}: {error}")
            return
        text = ""
        if self._kept:
            record = finite(record)
            text = json.dumps(record, separators=(",", ":"))
        self._entries.append(Entry(record["step"], text, record, self._offset))
        self._offset += len(line)

    def _checked(self, line: bytes) -> Record:
        record = read_json(line)
        schema.check_record("", record, {"step": schema.count})
        self._check("", record)
        return record


def _step(entry: Entry) -> int:
    return entry.step


def finite(value: Any) -> Any:
    """A JSON value with null for the numbers that JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [finite(element) for element in value]
    if isinstance(value, dict):
        return {name: finite(element) for name, element in value.items()}
    return value
