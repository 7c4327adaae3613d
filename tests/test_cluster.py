"""One run in many processes: what comes of it is that of one, or one clear error."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import many
import numpy as np
import pytest
from many import SMALL

from train import library
from train.cluster import start, together, translator
from train.cluster.address import check_free, check_there, parts_of
from train.cluster.start import Processes
from train.runs.folder import RunFolder
from train.training.devices import grid

# Longer than any test waits.
LONG = (*SMALL[:3], "--steps=1000000", "--steps_per_call=2", "--validate_every=1000")
TOLD = {
    "process": 0,
    "processes": 3,
    "address": "one:1",
    "start": 40,
    "heartbeat": 60,
    "hosts": ["one", "two", "three"],
}
FATAL = "F1129 23:05:39.495937 6932 client.h:80] Terminating. absl::Status: "


@pytest.mark.parametrize(
    ("arguments", "shape"),
    [
        ((1, 16, 1, 4), (1, 4)),
        ((1, 16, 4, 2), (1, 8)),
        ((1, 16, 3, 4), None),
        ((3, 16, 1, 4), (3, 1)),
        ((3, 16, 2, 2), (1, 4)),
        ((2, 16, 2, 2), (2, 2)),
        ((1000, 16, 4, 1), (4, 1)),
        ((1, 16, 1, 8, 4), (1, 4)),
        ((1, 4, 4, 1, 4), (1, 4)),
        ((3, 4, 2, 6), (1, 4)),
    ],
)
def test_every_process_has_as_many_devices_in_the_mesh(arguments, shape):
    if shape is not None:
        assert grid(*arguments) == shape
    else:
        with pytest.raises(ValueError, match="num_processes: got 3, want a number"):
            grid(*arguments)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (
            "UNAVAILABLE: The following tasks are unhealthy (stopped sending "
            "heartbeats):\n1\nThe tasks have crashed.",
            "process 1 on two of 3: has ended, hangs or cannot be reached",
        ),
        (
            "UNAVAILABLE: ... (stopped sending heartbeats):\n1, 2\nThe tasks have",
            "process 1 on two and process 2 on three of 3: has ended",
        ),
        (
            "UNAVAILABLE: Socket closed\nRPC: /xla.coordination/PollForError",
            "process 0 on one of 3: has ended",
        ),
        (
            "DEADLINE_EXCEEDED\nRPC: /xla.coordination/Heartbeat",
            "process 0 on one of 3",
        ),
        (
            "ABORTED: 1 unexpectedly tried to connect with a different incarnation.",
            "(1)",
        ),
        (
            "INVALID_ARGUMENT: Unexpected task registered with task=2",
            "num_processes: got",
        ),
        (
            "DEADLINE_EXCEEDED\nRPC: /xla.coordination/RegisterTask",
            "not all of them met",
        ),
        ("INTERNAL: new words", "JAX has ended this process: INTERNAL: new words"),
    ],
)
def test_the_last_words_of_jax_are_one_line(page, words):
    line = translator.in_words(FATAL + page, TOLD)
    assert words in line
    assert "\n" not in line


# What JAX 0.12 says before it ends a process.
PAGE = """\
W1130 15:24:26.508307 17609 preemption_sync_manager.cc:147] Failed to retrieve notice
Additional GRPC error information from remote target coordination_service while calling:
:UNAVAILABLE:Stream removed (Socket closed)
=== Source Location Trace: ===
external/xla+/xla/tsl/distributed_runtime/rpc/grpc_util.h:89
. This is only expected if one of the tasks is unhealthy. Check the logs for the cause.
E1130 15:24:26.508340 17609 preemption_sync_manager.cc:159] Failed to cancel barrier: B
=== Source Location Trace: ===
external/xla+/xla/util.h:302

F1130 15:24:26.508385 17609 client.h:86] Terminating process: Socket closed
*** Check failure stack trace: ***
    @     0x7f4b196f8174  absl::lts_20260526::log_internal::LogMessage::SendToLog()
