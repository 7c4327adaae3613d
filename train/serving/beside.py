"""The server beside a run: a process of its own, so that training does not wait."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from .maker import APART, importable, with_cache
from .server import HOST, address, bind, check_packages


@contextlib.contextmanager
def served(port: int | None, folder: Path) -> Iterator[str | None]:
    """Serves the run in a folder as long as the context lasts, or this process.

    Args:
      port: on this computer; None serves nothing.
      folder: of the run, which may not be there yet.

    Yields:
      Where a browser finds the run; None without a port.

    Raises:
      ValueError: if the port cannot be had, or a package is missing. Nothing has been
        written then.
    """
    if port is None:
        yield None
        return
    check_packages()
    if os.name == "nt":
        raise ValueError(
            f"serve: got {port}, want a system that hands a socket on; on Windows, run "
            f"python -m train.serve --workdir={folder} in another terminal"
        )
    with bind(HOST, port, "serve") as bound:
        where = address(bound)
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                f"{__package__}.server",
                str(bound.fileno()),
                folder,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[bound.fileno()],
            env=importable(with_cache({**os.environ})),
            process_group=APART,
        )
    try:
        yield where
    finally:
        assert process.stdin is not None
        process.stdin.close()  # which ends it, and its worker
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
