"""Trained parameters to start from: where they are, and which of them fit."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ntm_jax import saved, tensors
from ntm_jax.tensors import by_path

from .files import expanded, hash_of_arrays

PyTree = Any
_SUFFIX = ".safetensors"
# Before the hash of parameters that `train.fit` was given.
_HASH = "sha256:"


class Given(NamedTuple):
    """Parameters to start from.

    Attributes:
      taken: arrays of NumPy by their paths, which fit the model.
      initialised: the paths of all other parameters of the model.
      unused: the paths of what is there and does not fit.
    """

    taken: dict[str, Any]
    initialised: tuple[str, ...]
    unused: tuple[str, ...]

    def in_words(self, source: str) -> str:
        """What is taken from there, in a line."""
        words = f"Taken from {source}: {', '.join(self.taken)}."
        if self.initialised:
            words += f" Initialised: {', '.join(self.initialised)}."
        if self.unused:
            words += f" Not used: {', '.join(self.unused)}."
        return words


def absolute(source: Any) -> str | None:
    """The same source from any folder: the name of a machine, or a path.

    >>> absolute("copy")
    'copy'

    Raises:
      TypeError, ValueError: for what is neither.
    """
    if source is None:
        return None
    if not isinstance(source, str | Path):
        raise TypeError(
            f"init_from: got {source!r}, want the name of a machine, a run's folder or "
            f"a {_SUFFIX} file"
        )
    text = os.fspath(source)
    if is_path(text) and not is_hash(text):
        return str(expanded(text, "init_from").resolve())
    return text


def is_path(source: str) -> bool:
    """Whether that is a path and not a name; that of a folder has a separator."""
    separators = [os.sep, *([os.altsep] if os.altsep else [])]
    return (
        source.endswith(_SUFFIX)
        or source[:1] in "~."
        or any(separator in source for separator in separators)
    )


def is_folder(source: str) -> bool:
    """Whether that is the path of a folder."""
    return is_path(source) and not source.endswith(_SUFFIX)


def is_hash(source: str) -> bool:
    """Whether that stands for parameters that `train.fit` was given."""
    return source.startswith(_HASH)


def name_of(params: PyTree) -> str:
    """What stands for parameters in the config of their run: their hash."""
    return _HASH + hash_of_arrays(params)


def read(source: str) -> dict[str, Any]:
    """The arrays of a trained machine, or of a file, by their paths.

    Raises:
      ValueError: if there is none, or it is damaged.
    """
    if not is_path(source):
        if is_hash(source):
            raise ValueError(
                f"init_from: got {source!r}, want the parameters with this hash; "
                "train.fit(..., params=...) starts and continues such a run"
            )
        if source not in saved.machine_names():
            raise ValueError(
                f"init_from: got {source!r}, want one of "
                f"{', '.join(saved.machine_names())}, a {_SUFFIX} file or a run, such "
                f"as ./{source}"
            )
        return read(str(saved.machine_file(source)))
    path = Path(source)
    if not path.is_file():
        raise ValueError(f"init_from: got {source}, want a file that is there")
    try:
        with tensors.reading(path, "a file of a machine") as file:
            arrays = {name: file.get_tensor(name) for name in tensors.headers_of(file)}
            tensors.check_hash(file.metadata() or {}, arrays)
    except ValueError as error:
        raise ValueError(f"init_from: {error}") from None
    return arrays


def fitting(given: Mapping[str, Any], shapes: PyTree, source: str) -> Given:
    """What fits of the given arrays.

    Args:
      given: arrays by their paths.
      shapes: of the parameters of the model.
      source: of the arrays, for the message.

    Raises:
      ValueError: if none fits, or one that fits is not finite.
    """
    wanted, taken = by_path(shapes), {}
    for name, want in wanted.items():
        if name in given and tuple(given[name].shape) == tuple(want.shape):
            array = np.asarray(given[name]).astype(want.dtype)
            if not np.isfinite(array).all():
                raise ValueError(
                    f"init_from: got numbers that are not finite in {name} of {source}"
                )
            taken[name] = array
    if not taken:
        which = ", ".join(f"{name} {list(one.shape)}" for name, one in wanted.items())
        raise ValueError(
            f"init_from: got {source}, of which no array fits, want at least one of "
            f"{which}"
        )
    return Given(
        taken,
        tuple(name for name in wanted if name not in taken),
        tuple(name for name in given if name not in taken),
    )
