"""What the processes of one run tell each other, beside their compiled programs.

They use the key-value store of JAX's coordination service, which is there before any
device is, and waits no longer than it is told.
"""

import itertools
import json
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
from jax._src import distributed  # as Orbax does: JAX has no public name for the client

from . import cores as all_cores

ResultT = TypeVar("ResultT")
# How long the others may take to read their files, in seconds.
_PATIENCE = 600
_numbers = itertools.count()
_hosts = [socket.gethostname()]
_cores = all_cores.available()


def is_one_of_many() -> bool:
    """Whether this process is one of several that make a run."""
    return jax.distributed.is_initialized()


def is_writer() -> bool:
    """Whether this process writes the files of a run and reports: the first one."""
    return process_id() == 0


def process_id() -> int:
    """The place of this process among those of the run."""
    return distributed.global_state.process_id


def num_processes() -> int:
    """How many processes make the run."""
    return distributed.global_state.num_processes


def hosts() -> list[str]:
    """The host of each process."""
    return _hosts


def cores() -> list[int]:
    """The cores for this process, of which the others on its host have their own."""
    return _cores


def part() -> tuple[int, int]:
    """Leaves the others, of which none ends any more if one does.

    From here on this process is one alone. Nothing may have run on a device before.

    Returns:
      Its place among those that there were, and how many there were.
    """
    place = process_id(), num_processes()
    if is_one_of_many():
        jax.distributed.shutdown()
        state = distributed.global_state
        state.process_id, state.num_processes = 0, 1
        # JAX has taken it for a notice to all.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return place


def client() -> Any:
    """The client of JAX's coordination service."""
    return distributed.global_state.client


def exchange(text: str, seconds: float = _PATIENCE) -> list[str]:
    """The texts of all processes, in their order; each has to call this.

    Raises:
      TimeoutError: if one does not in time.
    """
    return [*each_text(text, seconds)]


def each_text(text: str, seconds: float = _PATIENCE) -> Iterator[str]:
    """As `exchange`, one after the other."""
    number = next(_numbers)
    client().key_value_set(_place(number, process_id()), text)
    for i in range(num_processes()):
        place, most = _place(number, i), int(1000 * seconds)
        try:
            yield client().blocking_key_value_get(place, most)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
            who = f"process {i}" + (f" on {_hosts[i]}" if i < len(_hosts) else "")
            raise TimeoutError(
                f"{who} of {num_processes()}: has not answered for {seconds:.0f} s; "
                "see its output, then start the same command in all processes"
            ) from None
    if number:  # all have written this one, so all have read the one before
        client().key_value_delete(_place(number - 1, process_id()))


def _place(number: int, process: int) -> str:
    return f"ntm_jax/{number}/{process}"


def largest(number: int) -> int:
    """The largest of the numbers of all processes."""
    if not is_one_of_many():
        return number
    return max(map(int, exchange(str(number))))


def agreed(work: Callable[[], ResultT]) -> ResultT:
    """What `work` returns; if it raises in one process, there is an error in all.

    Raises:
      OSError, TypeError, ValueError: of this process, or in words that of another.
    """
    if not is_one_of_many():
        return work()
    own: Exception | None = None
    results = []
    try:
        results.append(work())
    except (OSError, TypeError, ValueError) as error:
        own = error
    told = [
        json.loads(text) for text in exchange(json.dumps([name(), own and str(own)]))
    ]
    if own is not None:
        raise own
    for who, error in told:
        if error is not None:
            raise ValueError(f"{who}: {error}")
    return results[0]


def check_read(**mine: Any) -> None:
    """Checks that all processes have read the same; each calls this.

    A file system can show an older file to another host.

    Raises:
      ValueError: in all processes, if something differs.
      TimeoutError: if a process does not answer.
    """
    if is_one_of_many():
        check_same(mine, _PATIENCE)


def name() -> str:
    """This process, for a message."""
    return f"process {process_id()} on {socket.gethostname()}"


def check_same(mine: dict[str, Any], seconds: float) -> None:
    """Checks that all processes have the same; each calls this, and first of all.

    Args:
      mine: has to be the same in all.
      seconds: to wait for the others.

    Raises:
      ValueError: in all processes, if something differs.
    """
    mine = {"host": socket.gethostname(), "cores": all_cores.available(), **mine}
    all_have: list[dict[str, Any]] = []
    # The number of processes may differ, too: so a difference ends the reading.
    for i, text in enumerate(each_text(json.dumps(mine), seconds)):
        all_have.append(json.loads(text))
        first, other = all_have[0], all_have[-1]
        for key in sorted({*first, *other} - {"host", "cores"}):
            if first.get(key) != other.get(key):
                raise ValueError(
                    f"{key}: got {first.get(key)!r} in process 0 on {first['host']}, "
                    f"but {other.get(key)!r} in process {i} on {other['host']}, want "
                    "the same in all processes"
                )
    _hosts[:] = [each["host"] for each in all_have]
    of_all = [(each["host"], each.get("cores", [])) for each in all_have]
    _cores[:] = all_cores.share(of_all, process_id())
