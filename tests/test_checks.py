"""`python -m tests` runs every check to its end and reports all of them."""

import importlib.util
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

PROGRAM = Path(__file__).parent / "__main__.py"


@pytest.fixture
def checks():
    spec = importlib.util.spec_from_file_location("checks", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def started(monkeypatch):
    """The checks that were started; those that name a word in `failing` fail."""
    commands, environments, failing = [], [], set()

    def run(command, env=None, **_):
        failed = SimpleNamespace(returncode=3)
        if "-c" in command:  # whether XLA has a flag
            return failed if "flag" in failing else SimpleNamespace(returncode=0)
        commands.append(command[2:])
        environments.append(env)
        return failed if failing & {*command} else SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    return SimpleNamespace(
        commands=commands, environments=environments, failing=failing
    )


def report(capsys) -> list[list[str]]:
    """The first words of the last four lines."""
    lines = capsys.readouterr().out.splitlines()[-4:]
    return [line.split()[:2] for line in lines]


def test_every_check_is_run_and_reported(checks, started, capsys):
    assert checks.main([]) == 0
    assert [command[0] for command in started.commands] == [
        "ruff",
        "ruff",
        "pyright",
        "pytest",
    ]
    assert report(capsys) == [
        ["ok", "ruff"],
        ["ok", "ruff"],
        ["ok", "pyright"],
        ["ok", "pytest"],
    ]


@pytest.mark.parametrize("failing", [{"ruff"}, {"pyright"}, {"pytest"}])
def test_a_failed_check_hides_no_other(checks, started, failing, capsys):
    started.failing |= failing
    assert checks.main([]) == 1
    assert len(started.commands) == 4
    for word, name in report(capsys):
        assert word == ("FAILED" if name in failing else "ok")


def test_slow_tests_are_left_out_unless_all_are_asked_for(checks, started):
    checks.main(["-k", "copy"])
    checks.main(["--all", "tests/test_tasks.py", "-x"])
    fast, every = (command for command in started.commands if command[0] == "pytest")
    assert fast[-4:] == ["-m", "not slow", "-k", "copy"]
    assert every[-2:] == ["tests/test_tasks.py", "-x"]
    assert "-m" not in every


def test_fast_tests_compile_quickly_where_xla_can(checks, started, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--other")
    for arguments, failing, flags in (
        ([], set(), " ".join(["--other", *checks.QUICK_XLA])),
        ([], {"flag"}, "--other"),
    ):
        started.failing |= failing
        checks.main(arguments)
        assert started.environments[-1]["XLA_FLAGS"] == flags
    checks.main(["--all"])
    assert started.environments[-1] is None


def test_help_starts_nothing(checks, started, capsys):
    with pytest.raises(SystemExit, match="0"):
        checks.main(["--help"])
    assert "--all" in capsys.readouterr().out
    assert started.commands == []
