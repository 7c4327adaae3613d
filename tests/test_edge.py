"""The edge of a command: what goes wrong outside of it ends in one clear line."""

import ast
import dataclasses
import errno
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest
from matplotlib.figure import Figure
from tiny import TINY, claimed, flags, listing, short_of_time  # noqa: F401 (a fixture)

from train import cli, evaluate, main, starting, study, visualize
from train.runs import checkpoint, files
from train.runs.checkpoint import Checkpoints
from train.runs.config import TrainConfig
from train.show.draw import save_figure

ROOT = Path(__file__).parents[1]
SHORT = dataclasses.replace(TINY, steps=4, validate_every=4)


@pytest.fixture(autouse=True)
def heard():
    """A job in the background of a shell ignores SIGINT, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def start(*words: str, **options) -> subprocess.Popen:
    """A command in a process of its own."""
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ended(process: subprocess.Popen) -> tuple[int, str]:
    """The status of a process, and its errors."""
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    tmp_path, monkeypatch, capsys
):
    arguments = [f"--workdir={tmp_path / 'run'}", *flags(SHORT)]
    for place in (
        "train.runs.lock.os.open",
        "train.runs.folder.write_whole",
        "train.runs.events.Events._write",
        "train.runs.journal.Journal.add",
        "orbax.checkpoint.StandardCheckpointer.save",
        "train.runs.events.EventsWriter.flush",
        "train.show.draw.save_figure",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, full_disk)
            try:
                status = main.main(arguments)
            except SystemExit as end:
                status = end.code
        assert status == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: no space left on the disk")
        assert "--batch_size" not in line
        assert not list(tmp_path.rglob("*tmp*"))
        assert not list(tmp_path.rglob("lock"))
    assert main.main(arguments) == 0


def test_orbax_is_not_asked_for_more_than_the_disk_has(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, {"a": jax.numpy.zeros(3)}, {})
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="No space left") as caught:
        checkpoints.save(4, {"a": jax.numpy.zeros(3)}, {})
    assert cli.in_words(caught.value).startswith("no space left on the disk for")
    assert checkpoints.latest_step() == 2


def test_orbax_s_own_word_for_a_full_disk_is_not_lack_of_memory():
    error = ValueError(
        "RESOURCE_EXHAUSTED: Error writing local file: No space left on device "
        "[os_error_code='28']\nand more\n"
    )
    assert cli.in_words(error).startswith("no space left on the disk; make room")
    quota = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), "/home/me/run")
    assert "no space left on the disk for /home/me/run" in cli.in_words(quota)
    memory = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 8 bytes\nstack\nmore")
    assert cli.in_words(memory).endswith("JAX says: RESOURCE_EXHAUSTED: 8 bytes")


def test_a_damaged_checkpoint_makes_no_other_noise(tmp_path, capfd):
    run = claimed(tmp_path / "run", SHORT)
    run.save(run.load())
    for path in (run.path / "checkpoints" / "0").rglob("*"):
        if path.is_file() and path.name != "_METADATA":
            path.write_bytes(b"")
    capfd.readouterr()
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([f"--workdir={run.path}"])
    captured = capfd.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: workdir: got")


def test_threads_of_orbax_that_end_late_are_not_heard(monkeypatch):
    heard = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    checkpoint._ignore_late_threads.__wrapped__()
    late, other = (
        SimpleNamespace(exc_value=RuntimeError(words))
        for words in ("Event loop is closed", "something else")
    )
    report: Any = sys.unraisablehook
    report(late)
    report(other)
    assert heard == [other]


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (main, "--workdir=~nosuchuser/run"),
        (study, "--workdir=~nosuchuser/run"),
        (evaluate, "--workdir=~nosuchuser/run"),
        (evaluate, "--pretrained=~nosuchuser/run.safetensors"),
        (visualize, "--out=~nosuchuser/run"),
        (visualize, "--beside=~nosuchuser/run"),
        (visualize, "--records=~nosuchuser/run"),
    ],
)
def test_an_unknown_home_is_named(command, flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main([flag])
    name, _, value = flag.removeprefix("--").partition("=")
    assert capsys.readouterr().err.startswith(
        f"error: {name}: got {value!r}, but there is no such home folder"
    )


def test_without_a_home_nothing_is_kept(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    before = jax.config.values["jax_compilation_cache_dir"]
    cli.keep_compilations()
    assert jax.config.values["jax_compilation_cache_dir"] == before


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["nosuch", "cuda"])
def test_a_platform_that_is_not_there_is_named(platform, tmp_path):
    words = ["train.main", f"--workdir={tmp_path / 'run'}", *flags(SHORT)]
    if platform == "cuda" and jax.default_backend() != "cpu":
        pytest.skip("this machine has other devices")
    status, errors = ended(start(*words, env={"JAX_PLATFORMS": platform}))
    assert status == 2
    assert errors.startswith(f"error: JAX_PLATFORMS: got '{platform}', want")
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def wait_for(happened, process: subprocess.Popen) -> None:
    """Waits until something has happened in a process."""
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
@pytest.mark.parametrize("command", ["train.main", "benchmarks.results"])
def test_ctrl_c_while_jax_is_imported_is_one_line(command):
    process = start(command, "--help", stdout=subprocess.DEVNULL)
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: "numpy" in maps.read_text(), process)
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "Stopped.\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "times",
    [1, *(pytest.param(times, marks=pytest.mark.rare) for times in (2, 5))],
)
def test_ctrl_c_while_a_command_works_is_told_without_a_traceback(times, tmp_path):
    long = dataclasses.replace(SHORT, steps=10**6)
    words = ["train.main", f"--workdir={tmp_path / 'run'}", *flags(long)]
    process = start(*words, stdout=subprocess.PIPE)
    wait_for((tmp_path / "run" / "checkpoints" / "4").exists, process)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    status, errors = ended(process)
    assert status == 130 or (times > 1 and status == -signal.SIGINT)
    assert errors == ""


WORKS_BESIDE = """
import signal, sys, threading, time
sys.argv = ["-m"]
from train import cli
def later():
    time.sleep(0.2)
    sys.stderr.write("Python has taken itself apart")
