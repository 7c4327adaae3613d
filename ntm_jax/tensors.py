"""Arrays and text as a safetensors file, which holds no code.

One of the texts, `sha256`, is the hash of all others and of the arrays.
"""

import contextlib
import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from flax.serialization import to_state_dict
from flax.traverse_util import flatten_dict

from ntm_jax.files import check_spelling, hash_of_arrays, unreadable, whole
from ntm_jax.types import PyTree

SHA256 = "sha256"
# How safetensors calls the dtypes of parameters.
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F64": "float64"}


def write(path: Path, params: PyTree, metadata: Mapping[str, str]) -> None:
    """Writes arrays and text, with their hash, in one piece.

    Raises:
      OSError: if that is not possible.
    """
    with whole(path) as unfinished:
        unfinished.write_bytes(packed(params, metadata))


def packed(params: PyTree, metadata: Mapping[str, str]) -> bytes:
    """The content of a file with arrays and text, and their hash."""
    arrays = by_path(params)
    metadata = {**metadata, SHA256: _hash(metadata, arrays)}
    return safetensors().flax.save(arrays, metadata)


@contextlib.contextmanager
def reading(path: Path, wanted: str) -> Iterator[Any]:
    """A safetensors file that is open, and errors that name the file.

    Args:
      path: of the file.
      wanted: what it should hold, for the message.

    Raises:
      ValueError: if it cannot be read, or for an error in what it holds.
      FileNotFoundError: if there is none.
    """
    library = safetensors()
    check_spelling("path", path)
    try:
        with path.open("rb"):
            pass  # or the system says why not
        with library.safe_open(path, framework="flax") as file:
            yield file
    except FileNotFoundError:
        raise
    except (OSError, TypeError, ValueError, library.SafetensorError) as error:
        if cause := unreadable(error):
            raise ValueError(f"{path}: cannot be read: {cause}") from None
        raise ValueError(f"{path}: not {wanted}: {error}") from None


def headers_of(file: Any) -> dict[str, Any]:
    """The dtype and the shape of each array; its numbers are not read."""
    return {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118


def by_path(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree by their names in a file; tuples count their elements."""
    return flatten_dict(to_state_dict(tree), sep="/")


def numbers_in(headers: Mapping[str, Any]) -> int:
    """How many numbers a file has."""
    return sum(math.prod(header.get_shape()) for header in headers.values())


def check_headers(
    headers: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    rounded: bool = False,
) -> None:
    """Raises a `ValueError` unless names, shapes and dtypes are those wanted.

    Args:
      headers: of a file.
      wanted: arrays or their shapes, by name.
      rounded: whether arrays can also be in bfloat16, all of them.
    """
    check_names(headers, wanted)
    kinds = {dtype: kind for kind, dtype in DTYPES.items()}
    rounded = rounded and {each.get_dtype() for each in headers.values()} == {"BF16"}
    for name, want in wanted.items():
        got = headers[name].get_dtype(), list(headers[name].get_shape())
        kind, shape = kinds[str(want.dtype)], list(want.shape)
        kind = "BF16" if rounded else kind
        if got != (kind, shape):
            raise ValueError(f"{name}: got {got[0]}{got[1]}, want {kind}{shape}")


def check_hash(metadata: Mapping[str, str], arrays: Mapping[str, Any]) -> None:
    """Raises a `ValueError` if a file has another hash than that of its content."""
    if metadata.get(SHA256) not in (None, _hash(metadata, arrays)):
        raise ValueError("sha256: got other content than that which has this hash")


def check_names(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises a `ValueError` unless the names of the arrays are those wanted."""
    if different := sorted(set(wanted) ^ set(got)):
        verb = "no" if different[0] in wanted else "an unknown"
        raise ValueError(f"got {verb} array {different[0]!r}")


def safetensors() -> ModuleType:
    """The package, which the library does not need for anything else.

    Raises:
      ModuleNotFoundError: if it is not installed.
    """
    try:
        import safetensors
        import safetensors.flax
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "files of machines need the package safetensors; pip install safetensors",
            name="safetensors",
        ) from None
    return safetensors


def _hash(metadata: Mapping[str, str], arrays: Mapping[str, Any]) -> str:
    """The SHA-256 of all that a file says: its text and its arrays."""
    text = "".join(metadata[name] for name in sorted({*metadata} - {SHA256}))
    return hashlib.sha256((text + hash_of_arrays(dict(arrays))).encode()).hexdigest()
