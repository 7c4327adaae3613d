"""The run folder has one writer, which checks everything before it writes."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from tiny import (
    TINY,
    claimed,
    flags,
    listing,
    short_of_time,  # noqa: F401 (a fixture)
    undrawn,  # noqa: F401 (a fixture)
)

from train import main, study
from train.runs.folder import RunFolder
from train.runs.lock import locked
from train.training import footprint
from train.training.footprint import check_memory

SHORT = dataclasses.replace(TINY, steps=4, validate_every=4)
# Holds the lock of a folder until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from train.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a complete run, as far as it is read."""
    workdir = tmp_path_factory.mktemp("runs") / "run"
    run, task = claimed(workdir, SHORT), SHORT.make_task()
    run.save(run.load().replace(step=jnp.full(1, SHORT.steps)))
    run.record(SHORT.steps, "train", seed=0, loss_bits=1.0, wrong_bits=1.0)
    of_any = dict.fromkeys(
        ("num_sequences", "error_per_sequence", "wrong_bits_per_sequence"), 1
    )
    of_any |= {"machine": 0, "step": SHORT.steps, "perfect_fraction": 0.5}
    nothing = {"solved_at": None, "diverged_at": None}
    run.finish([{**of_any, **nothing, **trial} for trial in task.trials()])
    return workdir


@contextlib.contextmanager
def held_elsewhere(folder: Path):
    """Another process that writes in the folder."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def refused(command, arguments, capsys) -> str:
    """The message of a command that must exit with status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        command(arguments)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return captured.err


def test_a_folder_has_one_writer(tmp_path, capsys):
    run, begun = tmp_path / "run", tmp_path / "begun"
    claimed(begun, SHORT)
    for folder in (run, begun):
        with held_elsewhere(folder) as process:
            before = listing(folder)
            arguments = [f"--workdir={folder}", *flags(SHORT)]
            message = refused(main.main, arguments, capsys)
            assert (
                f"workdir: got {folder}, in which process {process.pid} on" in message
            )
            assert listing(folder) == before
        assert (folder / "lock").exists()  # what the killed process leaves
        with locked(folder):
            pass
        assert not (folder / "lock").exists()


def test_a_study_has_one_writer_and_so_has_each_of_its_runs(tmp_path, capsys):
    arguments = [f"--workdir={tmp_path}", *flags(SHORT), "--choices", "preset"]
    with locked(tmp_path):
        message = refused(study.main, arguments, capsys)
        assert f"in which process {os.getpid()} on" in message
    with locked(tmp_path / "preset"):
        assert study.main(arguments) == 1
    assert f"got {tmp_path / 'preset'}, in which process" in capsys.readouterr().err


def test_a_complete_run_is_read_while_another_process_writes(finished, capsys):
    with locked(finished):
        assert main.main([f"--workdir={finished}", *flags(SHORT)]) == 0
    assert "is complete" in capsys.readouterr().out


def test_a_lock_that_is_given_up_meanwhile_is_not_taken_for_one(tmp_path, monkeypatch):
    from train.runs import lock

    free, taken = lock._is_free, []

    def given_up(file):
        if not taken:  # its holder removes the file before this process locks it
            taken.append(file)
            (tmp_path / "lock").unlink()
        return free(file)

    monkeypatch.setattr(lock, "_is_free", given_up)
    with locked(tmp_path), pytest.raises(ValueError, match="in which process"):
        locked(tmp_path).__enter__()


def test_what_a_kill_left_unfinished_does_not_matter(tmp_path):
    for name in ("config.json.0a1b2c3d.tmp", "config.json.tmp", "lock"):
        (tmp_path / name).touch()
    run = RunFolder.plan(tmp_path, SHORT)
    (tmp_path / "metrics.jsonl.0a1b2c3d.tmp").touch()
    (tmp_path / "mine.0a1b2c3d.tmp").touch()
    run.figures.mkdir()
    (run.figures / "answer.png.0a1b2c3d.tmp").touch()
    with contextlib.closing(run.events):
        run.start()
    assert [path.name for path in tmp_path.rglob("*.tmp")] == ["mine.0a1b2c3d.tmp"]