"""


def test_of_the_page_that_jax_prints_one_line_is_left():
    told = "\0" + json.dumps(TOLD) + "\n"
    command = [sys.executable, "-S", translator.__file__]
    words = told + "update 3\n" + PAGE
    ended = subprocess.run(command, input=words, capture_output=True, text=True)
    ours, line = ended.stderr.splitlines()
    assert ours == "update 3"
    assert line.startswith("error: process 0 on one of 3: has ended")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"num_processes": 2}, "coordinator_address: got none, want --coordinator"),
        ({"coordinator_address": "a:1", "num_processes": 2}, "process_id: got none"),
        (
            {"coordinator_address": "a", "num_processes": 2, "process_id": 0},
            "coordinator_address: got 'a', want HOST:PORT",
        ),
        (
            {"coordinator_address": "a:1", "num_processes": 2, "process_id": 2},
            "process_id: got 2, want a number from 0 to 1",
        ),
        *(
            (
                {"coordinator_address": address, "num_processes": 2, "process_id": 0},
                re.escape(f"coordinator_address: got {address!r}, want HOST:PORT"),
            )
            for address in (":1", "a:0", "a:65536", "a:-1", "::1:1234", "[::1]", "a:²")
        ),
        ({"distributed": True, "start_timeout": 0}, "start_timeout: got 0, want"),
    ],
)
def test_flags_that_do_not_fit_each_other_are_refused(flags, words, monkeypatch):
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS", raising=False)
    with pytest.raises(ValueError, match=words):
        Processes(**flags).are_many()


def test_without_flags_there_is_one_process(monkeypatch):
    monkeypatch.delenv("JAX_COORDINATOR_ADDRESS", raising=False)
    assert not Processes().are_many()
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "localhost:1")
    assert Processes(num_processes=2, process_id=0).are_many()


@pytest.mark.parametrize("host", ["localhost", "[::1]", "a.b-c"])
def test_hosts_are_names_or_numbers(host):
    address = f"{host}:1234"
    assert Processes(
        coordinator_address=address, num_processes=2, process_id=1
    ).are_many()
    assert parts_of(address) == (host.strip("[]"), 1234)


@pytest.mark.parametrize("here", ["", "127.0.0.1"])
def test_a_port_in_use_is_refused_before_it_ends_the_run_that_uses_it(here):
    with socket.socket() as other:
        for shared in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # as JAX does
            other.setsockopt(socket.SOL_SOCKET, shared, 1)
        other.bind((here, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"got localhost:{port}, want a port that"):
            check_free(f"localhost:{port}")
        with socket.create_connection(("127.0.0.1", port)) as one:
            # The side that closes first keeps the port for a while.
            other.accept()[0].close()
            assert one.recv(1) == b""
    check_free(f"localhost:{port}")


def test_a_process_that_is_not_there_is_waited_for():
    port = many.free_port()
    with pytest.raises(ValueError, match=rf"localhost:{port}, where no .* within 0.1"):
        check_there(f"localhost:{port}", 0.1)
    with socket.create_server(("localhost", port)):
        check_there(f"localhost:{port}", 10)


def files(folder: Path) -> set[str]:
    """The files of a run that do not depend on processes."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not {"checkpoints", "tensorboard"} & {*path.parts}
    }


def assert_close(got: dict[str, Any], want: dict[str, Any]) -> None:
    assert got.keys() == want.keys()
    for name, value in want.items():
        if isinstance(value, float):
            value = pytest.approx(value, rel=1e-5)
        assert got[name] == value, name


