"""The live view: what it answers for the files of a run, and what it refuses."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from playwright.sync_api import expect
from starlette.types import ASGIApp, Message
from tiny import TINY, flags, listing

import ntm_jax
from ntm_jax import tasks
from train import main, serve
from train.runs.config import TrainConfig
from train.runs.folder import RunFolder
from train.serving.app import STATIC, make_app
from train.serving.kept import Kept
from train.serving.maker import Maker, MakerError
from train.serving.runs import Run, Runs
from train.serving.server import bind
from train.serving.watcher import Watcher

ROOT = Path(__file__).parents[1]
HOSTILE = "<img src=x onerror=alert(1)> & 100%"


class FakeMaker(Maker):
    """Makes what can be told apart, at once."""

    def do(self, work: str, workdir: Path, content: bytes = b"", **job) -> bytes:
        if job.get("step") == 40:
            raise MakerError("task: got none, want one")
        return f"{work} {workdir.name} {content.decode()} {job}".encode()


def metric(step: int, loss: float, kind: str = "train") -> dict:
    own = {"loss_bits": loss, "wrong_bits": loss / 2, "seconds": 2.0}
    return {"step": step, "kind": kind, "seed": 0, **own}


def write_run(path: Path, losses=(3.5, 2.25), config: TrainConfig = TINY) -> Path:
    """A run folder that nobody has trained in."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(config.to_json())
    with (path / "metrics.jsonl").open("w") as file:
        for i, loss in enumerate(losses, 1):
            print(json.dumps(metric(10 * i, loss)), file=file)
            print(json.dumps({**metric(10 * i, 1), "kind": "health"}), file=file)
    with (path / "answers.jsonl").open("w") as file:
        for i in range(1, 1 + len(losses)):
            print(json.dumps({"step": 10 * i, "outputs": [[0.5, i]]}), file=file)
    for step in (10, 20):
        (path / "checkpoints" / str(step)).mkdir(parents=True)
    return path


class Answer:
    """The answer to a request."""

    def __init__(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.status_code, self.headers, self.content = status, headers, content

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self):
        return json.loads(self.content)


