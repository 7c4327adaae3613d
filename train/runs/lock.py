"""The lock of a folder: only one process at a time writes in it."""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from ..cluster.together import agreed, exchange, is_one_of_many, is_writer

try:
    import fcntl
except ImportError:  # on Windows, where folders have no lock
    fcntl = None

NAME = "lock"
# How often a process looks for the lock of another host, once a second.
_LOOKS = 10
# What file systems without locks answer. There, too, runs are possible.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


class HeldError(ValueError):
    """Another process has the lock."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """As `locked_here`; of several processes of one run, the first has the lock.

    Raises:
      ValueError: as there, and in all of them if one does not see the same folder.
    """
    with contextlib.ExitStack() as stack:
        agreed(lambda: is_writer() and stack.enter_context(locked_here(folder)))
        if is_one_of_many():
            first, *_ = exchange(
                (folder / NAME).read_text(encoding="utf-8") if is_writer() else ""
            )
            agreed(lambda: _check_seen(folder, first))
        yield


def _check_seen(folder: Path, lock: str) -> None:
    """Raises a `ValueError` unless this process sees that lock in the folder."""
    for _ in range(_LOOKS):
        with contextlib.suppress(OSError):
            if (folder / NAME).read_text(encoding="utf-8") == lock:
                return
        time.sleep(1)  # file systems of several hosts can be late
    raise ValueError(
        f"workdir: got {folder.absolute()}, in which this process does not see the "
        "lock of process 0, want one folder that all processes see, on a file system "
        "that they share"
    )


@contextlib.contextmanager
def locked_here(folder: Path) -> Iterator[None]:
    """Makes the folder, if it is new, and keeps other processes from writing in it.

    The system holds the lock for the process, so a killed process leaves none. The
    file `lock` says which process that is. At the end, the file is removed, and so are
    the new folders that stayed empty.

    Raises:
      HeldError: if another process has the lock.
      ValueError: if the folder cannot be written to.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _lock(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ValueError(
            f"workdir: got {folder}, want a folder that can be written to: "
            f"{error.strerror}"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / NAME).unlink()
        os.close(file)
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()


def _lock(folder: Path) -> int:
    """The descriptor of the lock's file, which has the lock until it is closed."""
    path = folder / NAME
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _is_free(file):
                holder = os.read(file, 1000).decode(errors="replace").strip()
                raise HeldError(
                    f"workdir: got {folder}, in which {holder or 'another process'} "
                    "writes, want a folder that no other command uses; wait until it "
                    "has ended, or use another --workdir"
                )
            # Its holder may have removed it before it gave up the lock.
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                with contextlib.suppress(OSError):  # it only serves the message
                    os.ftruncate(file, 0)
                    os.write(file, _this_process().encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _is_free(file: int) -> bool:
    """Locks the file, unless another process has it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}\n"
