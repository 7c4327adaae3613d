"""Every check of the repository: `python -m tests --help`."""

import argparse
import os
import subprocess
import sys
import time

CHECKS = {
    "ruff format": ("ruff", "format", "--check", "."),
    "ruff check": ("ruff", "check", "."),
    "pyright": ("pyright", "--pythonpath", sys.executable),
}
# Files go to the workers whole, in the order of conftest.py.
PYTEST = ("pytest", "--numprocesses=auto", "--dist=loadfile", "--no-loadscope-reorder")
# With these flags XLA compiles for a CPU in a third of the time. The fast tier uses
# them; with --all, programs are compiled as users compile them.
QUICK_XLA = (
    "--xla_backend_optimization_level=0",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_cpu_use_fusion_emitters=false",
)


def parse(arguments: list[str] | None) -> tuple[bool, list[str]]:
    """Whether to run the slow tests too, and the arguments that pytest gets."""
    parser = argparse.ArgumentParser(
        prog="python -m tests",
        usage="%(prog)s [--help] [--all] [PYTEST_ARGUMENT ...]",
        description="Runs the formatter, the linter, the type checker and the tests, "
        "each to its end, and reports which of them failed.",
        epilog="All other arguments go to pytest: python -m tests --all "
        "tests/test_tasks.py -k copy. Bare pytest runs the slow tests too.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="run all tests; without this flag, those marked slow are left out",
    )
    known, for_pytest = parser.parse_known_args(arguments)
    return known.all, for_pytest


def quick_environment() -> dict[str, str]:
    """The environment with QUICK_XLA, if this XLA knows these flags."""
    flags = " ".join([os.environ.get("XLA_FLAGS", ""), *QUICK_XLA]).strip()
    environment = {**os.environ, "XLA_FLAGS": flags}
    # XLA ends a process that gives it a flag that it does not know.
    probe = [sys.executable, "-c", "import jax; jax.devices()"]
    done = subprocess.run(probe, env=environment, capture_output=True)
    return dict(os.environ) if done.returncode else environment


def main(arguments: list[str] | None = None) -> int:
    """Runs every check; returns 1 if any of them failed."""
    run_all, for_pytest = parse(arguments)
    tier = () if run_all else ("-m", "not slow")
    environment = None if run_all else quick_environment()
    checks = {**CHECKS, "pytest": (*PYTEST, *tier, *for_pytest)}
    report, failed = [], False
    for name, check in checks.items():
        print(f"\n== {' '.join(check)}", flush=True)
        start = time.monotonic()
        command = [sys.executable, "-m", *check]
        status = subprocess.run(command, env=environment).returncode
        seconds = time.monotonic() - start
        report.append(f"{'FAILED' if status else 'ok':8}{name:12}{seconds:6.1f} s")
        failed |= status != 0
    print("", *report, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