class Client:
    """Asks an application without a network."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def get(
        self, url: str, host: str = "localhost:8088", method: str = "GET"
    ) -> Answer:
        path, _, query = url.partition("?")
        said: list[Message] = []
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": urllib.parse.unquote(path, errors="replace"),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", host.encode())],
            "server": ("127.0.0.1", 8088),
        }

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            said.append(message)

        async def ask() -> None:
            await self._app(scope, receive, send)

        asyncio.run(ask())
        start, *rest = said
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        content = b"".join(each.get("body", b"") for each in rest)
        return Answer(start["status"], headers, content)


@contextlib.contextmanager
def opened(
    folder: Path, *, single: bool = True, loopback: bool = True
) -> Iterator[Client]:
    """The application, as a client sees it."""
    runs = Runs(folder, single=single)
    watcher = Watcher(runs, FakeMaker())
    watcher.start()
    try:
        yield Client(make_app(runs, watcher, loopback=loopback))
    finally:
        watcher.close()


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "runs" / "copy")


def answered(client: Client, path: str) -> tuple[int, str]:
    """The status and the error of an answer."""
    response = client.get(path)
    return response.status_code, response.json().get("error")


def soon(client: Client, path: str):
    """The answer once there is one."""
    for _ in range(200):
        if (response := client.get(path)).status_code != 503:
            return response
        time.sleep(0.02)
    raise AssertionError(f"{path}: not made")


def append(run: Path, text: str) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write(text)


def test_metrics_are_those_of_the_file(run):
    lines = [*map(json.loads, (run / "metrics.jsonl").read_text().splitlines())]
    with opened(run) as client:
        assert client.get("/api/metrics").json()["entries"] == lines
        after = client.get("/api/metrics?since=10").json()
        assert after == {"replaced": 0, "entries": lines[2:]}
        assert client.get("/api/metrics?since=20").json()["entries"] == []
        assert client.get("/api/loss").json() == {
            "name": "loss_bits",
            "seeds": {"0": {"step": [10, 20], "loss": [3.5, 2.25]}},
        }
        assert client.get("/api/config").json() == TINY.to_dict()
        assert client.get("/api/answer").json() == {"step": 20, "outputs": [[0.5, 2]]}
        assert client.get("/api/answer?step=10").json()["outputs"] == [[0.5, 1]]
        status = client.get("/api/status").json()
        assert (status["step"], status["steps"], status["state"]) == (
            20,
            60,
            "training",
        )
        assert status["seconds_left"] == (60 - 20) * 2.0 / 10
        (run / "evaluation.json").write_text("[]")
        assert client.get("/api/status").json()["state"] == "complete"


def test_a_journal_is_read_as_it_grows(run):
    with opened(run) as client:

        def steps(since: int) -> list[int]:
            found = client.get(f"/api/metrics?since={since}").json()
            return [entry["step"] for entry in found["entries"]]

        assert steps(10) == [20, 20]
        text = json.dumps(metric(30, 0.5)) + "\n"
        append(run, text[:20])  # half a line
        assert steps(10) == [20, 20]
        append(run, text[20:])
        assert steps(10) == [20, 20, 30]
        append(run, json.dumps(metric(40, float("nan"))) + "\n")
        (entry,) = client.get("/api/metrics?since=30").json()["entries"]
        assert entry["loss_bits"] is None


def test_a_run_that_goes_back_starts_its_metrics_again(run):
    with opened(run) as client:
        assert client.get("/api/metrics").json()["replaced"] == 0
        shorter = run / "new"
        shorter.write_text(json.dumps(metric(10, 7.0)) + "\n")
        shorter.replace(run / "metrics.jsonl")
        found = client.get("/api/metrics").json()
        assert found["replaced"] == 1
        assert [entry["loss_bits"] for entry in found["entries"]] == [7.0]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("{", "metrics.jsonl, line 5: got other text than JSON"),
        ('{"step": 30}', "metrics.jsonl, line 5: kind: got none, want a value"),
        ('{"step": 3, "kind": "train", "seed": 0}', "line 5: step: got 3 after 20"),
        ('{"step": 30, "kind": "x", "seed": 0}', "kind: got 'x', want one of train"),
        ("\xff", "metrics.jsonl, line 5: got"),
    ],
)
def test_a_damaged_record_is_named(run, line, error):
    whole = (run / "metrics.jsonl").read_text()
    append(run, line + "\n")
    with opened(run) as client:
        for path in ("/api/metrics", "/api/loss", "/api/status"):
            status, told = answered(client, path)
            assert status == 500
            assert error in told
        (run / "metrics.jsonl").write_text(whole)  # in place
        assert len(client.get("/api/metrics").json()["entries"]) == 4


def test_a_damaged_config_is_named(run):
    (run / "config.json").write_text('["copy"]')
    with opened(run) as client:
        error = "config.json: got ['copy'], want a JSON object"
        assert answered(client, "/api/config") == (500, error)


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/api/metrics?since=x", 400, "since: got 'x', want an integer"),
        ("/api/answer?step=1.5", 400, "step: got '1.5', want an integer"),
        ("/api/answer?step=15", 404, "step: got 15, want one at which the run kept"),
        ("/api/weights?step=15", 404, "step: got 15, want one of 10, 20"),
        ("/page?step=-1", 404, "step: got -1, want one of 10, 20"),
        ("/api/nothing", 404, "path: got no page of this server"),
        ("/static/app.py", 404, "path: got no page of this server"),
        ("/static/..%2fapp.py", 404, "path: got no page of this server"),
        ("/api/%2e%2e/%2e%2e/etc/passwd", 404, "path: got no page of this server"),
        ("/%2e%2e/secret", 404, "path: got no page of this server"),
        ("//etc/passwd", 404, "path: got no page of this server"),
    ],
)
def test_a_wrong_request_has_one_clear_line(run, path, status, error):
    (run.parent / "secret").write_text("secret")
    with opened(run) as client:
        got, told = answered(client, path)
        assert got == status
        assert told.startswith(error)


def test_only_reading_is_possible(run):
    with opened(run) as client:
        response = client.get("/api/config", method="POST")
        assert (response.status_code, response.json()) == (
            405,
            {"error": "method: want GET"},
        )


@pytest.mark.parametrize("path", ["/runs/../secret/", "/runs/%2e%2e/", "/runs//etc/"])
def test_names_lead_to_runs_below_only(run, path):
    write_run(run.parent.parent / "secret")
    with opened(run.parent, single=False) as client:
        status, told = answered(client, path + "api/config")
        assert status == 404
        assert "secret" not in told or "run: got" in told
        assert client.get("/runs/copy/api/config").status_code == 200


def test_links_out_of_the_folder_are_not_followed(run, tmp_path):
    outside = write_run(tmp_path / "outside")
    (run.parent / "linked").symlink_to(outside)
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").symlink_to(outside / "metrics.jsonl")
    (run / "checkpoints" / "30").mkdir()
    (run / "checkpoints" / "30" / "file").symlink_to(outside / "config.json")
    with opened(run.parent, single=False) as client:
        names = [each["name"] for each in client.get("/api/runs").json()["runs"]]
        assert names == ["copy"]
        assert client.get("/runs/linked/api/config").status_code == 404
        error = "metrics.jsonl: leads out of the folder that is served"
        assert answered(client, "/runs/copy/api/metrics") == (404, error)
        response = soon(client, "/runs/copy/api/weights?step=30")
        assert response.status_code == 500
        assert "leads out of the folder" in response.json()["error"]


def test_a_served_folder_can_itself_be_a_link(run, tmp_path):
    (tmp_path / "link").symlink_to(run)
    with opened(tmp_path / "link") as client:
        assert client.get("/api/metrics").status_code == 200


def test_only_our_names_lead_to_a_server_on_loopback(run):
    with opened(run) as client:
        for host in ("localhost", "127.0.0.1:8088", "[::1]:8088"):
            assert client.get("/", host=host).status_code == 200
        for host in ("evil.com", "localhost.evil.com", "127.0.0.1.evil.com:8088", ""):
            assert client.get("/", host=host).status_code == 400
    with opened(run, loopback=False) as client:
        assert client.get("/", host="my.computer").status_code == 200


def test_every_answer_says_what_a_browser_may_do(run):
    paths = ("/", "/api/config", "/api/nothing", *(f"/static/{n}" for n in STATIC))
    with opened(run) as client:
        for path in paths:
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
        policy = soon(client, "/page?step=20").headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'unsafe-inline'")
        assert "frame-ancestors 'self'" in policy


def test_pages_name_no_other_host():
    folder = ROOT / "train" / "serving" / "static"
    files = sorted(folder.iterdir())
    assert {path.name for path in files} == {*STATIC, "run.html", "index.html"}
    for path in files:
        assert not re.search(r"https?:|@import|url\(|innerHTML", path.read_text())


def test_pages_and_weights_are_made_of_checkpoints(run):
    with opened(run) as client:
        assert soon(client, "/api/weights").text == "weights copy  {'step': 20}"
        response = soon(client, "/api/weights?step=10")
        assert response.text == "weights copy  {'step': 10}"
        assert "copy_10.safetensors" in response.headers["content-disposition"]
        assert soon(client, "/api/sequence").text == "sequence copy  {}"
        page = soon(client, "/page?step=10").text
        assert page == "page copy weights copy  {'step': 10} {'step': 10}"
        # The run removes a checkpoint; the server has kept what was made of it.
        shutil.rmtree(run / "checkpoints" / "10")
        (run / "checkpoints" / "30").mkdir()
        assert soon(client, "/page?step=30").status_code == 200
        assert client.get("/page?step=10").text == page
        found = client.get("/api/checkpoints").json()
        assert found["checkpoints"] == found["pages"] == [10, 20, 30]
        assert found["answers"] == [10, 20]


def test_what_cannot_be_made_is_told(run):
    (run / "checkpoints" / "40").mkdir()
    with opened(run) as client:
        error = "task: got none, want one"
        response = soon(client, "/page?step=40")
        assert (response.status_code, response.json()) == (500, {"error": error})
        assert client.get("/api/checkpoints").json()["problem"] == error


def test_a_run_can_vanish_and_come_back(run):
    with opened(run) as client:
        assert client.get("/api/metrics").status_code == 200
        shutil.rmtree(run)
        for path in ("/api/metrics", "/api/config", "/api/status", "/api/checkpoints"):
            status, told = answered(client, path)
            assert status == 404
            assert told == "run: got copy, which is not there, or not yet"
        write_run(run, losses=[1.0])
        assert len(client.get("/api/metrics").json()["entries"]) == 2


def test_several_runs_have_an_index(run):
    write_run(run.parent / "study" / HOSTILE, losses=[4.0, float("inf"), 1.0])
    write_run(run.parent / "damaged")
    append(run.parent / "damaged", "x\n")
    with opened(run.parent, single=False) as client:
        found = client.get("/api/runs").json()
        assert not found["single"]
        copy, damaged, hostile = found["runs"]
        assert damaged["error"].startswith("metrics.jsonl, line 5: ")
        assert copy["curve"][0] == [10, 3.5]
        assert hostile["name"] == f"study/{HOSTILE}"
        assert hostile["curve"] == [[10, 4.0], [20, None], [30, 1.0]]
        path = f"/runs/study/{urllib.parse.quote(HOSTILE)}/api/status"
        assert client.get(path).json()["name"] == f"study/{HOSTILE}"
        assert client.get("/runs/copy").headers["location"].endswith("/runs/copy/")


def test_nothing_is_written(run):
    before = listing(run.parent)
    times = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    with opened(run) as client:
        for path in ("/", "/api/metrics", "/api/runs", "/api/config", "/api/answer"):
            assert client.get(path).status_code == 200
        assert soon(client, "/page").status_code == 200
    assert listing(run.parent) == before
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == times


def test_old_checkpoints_are_dropped_when_there_are_too_many():
    kept = Kept()
    for step in range(1, 8):
        kept.weights[step], kept.pages[step] = b"12", b"345"
    assert kept.size() == 35
    kept.thin()
    assert list(kept.weights) == list(kept.pages) == [1, 3, 5, 7]
    kept.drop_after(3)
    assert list(kept.weights) == list(kept.pages) == [1, 3]


def test_what_is_kept_of_another_run_is_dropped():
    kept = Kept()
    kept.check_same({"seed": 0, "steps": 1})
    kept.weights[1] = b"1"
    kept.check_same({"seed": 0, "steps": 2})
    assert kept.weights
    kept.check_same({"seed": 1, "steps": 2})
    assert not kept.weights


def test_a_damaged_answer_is_named(run):
    with (run / "answers.jsonl").open("a") as file:
        file.write('{"step": 30, "outputs": 5}\n')
    with opened(run) as client:
        assert client.get("/api/answer?step=20").json()["outputs"] == [[0.5, 2]]
        error = "answers.jsonl, line 3: outputs: got 5, want a list"
        assert answered(client, "/api/answer") == (500, error)


def test_a_checkpoint_that_is_not_whole_does_not_count(tmp_path):
    single = Run(write_run(tmp_path / "copy"), "")
    assert single.checkpoints() == [10, 20]
    (tmp_path / "copy" / "checkpoints" / "30.orbax-checkpoint-tmp").mkdir()
    assert single.checkpoints() == [10, 20]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--port=70000"], "port: got 70000, want a port from 0 to 65535"),
        (["--port=-1"], "port: got -1, want a port from 0 to 65535"),
        (["--host=no.such.host.invalid"], "host: got 'no.such.host.invalid', want"),
        (["--host=192.0.2.1"], "host: got '192.0.2.1', want an address of this"),
        (["--workdir=nothing"], "workdir: got nothing, want the folder of a run"),
    ],
)
def test_what_cannot_be_served_is_refused(run, words, error, capsys):
    with pytest.raises(SystemExit) as ended:
        serve.main([f"--workdir={run}", *words])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {error}")


def test_a_port_in_use_is_refused_before_anything_is_written(run, tmp_path, capsys):
    with bind("127.0.0.1", 0, "port") as taken:
        port = taken.getsockname()[1]
        for command, words in (
            (serve.main, [f"--workdir={run}", f"--port={port}"]),
            (main.main, [f"--workdir={tmp_path / 'new'}", f"--serve={port}"]),
        ):
            with pytest.raises(SystemExit) as ended:
                command(words)
            assert ended.value.code == 2
            told = capsys.readouterr().err
            assert f"got {port}, which is in use, want a free port" in told
            assert told.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_missing_package_is_named(run, monkeypatch, capsys):
    monkeypatch.setattr("train.serving.server.PACKAGES", ("no_such_package",))
    with pytest.raises(SystemExit):
        serve.main([f"--workdir={run}"])
    told = "serve: the live view needs no_such_package; pip install 'ntm_jax[serve]'"
    assert capsys.readouterr().err == f"error: {told}\n"


# For a busy computer, in seconds.
_PATIENCE = 900

# --- with processes of their own ----------------------------------------------------


@pytest.fixture(autouse=True)
def heard():
    """A job in the background of a shell ignores SIGINT, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def started(*words: str, **options) -> Iterator[tuple[subprocess.Popen, str]]:
    """A command that serves, and the address that it prints."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        said = ""
        while not (found := re.search(r"shown at (http://\S+/)", said)):
            line = process.stdout.readline()
            assert line, said
            said += line
        yield process, found[1]
    finally:
        process.kill()
        process.communicate()


def rest_of(process: subprocess.Popen) -> str:
    """What a process still says until it ends."""
    return process.communicate(timeout=_PATIENCE)[0]


def asked(url: str) -> Answer:
    """The answer of a server; an `OSError` if there is none."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return Answer(answer.status, dict(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, dict(error.headers), error.read())


