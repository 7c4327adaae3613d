"""Every check of the repository: `python -m tests --help`."""

import argparse
import os
import subprocess
import sys
import time

import pytest

CHECKS = {
    "ruff format": ("ruff", "format", "--check", "."),
    "ruff check": ("ruff", "check", "."),
    "pyright": ("pyright", "--pythonpath", sys.executable),
}
# Files go to the workers whole, in the order of conftest.py.
PYTEST = ("pytest", "--numprocesses=auto", "--dist=loadfile", "--no-loadscope-reorder")
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
    flags = os.environ.get("XLA_FLAGS", "")
    # XLA ends a process that gives it a flag that it does not know.
    probe = [sys.executable, "-c", "import jax; jax.devices()"]
    for flag in QUICK_XLA:
        tried = {**os.environ, "XLA_FLAGS": f"{flags} {flag}".strip()}
        if subprocess.run(probe, env=tried, capture_output=True).returncode == 0:
            flags = tried["XLA_FLAGS"]
    return {**os.environ, "XLA_FLAGS": flags}


def main(arguments: list[str] | None = None) -> int:
    """Runs every check; returns 1 if any of them failed."""
    which, for_pytest = parse(arguments)
    checks = CHECKS | {
        name: (*PYTEST, "-m", markers, *for_pytest)
        for name, markers in WHICH[which].items()
    }
    quick = quick_environment()
    report, failed = [], False
    for name, check in checks.items():
        print(f"\n== {' '.join(check)}", flush=True)
        start = time.monotonic()
        command = [sys.executable, "-m", *check]
        environment = None if name == "optimized" else quick
        status = subprocess.run(command, env=environment).returncode
        seconds = time.monotonic() - start
        # One of two groups may have no test of a file.
        none = len(WHICH[which]) > 1 and status == pytest.ExitCode.NO_TESTS_COLLECTED
        passed = status == 0 or (none and name in WHICH[which])
        report.append(f"{'ok' if passed else 'FAILED':8}{name:12}{seconds:6.1f} s")
        failed |= not passed
    print("", *report, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
