"""Runs commands on disks that are too small, and checks that nothing is lost.

    unshare --user --map-root-user --mount python -m tests.full_disk

Each disk is a tmpfs, from 64 KiB on, each larger by a quarter, up to one that suffices.
A command on it must end with one clear line. With space, the same command must end as
on a large disk: parameters, metrics, answers and evaluations to the last bit.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from kill import KINDS, differences, outcome_of, run, workplace

FIRST_KIB = 64
LARGE_KIB = 1 << 18


def mount(*words: str) -> None:
    subprocess.run(words, check=True)


@contextmanager
def disk(path: Path, size: int) -> Iterator[Path]:
    """A disk of that many KiB."""
    path.mkdir()
    mount("mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(path))
    try:
        yield path
    finally:
        mount("umount", str(path))


def fault_of(status: int, errors: str) -> str | None:
    """What is wrong with the way in which a command met a full disk, if anything."""
    lines = [line for line in errors.splitlines() if line]
    if status != 1 or len(lines) != 1:
        return f"status {status}, {len(lines)} lines: {errors}"
    if not lines[0].startswith("error: no space left on the disk"):
        return f"another error: {errors}"
    return None


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 1 if anything was lost or not told in one line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.full_disk",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kinds", nargs="+", default=[*KINDS], choices=[*KINDS])
    parser.add_argument("--growth", type=float, default=1.25, help="disk to disk")
    given = parser.parse_args(arguments)
    wrong: list[str] = []
    with workplace() as (root, environment):
        for kind in given.kinds:
            ended = run(kind, root / kind, environment)
            assert ended.status == 0, ended.errors
            unbroken, size, filled = outcome_of(root / kind), FIRST_KIB, True
            while filled:
                with disk(root / f"{kind} {size}", size) as small:
                    ended = run(kind, small / "run", environment)
                    filled = ended.status != 0
                    faults = [fault_of(*ended[:2])] if filled else []
                    mount("mount", "-o", f"remount,size={LARGE_KIB}k", str(small))
                    ended = run(kind, small / "run", environment)
                    faults += (
                        [f"then status {ended.status}: {ended.errors}"]
                        if ended.status
                        else differences(outcome_of(small / "run"), unbroken)
                    )
                faults = [fault for fault in faults if fault]
                how = "full" if filled else "large enough"
                print(f"{kind}, {size} KiB, {how}: {faults or 'right'}", flush=True)
                wrong += [f"{kind}, {size} KiB: {fault}" for fault in faults]
                size = round(size * given.growth)
    print(f"{len(wrong)} faults", *wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
