"""The start and the end of a process that is one of many."""

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from . import together
from .address import check_free, check_there, parts_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Processes:
    """Many processes for one run, on one host or many: see docs/cluster.md."""

    distributed: bool = False
    """Be one of many processes, which JAX finds by itself.
    It does under SLURM, Open MPI, Kubernetes and on Cloud TPU; the other flags are for
    processes that are started by hand."""
    coordinator_address: str | None = None
    """HOST:PORT of process 0, with any free port, the same in all processes.
    None takes JAX_COORDINATOR_ADDRESS."""
    num_processes: int | None = None
    """How many processes there are, the same in all."""
    process_id: int | None = None
    """The number of this process, from 0 on. Process 0 writes the files."""
    start_timeout: int = 40
    """Seconds to wait until all processes have started."""
    heartbeat_timeout: int = 60
    """Seconds without a sign of life after which a process counts as dead.
    The others then end."""

    def are_many(self) -> bool:
        """Whether there is more than this process.

        Raises:
          ValueError: for flags that do not fit each other.
        """
        by_hand = self._by_hand()
        if not self.distributed and not any(v is not None for v in by_hand.values()):
            return False
        if not self.distributed:
            for name, value in by_hand.items():
                if value is None:
                    raise ValueError(
                        f"{name}: got none, want --coordinator_address (or "
                        "JAX_COORDINATOR_ADDRESS in the environment), --num_processes "
                        "and --process_id together; or --distributed where JAX finds "
                        "them by itself"
                    )
        for name in ("num_processes", "start_timeout", "heartbeat_timeout"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: got {value}, want at least 1")
        address, count, own = by_hand.values()
        if address is not None:
            parts_of(address)
        if count is not None and own is not None and not 0 <= own < count:
            raise ValueError(
                f"process_id: got {own}, want a number from 0 to {count - 1}, one "
                f"less than --num_processes={count}"
            )
        return True

    def address(self) -> str | None:
        """Where process 0 is, if that is given."""
        return self.coordinator_address or os.environ.get("JAX_COORDINATOR_ADDRESS")

    def _by_hand(self) -> dict[str, Any]:
        return {
            "coordinator_address": self.address(),
            "num_processes": self.num_processes,
            "process_id": self.process_id,
        }


def run(processes: Processes, same: dict[str, Any], work: Callable[[], int]) -> int:
    """Does the work of this process; returns the exit status.

    A process of several whose work fails ends here. It must not wait for the others at
    Python's end, as JAX would: they may be waiting for it.

    Args:
      processes: that there are.
      same: has to be the same in all of them, such as the config.
      work: returns the status.

    Raises:
      ValueError: for flags that do not fit each other.
    """
    if not processes.are_many():
        return work()
    with _translated() as tell:
        try:
            _join(processes, same, tell)
            status = work()
            if status == 0 and together.is_one_of_many():
                jax.distributed.shutdown()  # waits for all
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except KeyboardInterrupt:  # while it waits for the others
            print("Stopped.", file=sys.stderr)
            status = 128 + signal.SIGINT
        except BaseException as error:
            wait_for_verdict(error)
            traceback.print_exc()
            status = 1
        if status:
            _let_others_read()
    if status:
        sys.stdout.flush()
        os._exit(status)
    return 0


def wait_for_verdict(error: BaseException) -> None:
    """If other processes are the cause of an error, lets JAX find out who is missing.

    JAX then ends this process. Returns if it does not, or if the cause is here.
    """
    words = (
        "Gloo",
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "coordination",
        "barrier",
        "NCCL",
    )
    if together.is_one_of_many() and any(word in str(error) for word in words):
        time.sleep(2 * _heartbeat + 20)


_heartbeat = 0


def _join(
    processes: Processes,
    same: dict[str, Any],
    tell: Callable[..., None],
) -> None:
    """Meets the other processes."""
    global _heartbeat
    _heartbeat = processes.heartbeat_timeout
    address, wait = processes.address(), processes.start_timeout
    tell(
        process=processes.process_id,
        processes=processes.num_processes,
        address=address,
        start=wait,
        heartbeat=processes.heartbeat_timeout,
    )
    started = time.monotonic()
    try:
        if address is not None and processes.process_id is not None:
            if processes.process_id:
                check_there(address, wait)
            else:
                check_free(address)
    except ValueError as error:
        raise SystemExit(_refuse(str(error))) from None
    try:
        jax.distributed.initialize(
            address,
            processes.num_processes,
            processes.process_id,
            initialization_timeout=wait,
            heartbeat_timeout_seconds=processes.heartbeat_timeout,
            # Or JAX looks for a cluster for which devices are this process's, too.
            cluster_detection_method=None if processes.distributed else "deactivate",
            # Process 0 may draw for long while the others have nothing left to do.
            shutdown_timeout_seconds=3600,
        )
    except (RuntimeError, ValueError) as error:
        if " be defined" in str(error):  # an address, a number or the place
            raise SystemExit(
                _refuse(
                    "distributed: JAX finds no other processes here, want SLURM, Open "
                    "MPI, Kubernetes (with jax[k8s]) or Cloud TPU; by hand, pass "
                    "--coordinator_address, --num_processes and --process_id"
                )
            ) from None
        raise SystemExit(
            _refuse(f"coordinator_address: got {address}: {error}")
        ) from None
    tell(process=together.process_id(), processes=together.num_processes())
    left = max(10.0, wait - (time.monotonic() - started))
    try:
        mine = {"num_processes": together.num_processes(), **_versions(), **same}
        together.check_same(mine, left)
    except ValueError as error:
        raise SystemExit(_refuse(str(error))) from None
    except TimeoutError as error:
        raise SystemExit(_refuse(f"num_processes: {error}")) from None
    tell(hosts=together.hosts())


def _refuse(words: str) -> int:
    print(f"error: {words}", file=sys.stderr)
    return 2


def _versions() -> dict[str, str]:
    """What decides which numbers a process computes, apart from the flags."""
    names = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint")
    versions = {name: importlib.metadata.version(name) for name in names}
    return {**versions, "python": ".".join(platform.python_version_tuple()[:2])}


def _let_others_read() -> None:
    """Waits a moment before the end: the others read from process 0 what is wrong."""
    if together.is_one_of_many():
        with contextlib.suppress(Exception):
            together.client().wait_at_barrier("ntm_jax/end", 5000)
            time.sleep(0.5 * together.is_writer())


@contextlib.contextmanager
def _translated() -> Iterator[Callable[..., None]]:
    """Sends the standard error through `translator`, and C++'s output to it.

    Yields:
      A function that tells the translator of this process.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    program = [sys.executable, "-S", str(Path(__file__).with_name("translator.py"))]
    # In a session of its own: signals to a group of processes are not for it.
    child = subprocess.Popen(program, stdin=subprocess.PIPE, start_new_session=True)
    assert child.stdin is not None
    errors, output, stdout = os.dup(2), os.dup(1), sys.stdout
    os.dup2(child.stdin.fileno(), 2)
    child.stdin.close()
    # Gloo prints to the standard output, which is for the results of a command.
    os.dup2(2, 1)
    sys.stdout = os.fdopen(
        output, "w", buffering=1, encoding=stdout.encoding, errors="replace"
    )

    def tell(**words: Any) -> None:
        os.write(2, b"\0" + json.dumps(words).encode() + b"\n")

    try:
        yield tell
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(output, 1)
        sys.stdout = stdout
        os.dup2(errors, 2)
        os.close(errors)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(5)
