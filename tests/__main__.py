"""Every check of the repository: `python -m tests --help`."""

import argparse
import concurrent.futures
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest

CHECKS = {
    "ruff format": ("ruff", "format", "--check", "."),
    "ruff check": ("ruff", "check", "."),
    "pyright": ("pyright", "--pythonpath", sys.executable),
}
PYTEST = ("pytest", "--numprocesses=auto", "--no-loadscope-reorder")
# Files go to the workers whole, in the order of conftest.py. The tests in the group
# `optimized` go one by one: two notebooks take most of its time.
TO_WORKERS = {"pytest": "--dist=loadfile", "optimized": "--dist=loadgroup"}
# The markers of the tests that a flag asks for, in one group or in two.
WHICH = {
    "fast": {"pytest": "not slow"},
    "most": {
        "pytest": "not rare and not optimized",
        "optimized": "not rare and optimized",
    },
    "all": {"pytest": "not optimized", "optimized": "optimized"},
}
# With these flags XLA compiles for a CPU in a third of the time. Tests marked
# `optimized` run without them in a group of their own, compiled as users compile.
QUICK_XLA = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_use_fusion_emitters=false",
)


def parse(arguments: list[str] | None) -> tuple[str, list[str]]:
    """Which tests to run, a key of WHICH, and the arguments that pytest gets."""
    parser = argparse.ArgumentParser(
        prog="python -m tests",
        usage="%(prog)s [--help] [--most | --all] [PYTEST_ARGUMENT ...]",
        description="Runs the formatter, the linter, the type checker and the tests, "
        "each to its end, and reports which of them failed.",
        epilog="All other arguments go to pytest: python -m tests --all "
        "tests/test_tasks.py -k copy. Bare pytest runs the slow tests too.",
        allow_abbrev=False,
    )
    how_many = parser.add_mutually_exclusive_group()
    for name, tests in (("most", "all tests but those marked rare"), ("all", "all")):
        how_many.add_argument(
            f"--{name}",
            action="store_const",
            const=name,
            default="fast",
            dest="which",
            help=f"run {tests}; without a flag, those marked slow are left out",
        )
    known, for_pytest = parser.parse_known_args(arguments)
    return known.which, for_pytest


def quick_environment() -> dict[str, str]:
    """The environment with those of QUICK_XLA that this XLA knows."""
    probe = [sys.executable, "-c", "import jax; jax.devices()"]

    def with_flags(flags: Sequence[str]) -> dict[str, str]:
        together = " ".join([os.environ.get("XLA_FLAGS", ""), *flags]).strip()
        return {**os.environ, "XLA_FLAGS": together}

    def knows(flags: Sequence[str]) -> bool:
        """XLA ends a process that gives it a flag that it does not know."""
        tried = subprocess.run(probe, env=with_flags(flags), capture_output=True)
        return tried.returncode == 0

    if knows(QUICK_XLA):
        return with_flags(QUICK_XLA)
    return with_flags([flag for flag in QUICK_XLA if knows([flag])])


def run(check: Sequence[str], **how: Any) -> tuple[subprocess.CompletedProcess, float]:
    """A check that has ended, and its seconds."""
    start = time.monotonic()
    ended = subprocess.run([sys.executable, "-m", *check], **how)
    return ended, time.monotonic() - start


def main(arguments: list[str] | None = None) -> int:
    """Runs every check; returns 1 if any of them failed."""
    which, for_pytest = parse(arguments)
    groups = {
        name: (*PYTEST, TO_WORKERS[name], "-m", markers, *for_pytest)
        for name, markers in WHICH[which].items()
    }
    quick = quick_environment()
    ended = {}
    # The tests leave a processor idle at times, which the other checks can have.
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as beside:
        others = {
            name: beside.submit(run, check, capture_output=True, text=True)
            for name, check in CHECKS.items()
        }
        for name, check in groups.items():
            print(f"\n== {' '.join(check)}", flush=True)
            ended[name] = run(check, env=None if name == "optimized" else quick)
        for name, other in others.items():
            process, _ = ended[name] = other.result()
            print(f"\n== {' '.join(CHECKS[name])}\n{process.stdout}{process.stderr}")
    statuses = {name: process.returncode for name, (process, _) in ended.items()}
    passed = {name for name in ended if statuses[name] == 0}
    empty = {
        name for name in groups if statuses[name] == pytest.ExitCode.NO_TESTS_COLLECTED
    }
    if empty != {*groups}:  # one of two groups may have no test of a file
        passed |= empty
    for name, (_, seconds) in ended.items():
        print(f"{'ok' if name in passed else 'FAILED':8}{name:12}{seconds:6.1f} s")
    return int(passed != {*ended})


if __name__ == "__main__":
    sys.exit(main())