def fetched(address: str, path: str) -> Answer:
    """An answer of a server, once it has one that is not an error."""
    end = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(OSError):
            answer = asked(address + path)
            if answer.status_code == 200:
                return answer
        assert time.monotonic() < end, path
        time.sleep(0.2)


def wait_for_report(address: str) -> None:
    """Until a run has reported for the first time."""
    end = time.monotonic() + _PATIENCE
    while not fetched(address, "api/metrics").json()["entries"]:
        assert time.monotonic() < end
        time.sleep(0.05)


def check_ended(address: str) -> None:
    """That a server is gone, or within ten seconds."""
    end = time.monotonic() + 10
    with contextlib.suppress(OSError):
        while time.monotonic() < end:
            asked(address)
            time.sleep(0.1)
        raise AssertionError("the server has not ended")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, quick_compilations) -> tuple[Path, Path]:
    """A run with --serve, which was looked at, and the same run without."""
    folder = tmp_path_factory.mktemp("trained")
    with_page, alone = folder / "with_page", folder / "alone"
    words = [*flags(TINY), f"--workdir={with_page}", "--serve=0"]
    with started("train.main", *words) as (process, address):
        wait_for_report(address)
        fetched(address, "api/checkpoints")
        said = rest_of(process)
        assert process.returncode == 0, said
        check_ended(address)
    words = [*flags(TINY), f"--workdir={alone}"]
    subprocess.run(
        [sys.executable, "-m", "train.main", *words],
        cwd=ROOT,
        check=True,
        capture_output=True,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
    )
    return with_page, alone


