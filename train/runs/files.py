"""Files of a run: JSON that is read with care, and writes that are whole or nothing."""

import contextlib
import json
from pathlib import Path
from typing import Any


def read_json(text: str) -> Any:
    """The value in a JSON text.

    Raises:
      ValueError: if the text is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("got JSON that is nested too deeply") from None


def append(path: Path, entry: dict[str, Any]) -> None:
    """Adds a line to a file of JSON objects."""
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def entries_of(path: Path, wanted: set[str]) -> list[dict[str, Any]]:
    """The objects in a file of JSON lines that have the wanted keys."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            entry = read_json(line)
            if isinstance(entry, dict) and set(entry) >= wanted:
                entries.append(entry)
    return entries


def write_whole(path: Path, text: str) -> None:
    """Writes a file in one piece: a kill leaves the old file or the new one."""
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(text)
    unfinished.replace(path)
