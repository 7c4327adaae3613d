"""Ends one of several processes at random moments, and checks what the others do.

    python -m tests.kill_many --kills=20 --terms=10

Each time a run of a small machine in two processes gets one signal, to one of them:
SIGKILL, SIGSTOP or SIGTERM. All have to end in time, with one line. The same command
then takes the run to its end, which must be that of the unbroken run, to rounding.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import many

SMALL = (*many.SMALL, "--heartbeat_timeout=20")
# How long the others may take, in seconds.
_MOST = 120


def end_one(folder: Path, number: int, victim: int, after: float) -> list[str]:
    """Sends a signal to one process of a run; what is wrong with how all end."""
    words = [[*SMALL, f"--workdir={folder}", *own] for own in many.flags_of(2)]
    with many.Many("train.main", words) as started:
        time.sleep(after)
        started.processes[victim].send_signal(number)
        sent = time.monotonic() - started.started
        if number == signal.SIGTERM:
            ended = started.all_end(600)
        else:
            ended = [started.end(1 - victim, 600)]
    faults = []
    for each in ended:
        lines = each.errors.splitlines()
        if each.status and number != signal.SIGTERM:
            if each.seconds - sent > _MOST:
                faults.append(f"ended after {each.seconds - sent:.0f} s")
            # Before the processes have met, JAX knows no names.
            if len(lines) != 1 or not lines[0].startswith("error: "):
                faults.append(f"said {each.errors!r}")
        elif each.status not in (0, 143, -signal.SIGTERM) and len(lines) != 1:
            faults.append(f"status {each.status}: {each.errors!r}")
    took = max(each.seconds for each in ended) - sent
    print(f"{[each.status for each in ended]}, {took:.1f} s after the signal")
    print(*(each.errors.strip() for each in ended), sep="\n", flush=True)
    return faults


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill_many")
    parser.add_argument("--kills", type=int, default=20, help="signals SIGKILL")
    parser.add_argument("--stops", type=int, default=0, help="signals SIGSTOP")
    parser.add_argument("--terms", type=int, default=10, help="signals SIGTERM")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args(arguments)
    chance = random.Random(given.seed)
    signals = [signal.SIGKILL] * given.kills + [signal.SIGSTOP] * given.stops
    signals += [signal.SIGTERM] * given.terms
    chance.shuffle(signals)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root, seconds = Path(folder), 0.0
        for name in ("first", "unbroken"):  # the first keeps its compilations
            ended = many.run("train.main", *SMALL, f"--workdir={root / name}", count=2)
            assert {each.status for each in ended} == {0}, ended
            seconds = max(each.seconds for each in ended)
        wanted = many.params(root / "unbroken")
        for i, number in enumerate(signals):
            run, victim = root / f"broken_{i}", chance.randrange(2)
            after = chance.uniform(0, seconds)
            moment = f"{number.name} to {victim} after {after:.1f} of {seconds:.1f} s"
            print(f"{i}: {moment}", flush=True)
            faults = end_one(run, number, victim, after)
            ended = many.run("train.main", *SMALL, f"--workdir={run}", count=2)
            if {each.status for each in ended} != {0}:
                faults.append(f"goes on with {ended}")
            elif not all(
                np.allclose(one, other, rtol=1e-5, atol=1e-6)
                for one, other in zip(many.params(run), wanted, strict=True)
            ):
                faults.append("other parameters")
            wrong += [f"{moment}: {fault}" for fault in faults]
    print(f"{len(signals)} signals, {len(wrong)} faults", *wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