@pytest.mark.slow
def test_a_run_that_is_served_ends_with_the_same_parameters(trained):
    one, other = (RunFolder.open(path).restore() for path in trained)
    assert int(one.step[0]) == int(other.step[0]) > 0
    for leaf, alone in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
        assert np.asarray(leaf).tobytes() == np.asarray(alone).tobytes()
    names = [sorted(p.name for p in path.iterdir()) for path in trained]
    assert names[0] == names[1]


@pytest.mark.slow
def test_weights_and_pages_are_those_of_the_checkpoints(trained, tmp_path):
    run = RunFolder.open(trained[0])
    before = listing(trained[0])
    with started("train.serve", f"--workdir={trained[0]}", "--port=0") as (_, address):
        newest = fetched(address, "api/checkpoints").json()["checkpoints"][-1]
        path = tmp_path / "weights.safetensors"
        path.write_bytes(fetched(address, f"api/weights?step={newest}").content)
        params, config = ntm_jax.load(path)
        assert config == run.config.make_ntm_config()
        states = run.restore()
        jax.tree.map(
            lambda got, want: np.testing.assert_array_equal(got, want[0]),
            params,
            dict(states.params),
        )
        sequence = fetched(address, "api/sequence").json()
        answer = fetched(address, "api/answer").json()["outputs"]
        assert np.shape(answer) == np.shape(sequence["targets"])
        assert "Inside the memory" in fetched(address, f"page?step={newest}").text
    assert listing(trained[0]) == before


