"""Ends runs at random moments, and checks that each still ends as the unbroken one.

    python -m tests.kill --kills=200 --interrupts=50

The runs are of a small machine: of one seed, of two, and a study. Each is ended by
SIGKILL or SIGINT, from the first millisecond on, while it compiles, trains, saves,
evaluates or draws. The same command then takes it to its end. Parameters, metrics,
answers and evaluations must be those of the unbroken run, to the last bit.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from train.runs.folder import RunFolder

ROOT = Path(__file__).parents[1]
SMALL = (
    *("--steps=12", "--steps_per_call=2", "--validate_every=4", "--checkpoint_every=4"),
    *("--batch_size=2", "--validation_sequences=4"),
    *("--num_slots=8", "--slot_size=4", "--controller_units=8"),
)
KINDS = {
    "one seed": ("train.main", *SMALL),
    # Both restart.
    "two seeds": (
        *("train.main", *SMALL, "--num_seeds=2"),
        *("--restart_after=4", "--learning_rate=1e-9"),
    ),
    "study": (
        *("train.study", *SMALL, "--num_seeds=2"),
        *("--choices", "preset", "order=write_first"),
    ),
}
# Most signals sent to one run.
_MOST_ENDS = 10


class Ended(NamedTuple):
    """How a process ended: its status, its errors, and whether by our signal."""

    status: int
    errors: str
    by_signal: bool


@contextlib.contextmanager
def workplace() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder for runs, and the environment in which they share their compilations."""
    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder) / "cache")
        more = {"XDG_CACHE_HOME": cache, "JAX_NUM_CPU_DEVICES": "1"}
        more["PYTHONFAULTHANDLER"] = "1"  # a crash says where
        yield Path(folder), {**os.environ, **more}


def run(
    kind: str,
    workdir: Path,
    environment: dict[str, str],
    number: int = signal.SIGKILL,
    after: float | None = None,
) -> Ended:
    """Runs the command of that kind; sends a signal after that many seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", *KINDS[kind], f"--workdir={workdir}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, errors = process.communicate(timeout=after)
        return Ended(process.returncode, errors, by_signal=False)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        _, errors = process.communicate()
        return Ended(process.returncode, errors, by_signal=True)


def outcome_of(workdir: Path) -> dict[str, Any]:
    """All that must not depend on how often the runs in a folder were ended."""
    found = {}
    for path in sorted(workdir.rglob("config.json")):
        folder = RunFolder.open(path.parent)
        leaves = jax.tree.leaves(folder.restore())
        metrics = [
            {**entry, "seconds": 0, "sequences_per_second": 0}
            for entry in folder.metrics()
        ]
        found[str(path.parent.relative_to(workdir))] = {
            "config": path.read_text(encoding="utf-8"),
            "state": [np.asarray(leaf).tobytes() for leaf in leaves],
            "metrics": json.dumps(metrics),
            "answers": json.dumps(folder.answers()),
            "evaluation": json.dumps(folder.evaluation()),
            "figures": [figure.name for figure in sorted(folder.figures.iterdir())],
        }
    return found


def differences(got: dict[str, Any], want: dict[str, Any]) -> list[str]:
    """What two outcomes differ in."""
    if got.keys() != want.keys():
        return [f"runs {sorted(got)} instead of {sorted(want)}"]
    return [
        f"{name} of {run}"
        for run, parts in want.items()
        for name, part in parts.items()
        if got[run][name] != part
    ]


def wrong_end(ended: Ended, number: int) -> str | None:
    """What is wrong with the way in which a process took a signal, if anything."""
    # Python itself dies of SIGINT before it looks for the module.
    right = {-number, 130} if number == signal.SIGINT else {-number}
    if ended.status not in right | {0}:  # it may just have ended
        return f"status {ended.status}: {ended.errors}"
    if str(ROOT) in ended.errors:
        return f"a traceback: {ended.errors}"
    return None


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 1 if any run did not end as the unbroken one."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="signals SIGKILL")
    parser.add_argument("--interrupts", type=int, default=50, help="signals SIGINT")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--kinds",
        nargs="+",
        default=[*KINDS],
        choices=[*KINDS],
        help="of runs, in turn; one can be named more than once",
    )
    given = parser.parse_args(arguments)
    # A job in the background of a shell ignores SIGINT, and so would its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chance = random.Random(given.seed)
    signals = [signal.SIGKILL] * given.kills + [signal.SIGINT] * given.interrupts
    chance.shuffle(signals)
    wrong: list[str] = []
    with workplace() as (root, environment):
        unbroken, seconds = {}, {}
        for kind in dict.fromkeys(given.kinds):
            run(kind, root / kind, environment)  # keeps its compilations
            started = time.monotonic()
            ended = run(kind, root / "again" / kind, environment)
            seconds[kind] = time.monotonic() - started
            assert ended.status == 0, ended.errors
            unbroken[kind] = outcome_of(root / "again" / kind)
            for name in differences(outcome_of(root / kind), unbroken[kind]):
                wrong.append(f"{kind}: {name} differs without a kill")
        number_of_runs = 0
        while signals:
            number_of_runs += 1
            kind = given.kinds[number_of_runs % len(given.kinds)]
            workdir = root / "broken" / str(number_of_runs)
            moments = []
            for _ in range(chance.randint(1, min(_MOST_ENDS, len(signals)))):
                number, after = signals[-1], chance.uniform(0, seconds[kind])
                ended = run(kind, workdir, environment, number, after)
                if not ended.by_signal:  # it was complete before
                    if ended.status:
                        wrong.append(f"{kind}: status {ended.status}: {ended.errors}")
                    break
                signals.pop()
                moments.append(f"{number.name} after {after:.3f} s")
                if fault := wrong_end(ended, number):
                    wrong.append(f"{kind}, {', '.join(moments)}: {fault}")
            ended = run(kind, workdir, environment)
            faults = (
                [f"status {ended.status}: {ended.errors}"]
                if ended.status
                else differences(outcome_of(workdir), unbroken[kind])
            )
            wrong += [f"{kind}, {', '.join(moments)}: {fault}" for fault in faults]
            print(
                f"{kind}, {', '.join(moments)}: {faults or 'as unbroken'}", flush=True
            )
    print(f"{number_of_runs} runs, {len(wrong)} faults", *wrong, sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
