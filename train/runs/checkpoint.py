"""Checkpoints of a run: the one module that knows Orbax."""

import contextlib
import errno
import functools
import gc
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from ..cluster.together import is_writer
from ..training.devices import on_host
from . import schema
from .files import check_spelling, hash_of_arrays, unreadable
from .schema import Fields, Record

PyTree = Any
_KEEP = 2
# The name of the hash of a checkpoint's arrays, in what is told about it.
SHA256 = "sha256"
# The file that holds it.
METADATA = "_CHECKPOINT_METADATA"
# What a checkpoint takes on disk beside its numbers, at most.
_OVERHEAD = 2**20


class Checkpoints:
    """The checkpoints in a folder, each named by its step and always complete.

    Orbax writes under another name and renames at the end, so what a killed run left
    unfinished does not count. The newest few are kept. Each has the hash of its arrays,
    and what else is told about it; those of 0.1 have neither.
    """

    def __init__(self, folder: str | Path, about: Fields | None = None) -> None:
        self._folder = Path(folder).absolute()
        self._told: dict[int, Record | None] = {}
        self._about = {"step": schema.count, SHA256: schema.text, **(about or {})}

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint; None if there is none."""
        return max(self._steps(), default=None)

    def path(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self._folder / str(step)

    def save(self, step: int, state: PyTree, about: Record | None = None) -> None:
        """Writes the checkpoint of a step; returns when it is on disk.

        Args:
          step: after which the state is.
          state: arrays.
          about: a record to keep with them, if any.

        Raises:
          OSError: if it cannot be written. The checkpoints before it stay.
        """
        path = self.path(step)
        check_spelling("workdir", path)
        self._check_space(sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
        self._told.clear()
        here = on_host(state)
        told = {"step": step, SHA256: hash_of_arrays(here), **(about or {})}
        if jax.process_count() == 1:
            # Of arrays on several devices, Orbax compiles a program for each part.
            state = jax.device_put(here, jax.local_devices()[0])

        def write(checkpointer: ocp.StandardCheckpointer) -> None:
            checkpointer.save(path, state, force=True, custom_metadata=told)
            checkpointer.wait_until_finished()

        try:
            _with_orbax(write, ocp.options.MultiprocessingOptions())
        except _OrbaxError as error:
            raise OSError(f"{path}: cannot be written: {error}") from None
        finally:
            if is_writer():
                for unfinished in self._folder.glob("*.orbax-checkpoint-tmp*"):
                    shutil.rmtree(unfinished, ignore_errors=True)
        if is_writer():
            for old in sorted(self._steps())[:-_KEEP]:
                shutil.rmtree(self.path(old))

    def _check_space(self, size: int) -> None:
        """Raises an `OSError` if there is no space for a checkpoint of that size.

        Orbax would find out in several threads, each with its own traceback.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self._folder).free < size + _OVERHEAD:
            number = errno.ENOSPC
            raise OSError(number, os.strerror(number), str(self._folder))

    def about(self, step: int) -> Record | None:
        """What was told about a checkpoint, and its hash; None for one of 0.1.

        Raises:
          ValueError: if that is damaged or cannot be read.
        """
        if step not in self._told:
            self._told[step] = self._read_about(step)
        return self._told[step]

    def _read_about(self, step: int) -> Record | None:
        path = self.path(step)
        check_readable(path)
        try:
            metadata = _with_orbax(lambda orbax: orbax.metadata(path))
            # Orbax takes a file that it cannot read for one that tells nothing.
            if metadata.commit_timestamp_nsecs is None:
                raise ValueError(f"{METADATA}: want what Orbax has written there")
            told = metadata.custom_metadata
            if told:
                schema.check_record("about", told, self._about)
                if told["step"] != step:
                    raise ValueError(f"about.step: got {told['step']}, want {step}")
        except _OrbaxError as error:
            raise _not_restored(path, str(error), error.refusal) from None
        except (TypeError, ValueError) as error:
            raise _not_restored(path, str(error)) from None
        return told or None

    def shapes(self, step: int) -> PyTree:
        """The shapes and dtypes of the arrays of a checkpoint, as dicts and lists.

        Raises:
          ValueError: if it is damaged or cannot be read.
        """
        path = self.path(step)
        check_readable(path)
        try:
            metadata = _with_orbax(lambda orbax: orbax.metadata(path).item_metadata)
            return jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype),
                metadata.tree,
            )
        except _OrbaxError as error:
            raise _not_restored(path, str(error), error.refusal) from None
        except (AttributeError, TypeError) as error:
            raise _not_restored(path, str(error)) from None

    def restore(self, step: int, template: PyTree) -> PyTree:
        """The state saved at a step.

        Args:
          step: of an existing checkpoint.
          template: arrays of the shapes to restore, or `jax.ShapeDtypeStruct` objects.

        Raises:
          ValueError: if the checkpoint holds something else, is damaged, or cannot be
            read.
        """
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        template = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
            template,
        )
        path, about = self.path(step), self.about(step)
        try:
            state = _with_orbax(lambda orbax: orbax.restore(path, template))
        except _OrbaxError as error:
            raise _not_restored(path, str(error), error.refusal) from None
        if about is not None and hash_of_arrays(state) != about[SHA256]:
            raise _not_restored(path, "the numbers are not those that were saved")
        return state

    def _steps(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return [
            int(path.name)
            for path in self._folder.iterdir()
            if path.name.isascii()
            and path.name.isdigit()
            and path.name == str(int(path.name))
            and path.is_dir()
            and ocp.utils.is_checkpoint_finalized(path)
        ]


def check_readable(path: Path) -> None:
    """Raises a `ValueError` if the system does not let a file of a checkpoint be read.

    It is told from damage here: what Orbax says of it differs from file to file.
    """
    check_spelling("workdir", path)

    def refuse(error: OSError) -> None:
        raise error

    try:
        for folder, _, names in os.walk(path, onerror=refuse):
            for name in names:
                with (Path(folder) / name).open("rb") as file:
                    file.read(1)
    except OSError as error:
        raise ValueError(
            f"workdir: got {error.filename or path}, which cannot be read: "
            f"{error.strerror}; want a checkpoint that this user may read"
        ) from None


def _not_restored(path: Path, why: str, refusal: str | None = None) -> ValueError:
    """The error for a checkpoint that is damaged, or that the system refused to read.

    Args:
      path: of the checkpoint.
      why: what is wrong.
      refusal: the system's words, if it is at fault.
    """
    if refusal:
        return ValueError(
            f"workdir: got {path}, which cannot be read now: {refusal[:200]}"
        )
    return ValueError(
        f"workdir: got {path}, which cannot be restored, want a whole "
        "checkpoint of this run; delete that folder, and evaluation.json if there is "
        f"one, to continue from the checkpoint before ({why[:200]})"
    )


class _OrbaxError(Exception):
    """What Orbax raised, in words, and the system's words if it was at fault."""

    def __init__(self, words: str, refusal: str | None) -> None:
        super().__init__(words)
        self.refusal = refusal


def _with_orbax(
    work: Callable[[ocp.StandardCheckpointer], PyTree],
    processes: ocp.options.MultiprocessingOptions | None = None,
) -> PyTree:
    """What `work` returns.

    Args:
      work: to do.
      processes: that do it together; None is for this one alone.

    Raises:
      _OrbaxError: for an error of any kind.
    """
    _ignore_late_threads()
    with _quietly():
        try:
            with ocp.StandardCheckpointer(
                multiprocessing_options=processes or _alone()
            ) as checkpointer:
                return work(checkpointer)
        except Exception as error:  # Orbax raises errors of every kind
            told = f"{type(error).__name__}: {error}", unreadable(error)
        # What it was doing beside must end here, where it is not heard.
        gc.collect()
    raise _OrbaxError(*told)


def _alone() -> ocp.options.MultiprocessingOptions:
    own = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"own{own}"
    )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Drops what the threads of Orbax report beside the error that it raises."""
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)

    def ignore(*_: object) -> None:
        pass

    sys.excepthook = sys.unraisablehook = threading.excepthook = ignore
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


@functools.cache
def _ignore_late_threads() -> None:
    """From here on, drops what threads of Orbax report that end after its error."""
    report = sys.unraisablehook

    def report_others(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = report_others