def assert_same_run(got: Path, want: Path) -> None:
    assert files(got) == files(want)
    for one, other in zip(many.params(got), many.params(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(
        *(json.loads((run / "evaluation.json").read_text()) for run in (got, want)),
        strict=True,
    ):
        assert_close(one, other)


def shown(place: int, run: Path, address: str) -> list[str]:
    """The words after `python -m train.main` of a command in the guide."""
    page = (many.ROOT / "docs" / "cluster.md").read_text()
    block = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)[place]
    words = shlex.split(block)
    flags = words[words.index("train.main") + 1 :]
    changed = {"--workdir": str(run), "--coordinator_address": address}
    return [
        f"{name}={changed.get(name, value)}"
        for name, _, value in (flag.partition("=") for flag in flags)
    ]


@pytest.mark.slow
def test_two_terminals_make_the_run_of_one_and_either_goes_on(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    address = f"localhost:{many.free_port()}"
    alone = [*shown(2, one, address), *SMALL]
    with many.Many("train.main", [alone], devices=2) as started:
        (ended,) = started.all_end(600)
    assert ended.status == 0, ended.errors
    both = [[*shown(i, two, address), *SMALL] for i in range(2)]
    with many.Many("train.main", both) as started:
        first, second = started.all_end(600)
    assert (first.status, second.status) == (0, 0), first.errors + second.errors
    assert "in 2 processes" in first.output.splitlines()[0]
    assert "a mesh of 1 (seeds) × 2 (batch) devices, 2 of 4" in first.output
    assert (second.output, first.errors, second.errors) == ("", "", "")
    assert_same_run(two, one)
    for folder, count in ((one, 2), (two, 1)):
        more = (*SMALL, "--steps=16", f"--workdir={folder}")
        ended = many.run("train.main", *more, count=count)
        assert {each.status for each in ended} == {0}, ended
    assert_same_run(two, one)
    results = []
    for count in (1, 2):
        first, *_ = many.run("train.evaluate", f"--workdir={two}", count=count)
        results.append({**json.loads(first.output), "seconds": 0})
    assert_close(*results)


TASK = """
import os

import numpy as np

from ntm_jax import tasks


class Rows(tasks.DatasetTask):
    inputs = tasks.Tokens(4)
    targets = tasks.Categories(4)

    def data(self, split):
        return Told(split)


class Told:
    def __init__(self, split):
        self.split = split

    def __len__(self):
        return 60

    def __getitem__(self, i):
        if self.split == "train":
            with open(f"read_by_{os.getpid()}", "a") as file:
                print(i, file=file)
        row = np.arange(i, i + i % 7 + 2) % 4
        return row, row
"""


@pytest.mark.slow
@pytest.mark.parametrize("num_seeds", [1, pytest.param(2, marks=pytest.mark.rare)])
def test_each_process_reads_its_part_of_the_data(num_seeds, tmp_path):
    (tmp_path / "rows.py").write_text(TASK)
    one, two = tmp_path / "one", tmp_path / "two"
    words = [*SMALL, "--task=rows.py:Rows", f"--num_seeds={num_seeds}"]
    with many.Many(
        "train.main", [[*words, f"--workdir={one}"]], cwd=tmp_path
    ) as started:
        (ended,) = started.all_end(600)
    assert ended.status == 0, ended.errors
    (alone,) = tmp_path.glob("read_by_*")
    whole = alone.read_text().split()
    alone.unlink()
    both = [[*words, f"--workdir={two}", *own] for own in many.flags_of(2)]
    with many.Many("train.main", both, cwd=tmp_path) as started:
        for ended in started.all_end(600):
            assert ended.status == 0, ended.errors
    assert_same_run(two, one)
    parts = [path.read_text().split() for path in tmp_path.glob("read_by_*")]
    # Each has looked at a batch or two to check the task.
    assert all(len(part) < 0.7 * len(whole) for part in parts)
    assert {*parts[0], *parts[1]} == {*whole}


@pytest.mark.rare
def test_four_processes_share_two_seeds(tmp_path):
    # Both restart, as nothing becomes better.
    stuck = ("--restart_after=4", "--learning_rate=1e-9")
    seeds = (*SMALL, "--num_seeds=2", *stuck)
    one, four = tmp_path / "one", tmp_path / "four"
    for folder, count in ((one, 1), (four, 4)):
        ended = many.run("train.main", *seeds, f"--workdir={folder}", count=count)
        assert {each.status for each in ended} == {0}, ended
    assert_same_run(four, one)


@pytest.mark.slow
def test_a_study_is_completed_by_what_is_left_of_its_processes(tmp_path):
    study = tmp_path / "study"
    words = [*SMALL, "--num_seeds=1", f"--workdir={study}", "--choices", "preset"]
    words += ["batch_size=2", "momentum=0.5"]
    arguments = [[*own, *words] for own in many.flags_of(2)]
    with many.Many("train.study", arguments) as started:
        many.wait_for(study / "batch_size=2" / "metrics.jsonl")
        started.processes[1].kill()
        left = started.end(0, 600)
    assert left.status == 0, left.errors
    table = (study / "study.md").read_text()
    assert [line.split(" |")[0] for line in table.splitlines()[2:]] == [
        "| preset",
        "| batch_size=2",
        "| momentum=0.5",
    ]


WRONG_STARTS = {
    "too few": (
        [("3", "0"), ("3", "1")],
        ["num_processes: got 3, but not all of them met"] * 2,
    ),
    "no coordinator": ([("2", "1")], ["coordinator_address: got localhost:"]),
    "one id twice": ([("2", "0"), ("2", "1"), ("2", "1")], ["got one number in two"]),
    "two numbers": (
        [("2", "0"), ("3", "1")],
        ["num_processes: got 2 in process 0 on .* but 3 in process 1"] * 2,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.rare] if kind == "one id twice" else [])
        for kind in WRONG_STARTS
    ],
)
def test_a_wrong_start_is_one_clear_error_in_every_process(kind, tmp_path):
    starts, words = WRONG_STARTS[kind]
    address = f"--coordinator_address=localhost:{many.free_port()}"
    common = [*LONG, f"--workdir={tmp_path}/run", address, "--start_timeout=15"]
    arguments = [
        [*common, f"--num_processes={count}", f"--process_id={own}"]
        for count, own in starts
    ]
    with many.Many("train.main", arguments) as processes:
        ended = processes.all_end(120)
    for each in ended:
        assert each.status != 0
        lines = each.errors.splitlines()
        assert len(lines) == 1, each.errors
        assert lines[0].startswith("error: ")
    for each, wanted in zip(ended, words, strict=False):
        assert re.search(wanted, each.errors), each.errors
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ("--batch_size=8", "batch_size: got 4 in process 0 on .*, but 8 in process 1"),
        ("--workdir=elsewhere", "workdir: got .*, in which this process does not see"),
    ],
)
def test_processes_that_differ_are_told_so(changed, words, tmp_path):
    common = [*LONG, f"--workdir={tmp_path}/run"]
    first, second = many.flags_of(2)
    arguments = [[*common, *first], [*common, *second, changed]]
    with many.Many("train.main", arguments, cwd=tmp_path) as processes:
        for each in processes.all_end(120):
            assert each.status == 2, each.errors
            assert len(each.errors.splitlines()) == 1, each.errors
            assert re.search(words, each.errors), each.errors