with cli.readable_errors():
    threading.Thread(target=later).start()
    print("printed before")
    signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_does_not_wait_for_what_works_beside():
    command = [sys.executable, "-c", WORKS_BESIDE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 130
    assert (done.stdout, done.stderr) == ("printed before\n", "Stopped.\n")


def test_ctrl_c_that_comes_in_a_callback_is_not_lost(monkeypatch):
    class Callback:
        def __del__(self):
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, "unraisablehook", starting._again)
    try:
        Callback()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
    finally:
        signal.signal(signal.SIGINT, before)


def test_signals_change_only_in_a_command_s_own_process(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    starting.prepare()
    starting.ready()
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.setattr(sys, "argv", ["-m", "--help"])
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # put back
    try:
        starting.prepare()
        starting.ready()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "words", [["--help"], pytest.param(["--nosuchflag"], marks=pytest.mark.slow)]
)
def test_output_that_nobody_reads_ends_as_by_sigpipe(words):
    read, write = os.pipe()
    os.close(read)
    process = start("train.main", *words, stdout=write)
    os.close(write)
    status, errors = ended(process)
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    assert status == (141 if words == ["--help"] else 2)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_output_that_cannot_be_written_is_one_line():
    with open("/dev/full", "w", encoding="utf-8") as full:
        status, errors = ended(start("train.main", "--help", stdout=full))
    assert status == 1
    (line,) = errors.splitlines()
    assert line.startswith("error: no space left on the disk")


@pytest.mark.slow
def test_a_closed_pipe_stops_training_without_a_word(tmp_path, monkeypatch, capsys):
    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr("train.learn.report", closed)
    with pytest.raises(SystemExit, match="141"):
        main.main([f"--workdir={tmp_path / 'run'}", *flags(SHORT)])
    assert capsys.readouterr().err == ""


def test_a_console_leaves_a_closed_pipe_to_the_command():
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    console = cli.make_console()
    console.file = Closed()
    with pytest.raises(BrokenPipeError):
        console.print("something")


@pytest.mark.parametrize("columns", ["1", "5", "39"])
def test_help_ends_on_a_terminal_of_any_width(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit, match="0"):
        evaluate.main(["--help"])
    assert "--num_sequences" in capsys.readouterr().out
    assert os.environ["COLUMNS"] == columns


