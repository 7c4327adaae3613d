"""The worker process, as the server sees it: jobs in, bytes out."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jax

from .frames import receive, send

# The folder from which this package is imported.
_ROOT = Path(__file__).parents[len(__name__.split(".")) - 1]
# For a process that Ctrl-C on the terminal does not reach. It stays in the session: in
# another, Linux would share the cores between the sessions first, and only then by
# priority.
APART = None if os.name == "nt" else 0
# One thread: a machine that trains has no core to spare.
_XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false"


class MakerError(Exception):
    """A job that could not be done, in one line."""


class Maker:
    """Starts the worker with the first job, and again if it ends."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def do(self, work: str, workdir: Path, content: bytes = b"", **job: Any) -> bytes:
        """Does a job and waits for it.

        Raises:
          MakerError: if it cannot be done.
        """
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                asked = {"work": work, "workdir": str(workdir.absolute()), **job}
                send(process.stdin, asked, content)
                received = receive(process.stdout)
            except (OSError, ValueError):
                received = None
        if received is None:
            raise MakerError("the process that draws has ended before it was done")
        header, made = received
        if "error" in header:
            raise MakerError(header["error"])
        return made

    def close(self) -> None:
        """Ends the worker at once."""
        self._closed = True
        if self._process is not None:
            self._process.kill()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._closed:
            raise MakerError("the server is ending")
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(),
                process_group=APART,
            )
        return self._process


def environment() -> dict[str, str]:
    """Of the worker: the CPU alone, which the accelerators of a run do not notice."""
    given = {**os.environ}
    given.pop("JAX_NUM_CPU_DEVICES", None)
    given["JAX_PLATFORMS"] = "cpu"
    given["XLA_FLAGS"] = f"{given.get('XLA_FLAGS', '')} {_XLA_FLAGS}".strip()
    return importable(with_cache(given))


def with_cache(given: dict[str, str]) -> dict[str, str]:
    """An environment in which compilations are kept where this process keeps them."""
    folder = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    return {**given, "JAX_COMPILATION_CACHE_DIR": str(folder)} if folder else given


def importable(given: dict[str, str]) -> dict[str, str]:
    """An environment in which Python finds this package."""
    paths = [str(_ROOT), given.get("PYTHONPATH", "")]
    return {**given, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
