"""The cores of a computer, shared out among the processes of a run on it.

Threads of several processes that may run on any core wait for each other: on two cores,
two processes train at 0.6 of the speed of one with two devices, and with a core for
each at nearly the same (`python -m benchmarks.scaling`).
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_THREADS = Path("/proc/self/task")


def available() -> list[int]:
    """The numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def share(of_all: Sequence[tuple[str, list[int]]], place: int) -> list[int]:
    """The cores for one process.

    Whatever starts the processes may have given each its own cores, which then stay.
    If there are more processes than cores, each has one, in turn.

    Args:
      of_all: of each process, its host and the cores that it may use.
      place: of the process.

    >>> share([("a", [0, 1, 2, 3]), ("b", [0, 1]), ("a", [0, 1, 2, 3])], place=2)
    [2, 3]
    """
    cores = of_all[place][1]
    rivals = [i for i, each in enumerate(of_all) if each == of_all[place]]
    size, number = len(cores) // len(rivals), rivals.index(place)
    if size == 0:
        return [cores[number % len(cores)]] if cores else []
    return cores[number * size :][:size]


def stay_on(cores: list[int]) -> None:
    """Keeps this thread, and those that it starts from now on, on these cores."""
    if hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cores)


def devices_with_patient_network(devices: Callable[[], list[Any]]) -> list[Any]:
    """What `jax.devices` returns, for the first time; between CPUs, others go first.

    Gloo has one thread for what comes in. If it wakes on the core of the thread that
    sends, which holds a lock, then it tries that lock until its time is up: some 4 ms,
    for a message of 0.3 ms. With a lower priority, it waits until the other has sent.
    """
    before = {*_threads()}
    made = devices()
    if made[0].platform != "cpu":
        return made
    for _ in range(50):
        new = [each for each in _threads() if each not in before]
        if waiting := list(filter(_waits_for_messages, new)):
            for thread in waiting:
                with contextlib.suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, thread, 19)
            break
        time.sleep(0.001)
    return made


def _threads() -> list[int]:
    """The numbers of this process's threads; none where the system does not say."""
    return [int(path.name) for path in _THREADS.glob("*")]


def _waits_for_messages(thread: int) -> bool:
    try:
        return "poll" in (_THREADS / str(thread) / "wchan").read_text(encoding="utf-8")
    except OSError:
        return False
