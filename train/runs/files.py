"""Files of a run: what `ntm_jax.files` has, and more of it."""

import hashlib
from pathlib import Path

from ntm_jax.files import check_spelling as check_spelling
from ntm_jax.files import hash_of_arrays as hash_of_arrays
from ntm_jax.files import read_json as read_json
from ntm_jax.files import unfinished_of as unfinished_of
from ntm_jax.files import unreadable as unreadable
from ntm_jax.files import whole as whole


def expanded(path: str | Path, flag: str) -> Path:
    """The path with the home folder for `~`; it was given by that flag.

    Raises:
      ValueError: if there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{flag}: got {str(path)!r}, but there is no such home folder; write the "
            "whole path"
        ) from None


def write_whole(path: Path, text: str) -> None:
    """Writes a file in one piece: a kill leaves the old file or the new one."""
    with whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file, if there is one; not a last one that a kill cut short."""
    content = path.read_bytes() if path.exists() else b""
    return [line + b"\n" for line in content.split(b"\n")[:-1]]


def hash_of(content: bytes) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()
