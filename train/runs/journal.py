"""A journal: a file of JSON lines that only grows, and what it held at a checkpoint."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from . import schema
from .files import read_json, whole, whole_lines
from .schema import Check, Record

# What a journal held at a checkpoint: its first lines, and their hash.
MARK = {"lines": schema.count, "sha256": schema.text}
_RESTORE = "restore that file, or use a new --workdir"


class Journal:
    """The entries in a file, each a JSON object with its `step`, in the order of steps.

    A kill can cut the last line short. Such a line does not count.
    """

    def __init__(self, path: Path, check: Check) -> None:
        self.path = path
        self._check = check
        self._lines = 0
        # Of all lines so far, so that a mark costs nothing; None before the first use.
        self._hash: Any = None

    def add(self, entry: Record) -> None:
        """Adds an entry at the end."""
        line = (json.dumps(entry) + "\n").encode()
        self._start_hash()
        with self.path.open("ab") as file:
            file.write(line)
        self._hash.update(line)
        self._lines += 1

    def mark(self) -> Record:
        """What the file holds now, which is then safely on the disk."""
        self._start_hash()
        if self.path.exists():
            with self.path.open("ab") as file:
                os.fsync(file.fileno())
        return {"lines": self._lines, "sha256": self._hash.hexdigest()}

    def entries(self, mark: Record | None = None) -> list[Record]:
        """All entries.

        Args:
          mark: of the newest checkpoint; None checks each line by itself only.

        Raises:
          ValueError: for a line that is not an entry, and if the first lines are not
            those that were marked.
        """
        lines = whole_lines(self.path)
        entries = []
        for i, line in enumerate(lines):
            try:
                entry = read_json(line)
                schema.check_record("", entry, {"step": schema.count})
                self._check("", entry)
            except (TypeError, ValueError) as error:
                remedy = (
                    _RESTORE
                    if mark is None or i < mark["lines"]
                    else "delete this line and all after it; the run records them again"
                )
                raise ValueError(
                    f"{self.path}, line {i + 1}: {error}; {remedy}"
                ) from None
            entries.append(entry)
        if mark is not None:
            marked = lines[: mark["lines"]]
            if len(marked) < mark["lines"]:
                raise ValueError(
                    f"{self.path}: got {len(marked)} lines, want the {mark['lines']} "
                    f"of the newest checkpoint; {_RESTORE}"
                )
            if _hash_of(marked).hexdigest() != mark["sha256"]:
                raise ValueError(
                    f"{self.path}: got other lines than the {mark['lines']} of the "
                    f"newest checkpoint; {_RESTORE}"
                )
        return entries

    def cut(self, step: int) -> None:
        """Drops the entries after a step, which will be made again."""
        kept = [
            line for line in whole_lines(self.path) if read_json(line)["step"] <= step
        ]
        content = b"".join(kept)
        if not self.path.exists() or self.path.read_bytes() != content:
            with whole(self.path) as unfinished:
                unfinished.write_bytes(content)
        self._hash, self._lines = _hash_of(kept), len(kept)

    def _start_hash(self) -> None:
        if self._hash is None:
            lines = whole_lines(self.path)
            self._hash, self._lines = _hash_of(lines), len(lines)


def _hash_of(lines: list[bytes]) -> Any:
    return hashlib.sha256(b"".join(lines))