@pytest.mark.slow
def test_processes_with_different_versions_are_told_so(tmp_path):
    other = tmp_path / "optax-0.0.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Name: optax\nVersion: 0.0.1\n")
    words = [[*LONG, f"--workdir={tmp_path}/run", *own] for own in many.flags_of(2)]
    with many.Many("train.main", words, paths=[many.ROOT, tmp_path]) as processes:
        for each in processes.all_end(120):
            assert each.status == 2, each.errors
            (line,) = each.errors.splitlines()
            assert re.search("optax: got '.*' in process 0 on .* but '0.0.1' in", line)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", [0, 1])
def test_jax_is_told_how_long_to_wait_once_the_port_is_as_it_should_be(
    place, monkeypatch, capsys
):
    told = {}

    def initialize(*_, **waits):
        told.update(waits)
        raise RuntimeError("no other process")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with socket.create_server(("localhost", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
        asked = Processes(
            coordinator_address=address,
            num_processes=2,
            process_id=place,
            start_timeout=7,
            heartbeat_timeout=8,
        )
        with pytest.raises(SystemExit):
            start._join(asked, {}, lambda **_: None)
    (line,) = capsys.readouterr().err.splitlines()
    if place == 0:  # it would listen there itself
        assert "want a port that is free" in line
        assert not told
    else:
        assert "no other process" in line
        assert told["initialization_timeout"] == 7
        assert told["heartbeat_timeout_seconds"] == 8


def test_a_process_that_does_not_answer_is_named(monkeypatch):
    class Silent:
        def key_value_set(self, *_):
            pass

        def blocking_key_value_get(self, place, milliseconds):
            raise jax.errors.JaxRuntimeError(f"DEADLINE_EXCEEDED: {place}")

    monkeypatch.setattr(together, "client", Silent)
    with pytest.raises(TimeoutError, match=r"process 0 on .* not answered for 3 s"):
        together.exchange("here", seconds=3)


def test_what_processes_read_differently_is_named(monkeypatch):
    class Other:
        """A second process, which has read an older checkpoint."""

        def key_value_set(self, place, text):
            self.texts = [text, json.dumps({"host": "there", "checkpoint": 8})]

        def blocking_key_value_get(self, place, milliseconds):
            return self.texts[int(place.rpartition("/")[2])]

        def key_value_delete(self, place):
            pass

    other = Other()
    monkeypatch.setattr(together, "client", lambda: other)
    monkeypatch.setattr(together, "is_one_of_many", lambda: True)
    monkeypatch.setattr(together, "num_processes", lambda: 2)
    monkeypatch.setattr(together, "_hosts", [])
    words = "checkpoint: got 12 in process 0 on .*, but 8 in process 1 on there, want"
    with pytest.raises(ValueError, match=words):
        together.check_read(checkpoint=12)
    together.check_read(checkpoint=8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "victim"),
    [
        (signal.SIGKILL, 0),
        pytest.param(signal.SIGSTOP, 1, marks=pytest.mark.rare),
        pytest.param(signal.SIGKILL, 1, marks=pytest.mark.rare),
        pytest.param(signal.SIGSTOP, 0, marks=pytest.mark.rare),
    ],
)
def test_if_a_process_is_missing_the_others_say_so_and_end(number, victim, tmp_path):
    run = tmp_path / "run"
    common = [*LONG, "--checkpoint_every=2", f"--workdir={run}"]
    common += ["--heartbeat_timeout=10"]
    arguments = [[*common, *own] for own in many.flags_of(2)]
    with many.Many("train.main", arguments) as processes:
        many.wait_for(run / "checkpoints" / "4")
        processes.processes[victim].send_signal(number)
        left = processes.end(1 - victim, 120)
    assert left.status != 0
    (line,) = left.errors.splitlines()
    assert line.startswith(f"error: process {victim} on ")
    assert "start the same command in all processes" in line
    # No checkpoint is damaged.
    assert RunFolder.open(run).restore().step[0] >= 2


@pytest.mark.slow
def test_after_sigterm_nothing_that_was_reported_is_lost(tmp_path):
    run = tmp_path / "run"
    common = [*LONG, "--checkpoint_every=1000000", f"--workdir={run}"]
    arguments = [[*common, *own] for own in many.flags_of(2)]
    with many.Many("train.main", arguments) as processes:
        many.wait_for(run / "metrics.jsonl")
        processes.processes[1].send_signal(signal.SIGTERM)
        first, second = processes.all_end(120)
    assert (first.status, second.status) == (143, 143), first.errors + second.errors
    assert "wrote a checkpoint after update" in first.errors
    folder = RunFolder.open(run)
    assert folder.metrics()[-1]["step"] == folder.restore().step[0]


def test_fit_is_refused_in_many_processes(monkeypatch):
    monkeypatch.setattr(library, "is_one_of_many", lambda: True)
    with pytest.raises(ValueError, match="fit: got 1 processes"):
        library.fit("copy")
