"""The cores of a computer among the processes on it."""

import os
import select
import subprocess
import sys
import threading
import types

import pytest

from train.cluster import cores

on_linux = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="the system has no affinity"
)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_processes_on_one_host_have_cores_of_their_own(count):
    of_all = [("one", [*range(8)])] * count
    shares = [cores.share(of_all, place) for place in range(count)]
    taken = [core for share in shares for core in share]
    assert len(taken) == len({*taken})
    assert {*taken} <= {*range(8)}
    assert {len(share) for share in shares} == {8 // count}


def test_more_processes_than_cores_have_one_in_turn():
    """Not all of them: each core of a process is a device."""
    shares = [cores.share([("one", [3, 5])] * 3, place) for place in range(3)]
    assert shares == [[3], [5], [3]]
    assert cores.share([("one", [])] * 2, 1) == []


def test_cores_that_the_starter_dealt_out_stay():
    of_all = [("one", [0, 1]), ("one", [2, 3]), ("other", [0, 1])]
    assert [cores.share(of_all, i) for i in range(3)] == [[0, 1], [2, 3], [0, 1]]


@on_linux
def test_threads_stay_on_the_cores():
    last = cores.available()[-1]
    asked = (
        "import threading; from train.cluster import cores; "
        f"cores.stay_on([{last}]); "
        "thread = threading.Thread(target=lambda: print(cores.available())); "
        "thread.start(); thread.join()"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.stdout.strip() == f"[{last}]", done.stderr


@on_linux
def test_a_core_that_is_not_there_is_no_error():
    cores.stay_on([10**5])


@on_linux
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_only_the_new_thread_that_waits_for_messages_gives_way(platform):
    ends = threading.Event()
    threads = {}

    def wait_for_message():
        threads["network"] = threading.get_native_id()
        with select.epoll() as poll:
            while not ends.is_set():
                poll.poll(0.1)

    def wait_for_work():
        threads["worker"] = threading.get_native_id()
        ends.wait()

    def devices():
        for work in (wait_for_message, wait_for_work):
            threading.Thread(target=work, daemon=True).start()
        return [types.SimpleNamespace(platform=platform)]

    try:
        assert len(cores.devices_with_patient_network(devices)) == 1
        own, network, worker = (
            os.getpriority(os.PRIO_PROCESS, thread)
            for thread in (
                threading.get_native_id(),
                threads["network"],
                threads["worker"],
            )
        )
        assert worker == own
        assert network == (19 if platform == "cpu" else own)
    finally:
        ends.set()
