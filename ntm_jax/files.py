"""Files: JSON that is read with care, and writes that are whole or nothing."""

import contextlib
import glob
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

_SYSTEMS_WORDS = (
    "PERMISSION_DENIED",
    "Permission denied",
    "RESOURCE_EXHAUSTED",
    "Too many open files",
    "Input/output error",
)


def read_json(text: str | bytes) -> Any:
    """The value in a JSON text.

    Raises:
      ValueError: if the text is not JSON, or nested too deeply, or has a field twice.
    """
    try:
        text = text if isinstance(text, str) else text.decode()
        return json.loads(text, object_pairs_hook=_without_repetitions)
    except RecursionError:
        raise ValueError("got JSON that is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("got other bytes than text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"got other text than JSON: {error}") from None


def _without_repetitions(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice}: got it twice in one JSON object, want it once")
    return fields


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A path to write a file to, which becomes `path` once the file is whole.

    A kill leaves the old file or the new one, and so does an error. Processes that
    write the same file do not disturb each other; the last one wins. A kill can also
    leave an unfinished file, which `unfinished_of` finds.
    """
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield unfinished
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())  # or a power failure could leave neither
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def unfinished_of(path: Path) -> list[Path]:
    """The files that `whole` has begun for a path: before a kill, or just now."""
    return [*path.parent.glob(f"{glob.escape(path.name)}.*tmp")]


def hash_of_arrays(tree: Any) -> str:
    """The SHA-256 of the numbers in a tree of arrays, with their dtypes and shapes."""
    of_all = hashlib.sha256()
    for leaf in map(np.asarray, jax.tree.leaves(jax.device_get(tree))):
        of_all.update(f"{leaf.dtype}{leaf.shape}".encode())
        of_all.update(np.ascontiguousarray(leaf).tobytes())
    return of_all.hexdigest()


def check_spelling(name: str, path: Path) -> None:
    """Raises a `ValueError` for a path that libraries in C++ would not find.

    They take it as UTF-8, whatever the locale is.
    """
    try:
        same = str(path).encode() == os.fsencode(path)
    except UnicodeEncodeError:
        same = False
    if not same:
        raise ValueError(
            f"{name}: got {str(path)!r}, which this locale does not spell in UTF-8; "
            "set LC_ALL=C.UTF-8, or use a path of ASCII letters"
        )


def unreadable(error: BaseException) -> str | None:
    """Why the system does not let a file be read; None if the file is at fault.

    Libraries tell the system's error as the cause of theirs, or only in words.
    """
    seen: BaseException | None = error
    while seen is not None:
        missing = isinstance(
            seen, FileNotFoundError | IsADirectoryError | NotADirectoryError
        )
        if isinstance(seen, OSError) and seen.errno is not None and not missing:
            return str(seen)
        if isinstance(seen, MemoryError):
            return "not enough memory"
        seen = seen.__cause__ or seen.__context__
    return str(error) if any(words in str(error) for words in _SYSTEMS_WORDS) else None