def test_what_could_not_start_leaves_no_folder(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "a" / "b"):
        raise KeyError
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "damage", ["checkpoints", "metrics.jsonl", "steps_before.json", "lock"]
)
def test_more_steps_change_nothing_if_the_run_cannot_go_on(
    damage, finished, tmp_path, capsys
):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    if damage == "checkpoints":
        for path in (run / "checkpoints" / "4").rglob("*"):
            if path.is_file():
                path.write_bytes(b"")
    elif damage == "metrics.jsonl":  # a line that belongs to no checkpoint
        shutil.rmtree(run / "checkpoints")
        with (run / "metrics.jsonl").open("a") as file:
            entry = {"step": 400, "kind": "train", "seed": 0}
            file.write(json.dumps({**entry, "loss_bits": 1, "wrong_bits": 1}) + "\n")
    elif damage == "steps_before.json":
        (run / damage).write_text("[4")
    before = listing(run)
    longer = dataclasses.replace(SHORT, steps=8)
    with locked(run) if damage == "lock" else contextlib.nullcontext():
        refused(main.main, [f"--workdir={run}", *flags(longer)], capsys)
    assert listing(run) == before
    (run / "steps_before.json").unlink(missing_ok=True)
    shutil.copytree(finished, run, dirs_exist_ok=True)
    assert main.main([f"--workdir={run}", *flags(SHORT)]) == 0


def test_a_kill_while_the_steps_are_raised_changes_nothing(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "steps_before.json").write_text("[4]")
    (run / "evaluation.json").unlink()
    again = RunFolder.open(run)
    assert again.steps_before() == []
    again.save(again.load())
    longer = RunFolder.plan(run, dataclasses.replace(SHORT, steps=8))
    longer.load()
    longer.claim()
    assert longer.steps_before() == [4]
    longer.load()


@pytest.mark.parametrize(
    "flag",
    [
        "--num_slots=2000000000",
        "--num_seeds=2000000000",
        "--batch_size=100000000",
        "--controller_units=2000000",
        "--controller_units=2000000000",
        "--num_read_heads=2000000000",
        "--model=lstm --controller_units=2000000000",
        "--slot_size=2000000000 --num_slots=100",
    ],
)
def test_more_memory_than_there_is_is_refused_before_the_folder_is_made(
    flag, tmp_path, capsys
):
    arguments = [f"--workdir={tmp_path / 'runs' / 'run'}", *flags(SHORT), *flag.split()]
    message = refused(main.main, arguments, capsys)
    assert message.startswith("error: memory: the run needs at least ")
    assert not (tmp_path / "runs").exists()
    message = refused(study.main, [*arguments, "--choices", "order=read_first"], capsys)
    assert message.startswith("error: memory: ")
    assert not (tmp_path / "runs").exists()


def test_memory_is_counted_for_all_seeds_and_against_the_device(monkeypatch):
    one = footprint.bytes_of_memories(SHORT) + footprint.bytes_of_arrays(SHORT)
    assert one > 2 * 4 * SHORT.batch_size * SHORT.num_slots * SHORT.slot_size
    monkeypatch.setattr(footprint, "bytes_there", lambda config: one)
    check_memory(SHORT)
    with pytest.raises(ValueError, match="but there are"):
        check_memory(dataclasses.replace(SHORT, num_seeds=2))
    monkeypatch.setattr(footprint, "bytes_there", lambda config: None)
    check_memory(dataclasses.replace(SHORT, num_slots=2**31 - 1))


@pytest.mark.parametrize("name", ["study.md", "study.png", "config.json"])
def test_a_study_overwrites_nothing_of_its_user(name, tmp_path, capsys):
    (tmp_path / name).write_text("# My study\n")
    before = listing(tmp_path)
    arguments = [f"--workdir={tmp_path}", *flags(SHORT), "--choices", "preset"]
    assert f"workdir: got {tmp_path}" in refused(study.main, arguments, capsys)
    assert listing(tmp_path) == before


@pytest.mark.slow
def test_a_study_checks_every_run_before_it_changes_one(tmp_path, capsys):
    choices = ["preset", "order=write_first"]
    claimed(tmp_path / choices[0], SHORT)
    changed = dataclasses.replace(SHORT, order="write_first")
    run = claimed(tmp_path / choices[1], changed)
    run.save(run.load())
    for path in (run.path / "checkpoints" / "0").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    before = listing(tmp_path)
    longer = dataclasses.replace(SHORT, steps=8)
    arguments = [f"--workdir={tmp_path}", *flags(longer), "--num_seeds=1"]
    arguments += ["--choices", *choices]
    assert "cannot be restored" in refused(study.main, arguments, capsys)
    assert listing(tmp_path) == before


def test_a_typo_claims_no_folder(tmp_path, monkeypatch, capsys):
    def no_memory(config, optimizer):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 1 byte")

    monkeypatch.setattr("train.runs.beginning.init_states", no_memory)
    arguments = [f"--workdir={tmp_path / 'run'}", *flags(SHORT)]
    assert "not enough memory" in refused(main.main, arguments, capsys)
    assert not (tmp_path / "run").exists()
