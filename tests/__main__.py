"""All checks, fast ones first: `python -m tests`. Extra arguments go to pytest."""

import subprocess
import sys

CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("pyright", "--pythonpath", sys.executable),
)


def main() -> int:
    """Runs every check; returns the first failure's status."""
    pytest = ("pytest", "--numprocesses=auto", "--dist=loadfile", *sys.argv[1:])
    for check in (*CHECKS, pytest):
        print(f"\n== {' '.join(check)}", flush=True)
        status = subprocess.run([sys.executable, "-m", *check]).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