@pytest.mark.slow
def test_a_task_from_outside_that_is_gone_is_told(trained, tmp_path):
    path = tmp_path / "copied"
    shutil.copytree(trained[0], path)
    gone = (path / "config.json").read_text().replace('"copy"', '"/no/file.py:Mine"')
    (path / "config.json").write_text(gone)
    with started("train.serve", f"--workdir={path}", "--port=0") as (_, address):
        fetched(address, "api/metrics")
        end = time.monotonic() + _PATIENCE
        while not (told := fetched(address, "api/checkpoints").json()["problem"]):
            assert time.monotonic() < end
            time.sleep(0.2)
    assert "/no/file.py" in told


@pytest.mark.slow
def test_clients_that_hang_up_and_a_second_server_do_no_harm(trained):
    words = ("train.serve", f"--workdir={trained[0]}", "--port=0")
    with started(*words) as (process, address), started(*words) as (_, other):
        url = urllib.parse.urlsplit(address)
        for _ in range(50):
            with socket.create_connection((url.hostname, url.port)) as client:
                client.sendall(b"GET /api/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for each in (address, other):
            assert fetched(each, "api/status").json()["state"] == "complete"
        process.send_signal(signal.SIGINT)
        assert rest_of(process) == "Stopped.\n"
        assert process.returncode == 130


@pytest.mark.slow
def test_ctrl_c_ends_the_run_and_its_server_at_once(tmp_path, quick_compilations):
    words = [*flags(TINY), f"--workdir={tmp_path / 'run'}"]
    with started("train.main", *words, "--serve=0") as (process, address):
        fetched(address, "static/style.css")
        process.send_signal(signal.SIGINT)
        said = rest_of(process)
        assert process.returncode == 130
        assert "Stopped." in said
        assert "Traceback" not in said
        check_ended(address)


@pytest.mark.slow
def test_the_page_shows_answers_of_many_categories_in_words(tmp_path, browser):
    path = write_run(tmp_path / "poems", config=TrainConfig(task="poems"))
    task = tasks.poems.Poems()
    batch = task.held_out("evaluation", 1)
    targets, mask = np.asarray(batch.targets)[:, 0], np.asarray(batch.mask)[:, 0]
    answer = np.where(np.arange(len(targets)) == np.flatnonzero(mask)[3], 5, targets)
    kept = {"step": 10, "outputs": answer.tolist()}
    (path / "answers.jsonl").write_text(json.dumps(kept) + "\n")
    with started("train.serve", f"--workdir={path}", "--port=0") as (_, address):
        page = browser.new_page()
        page.set_default_timeout(1_000_000)
        page.goto(address)
        rows = page.locator("#answers tr")
        rows.last.wait_for()
        said = [row.locator("td").all_text_contents() for row in rows.all()]
        assert said == [task.answer_words(each[mask]) for each in (targets, answer)]
        assert page.locator("#answers .wrong").all_text_contents() == [said[1][3]]
        page.close()


@pytest.mark.slow
def test_the_page_shows_the_run_live(trained, tmp_path, browser):
    path = tmp_path / "live"
    shutil.copytree(trained[0], path)
    (path / "evaluation.json").unlink()
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    early = [line for line in lines if json.loads(line)["step"] <= 20]
    (path / "metrics.jsonl").write_text("".join(early))
    steps = sorted(int(p.name) for p in (path / "checkpoints").iterdir())
    shutil.move(path / "checkpoints" / str(steps[-1]), tmp_path / "later")
    with started("train.serve", f"--workdir={path}", "--port=0") as (_, address):
        fetched(address, "api/status")
        page, said = browser.new_page(), []
        page.set_default_timeout(1_000_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        urls = []
        page.on("request", lambda request: urls.append(request.url))
        page.goto(address)
        check_numbers(page, early)
        frame = page.locator(f'iframe:not(.behind)[data-step="{steps[0]}"]')
        frame.wait_for()
        before = page.frame_locator("iframe:not(.behind)").locator("#content")
        numbers = before.inner_text()
        (path / "metrics.jsonl").write_text("".join(lines))
        shutil.move(tmp_path / "later", path / "checkpoints" / str(steps[-1]))
        check_numbers(page, lines)
        page.locator(f'iframe:not(.behind)[data-step="{steps[-1]}"]').wait_for()
        assert before.inner_text() != numbers
        # Back in time, by the keyboard.
        page.get_by_role("slider", name="Update", exact=True).focus()
        page.keyboard.press("Home")
        expect(page.get_by_label("Newest", exact=True)).not_to_be_checked()
        first = json.loads((path / "answers.jsonl").read_text().partition("\n")[0])[
            "step"
        ]
        expect(page.locator("#answers canvas").last).to_have_attribute(
            "data-step", str(first)
        )
        page.set_viewport_size({"width": 320, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        assert said == []
        assert all(url.startswith(address) for url in urls)
        page.close()


def check_numbers(page, lines: list[str]) -> None:
    """That the newest numbers shown, and the curves, are those of the file."""
    entries = [json.loads(line) for line in lines]
    for kind in ("train", "health"):
        last = [entry for entry in entries if entry["kind"] == kind][-1]
        for name, value in last.items():
            if name not in ("step", "kind", "seed"):
                cell = page.locator(f'[data-name="{kind}.{name}.0"]')
                expect(cell).to_have_attribute("title", re.compile(r"."))
                expect(cell).to_have_attribute("title", js_number(page, value))
    train = [entry for entry in entries if entry["kind"] == "train"][-1]
    expect(page.locator("#loss-readout")).to_contain_text(f"update {train['step']}:")


def js_number(page, value: float) -> str:
    """The number as JavaScript writes it, in full."""
    return page.evaluate("value => String(value)", value)