@pytest.mark.parametrize(
    "message",
    ["\x1b[31mred\x1b[0m", "re\x1b[1;38;5;196md", "\x1b]0;red\x07red", "r\bed\x7f"],
)
def test_errors_have_no_commands_to_the_terminal(message, capsys):
    with pytest.raises(SystemExit), cli.readable_errors():
        raise ValueError(message)
    assert capsys.readouterr().err == "error: red\n"


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("momentum", -1.0, "less than 1 and at least 0"),
        ("momentum", 1.0, "less than 1 and at least 0"),
        ("decay", 0.0, "less than 1 and more than 0"),
        ("decay", 2.0, "less than 1 and more than 0"),
        ("lr_decay_fraction", 1.5, "at most 1 and at least 0"),
        ("lr_decay_fraction", float("nan"), "at most 1 and at least 0"),
        ("carry_noise", -1.0, "a positive number from 1e-37 to 1e+38, or 0"),
        ("initial_strength", -1.0, "a positive number from 1e-37 to 1e+38, or 0"),
        ("update_clip", 0.0, "a positive number from 1e-37 to 1e+38, or None"),
        ("input_scale", -1.0, "a positive number from 1e-37 to 1e+38, or None"),
        ("learning_rate", 0.0, "a positive number from 1e-37 to 1e+38"),
    ],
)
def test_an_error_gives_the_bounds_as_they_are(field, value, wanted):
    with pytest.raises(ValueError, match=f"{field}: got") as caught:
        TrainConfig(**{field: value})
    assert str(caught.value).endswith(f"want {wanted}")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (["preset", "preset"], "choices: got 'preset' twice"),
        (["preset", " preset "], "choices: got 'preset' twice"),
        (["order=write_first,num_slots=9", "order=write_first, num_slots=9"], "twice"),
        (["order=write_first,order=read_first"], "want order once"),
    ],
)
def test_a_choice_is_made_once(choices, message, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        study.main([f"--workdir={tmp_path / 'study'}", "--choices", *choices])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def calls_without_encoding(path: Path) -> list[str]:
    """The calls in a file that read or write text as the locale has it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = [keyword.arg for keyword in node.keywords]
        words = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        modes = [word for word in words if isinstance(word, str) and len(word) < 4]
        of_text = name in ("read_text", "write_text") or (
            name in ("open", "TemporaryFile", "NamedTemporaryFile")
            and modes
            and not any("b" in mode for mode in modes)
        )
        if of_text and "encoding" not in given:
            found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_text_is_utf_8_in_every_locale():
    folders = ("ntm_jax", "tasks", "train", "benchmarks", "notebooks", "docs")
    paths = [path for name in folders for path in (ROOT / name).rglob("*.py")]
    assert [call for path in paths for call in calls_without_encoding(path)] == []


@pytest.mark.slow
def test_a_page_is_written_in_every_locale(tmp_path):
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}
    words = ["train.visualize", "--pretrained=copy", "--html", f"--out={tmp_path}"]
    status, errors = ended(start(*words, env=environment, stdout=subprocess.DEVNULL))
    assert (status, errors) == (0, "")
    assert "β" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_file_is_whole_or_as_before(tmp_path):
    path = tmp_path / "a.txt"
    for before in (None, "old"):
        with pytest.raises(OSError, match="No space"), files.whole(path) as unfinished:
            full_disk(unfinished.write_text("half", encoding="utf-8"))
        assert list(tmp_path.iterdir()) == ([] if before is None else [path])
        files.write_whole(path, "old")
    assert path.read_text(encoding="utf-8") == "old"


def test_two_that_write_a_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "a.txt"
    with files.whole(path) as of_one:
        of_one.write_text("one")
        with files.whole(path) as of_other:
            of_other.write_text("other")
        assert path.read_text() == "other"
        assert files.unfinished_of(path) == [of_one]
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_figure_is_whole_or_as_before(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"a.{suffix}"
    save_figure(Figure(), path)
    before = listing(tmp_path)

    def half(figure, to, **_):
        to.write_bytes(b"half")
        full_disk()

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="No space"):
        save_figure(Figure(), path)
    assert listing(tmp_path) == before


def test_a_film_is_whole_or_as_before(tmp_path, monkeypatch):
    from train.show.figures import films

    path = tmp_path / "a.gif"
    films._write(path, Figure(), lambda frame: None, [0], 2)
    before = listing(tmp_path)
    assert before[path].startswith(b"GIF89a")
    monkeypatch.setattr(films._GifWriter, "finish", full_disk)
    with pytest.raises(OSError, match="No space"):
        films._write(path, Figure(), lambda frame: None, [0], 2)
    assert listing(tmp_path) == before
