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
    made = SimpleNamespace(
        commands=commands, environments=environments, failing=failing, status=3
    )

    def run(command, env=None, **_):
        failed = SimpleNamespace(returncode=made.status, stdout="wrong\n", stderr="")
        passed = SimpleNamespace(returncode=0, stdout="", stderr="")
        if "-c" in command:  # whether XLA has these flags
            assert env is not None
            return failed if failing & {*env["XLA_FLAGS"].split()} else passed
        commands.append(command[2:])
        if "pytest" in command:
            environments.append(env)
        return failed if failing & {*command} else passed

    monkeypatch.setattr(subprocess, "run", run)
    return made


def report(printed: str) -> list[list[str]]:
    """The first words of the last four lines."""
    lines = printed.splitlines()[-4:]
    return [line.split()[:2] for line in lines]


def test_every_check_is_run_and_reported(checks, started, capsys):
    assert checks.main([]) == 0
    assert sorted(command[0] for command in started.commands) == [
        "pyright",
        "pytest",
        "ruff",
        "ruff",
    ]
    assert report(capsys.readouterr().out) == [
        ["ok", "pytest"],
        ["ok", "ruff"],
        ["ok", "ruff"],
        ["ok", "pyright"],
    ]


@pytest.mark.parametrize("failing", ["ruff", "pyright", "pytest"])
def test_a_failed_check_hides_no_other(checks, started, failing, capsys):
    started.failing.add(failing)
    assert checks.main([]) == 1
    assert len(started.commands) == 4
    printed = capsys.readouterr().out
    assert printed.count("wrong") == {"ruff": 2, "pyright": 1, "pytest": 0}[failing]
    for word, name in report(printed):
        assert word == ("FAILED" if name == failing else "ok")


def test_slow_tests_are_left_out_unless_all_are_asked_for(checks, started):
    checks.main(["-k", "copy"])
    checks.main(["--all", "tests/test_tasks.py", "-x"])
    tests = [command[-4:] for command in started.commands if command[0] == "pytest"]
    assert tests == [
        ["-m", "not slow", "-k", "copy"],
        ["-m", "not optimized", "tests/test_tasks.py", "-x"],
        ["-m", "optimized", "tests/test_tasks.py", "-x"],
    ]
    assert [environment is None for environment in started.environments[-2:]] == [
        False,
        True,
    ]


def test_fast_tests_compile_quickly_where_xla_can(checks, started, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--other")
    first, *others = checks.QUICK_XLA
    for unknown, flags in (
        (set(), ["--other", first, *others]),
        ({first}, ["--other", *others]),  # each flag by itself
        ({first, *others}, ["--other"]),
    ):
        started.failing |= unknown
        checks.main([])
        assert started.environments[-1]["XLA_FLAGS"].split() == flags


def test_a_group_without_tests_has_not_failed(checks, started):
    started.failing |= {"not optimized"}
    started.status = pytest.ExitCode.NO_TESTS_COLLECTED
    assert checks.main(["--all"]) == 0
    started.failing |= {"optimized"}  # both groups
    assert checks.main(["--all"]) == 1
    started.failing |= {"not slow"}
    assert checks.main([]) == 1


def test_help_starts_nothing(checks, started, capsys):
    with pytest.raises(SystemExit, match="0"):
        checks.main(["--help"])
    assert "--all" in capsys.readouterr().out
    assert started.commands == []
