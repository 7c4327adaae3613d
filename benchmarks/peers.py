"""Measures training throughput beside pytorch-ntm, in turns, on one computer.

    git clone https://github.com/loudinthecloud/pytorch-ntm
    pip install torch numpy attrs argcomplete
    python -m benchmarks.peers --pytorch_ntm=pytorch-ntm

Both train on copy with 8 bits and lengths 1 to 20, each as often: a memory of 128 slots
of 20, an LSTM of 100 units, one head of each kind, RMSProp with the same rates,
gradients clipped at 10. Both make their sequences and count wrong bits, as they do in
training. A turn of theirs is an update for each length, by their own `train_batch`; a
turn of ours is a call of `train` in train/training/loop.py, with
`sort_updates`, so that the sequences of a batch have about the same length; theirs all
have the same.

Sequences per second are medians over the turns, by the clock and by core time, which
other programs disturb less. Torch uses as many threads as there are cores, unless
OMP_NUM_THREADS sets another number.

The last line is one JSON object.
"""

import contextlib
import dataclasses
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks import pytorch_ntm
from benchmarks.step import table
from ntm_jax.checks import check_count
from train import cli
from train.runs.config import TrainConfig
from train.training.devices import use_all_cores
from train.training.loop import train
from train.training.state import init_states

_FILES = ("train.py", "tasks/copytask.py", "ntm/aio.py")
_PACKAGES = "torch, numpy, attrs and argcomplete"
# Groups of updates with all lengths among them, in a turn of ours.
_GROUPS = 5
_COLUMNS = {
    "B": "batch_size",
    "ours, sequences/s": "ours_per_s",
    "theirs": "theirs_per_s",
    "ratio": "ratio",
    "from": "ratio_lowest",
    "to": "ratio_highest",
    "ours, sequences/core s": "ours_per_s_cpu",
    "theirs ": "theirs_per_s_cpu",
    "ratio ": "ratio_cpu",
    "from ": "ratio_cpu_lowest",
    "to ": "ratio_cpu_highest",
}
Turn = Callable[[], dict[str, float]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Trains copy beside a checkout of loudinthecloud/pytorch-ntm, in turns.

    It needs torch, numpy, attrs and argcomplete, which this project does not install.
    """

    pytorch_ntm: Path
    """Folder of the checkout of https://github.com/loudinthecloud/pytorch-ntm."""
    python: Path = Path(sys.executable)
    """A Python with torch, numpy, attrs and argcomplete."""
    batch_size: tuple[int, ...] = (1, 16, 64)
    """Sequences in one update; the table has a row for each size."""
    turns: int = 5
    """Measurements of each, taken alternately; the result is the median."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.peers")
    with cli.readable_errors():
        check_count("turns", flags.turns)
        if not flags.batch_size:
            raise ValueError("batch_size: got none, want at least one")
        for size in flags.batch_size:
            check_count("batch_size", size)
        use_all_cores(1, max(flags.batch_size))
        with peer(flags.pytorch_ntm, flags.python) as (versions, ask):
            cells = []
            for size in flags.batch_size:
                theirs = functools.partial(ask, size)
                cells.append(compare(size, our_turn(size), theirs, flags.turns))
                print(json.dumps(cells[-1]), flush=True)
        cli.make_console().print(table(cells, _COLUMNS))
        told = {
            "device": jax.devices()[0].device_kind,
            "devices": jax.local_device_count(),
            "jax": jax.__version__,
            **versions,
            "cells": cells,
        }
        print(json.dumps(told))
    return 0


@contextlib.contextmanager
def peer(
    checkout: Path, python: Path
) -> Iterator[tuple[dict[str, Any], Callable[[int], dict[str, float]]]]:
    """A process with their code: its versions, and a function for a turn.

    Raises:
      ValueError: for a folder that is not a checkout, and for a Python that lacks a
        package.
    """
    if missing := [name for name in _FILES if not (checkout / name).is_file()]:
        raise ValueError(
            f"pytorch_ntm: got {checkout}, which has no {missing[0]}, want a checkout "
            "of https://github.com/loudinthecloud/pytorch-ntm"
        )
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        try:
            process = subprocess.Popen(
                [python, pytorch_ntm.__file__, checkout.absolute()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        except OSError as error:
            raise ValueError(
                f"python: got {python}, which does not start ({error.strerror}), want "
                f"one with {_PACKAGES}"
            ) from None

        def answer() -> dict[str, Any]:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                errors.seek(0)
                raise ValueError(
                    f"pytorch_ntm: got {checkout}, whose code failed: {errors.read()}"
                )
            try:
                return json.loads(line)
            except ValueError:
                raise ValueError(
                    f"python: got {python}, which says {line.strip()!r}, want one with "
                    f"{_PACKAGES}"
                ) from None

        def ask(batch_size: int) -> dict[str, float]:
            with contextlib.suppress(BrokenPipeError):  # it ended: `answer` says why
                print(json.dumps({"batch_size": batch_size}), file=process.stdin)
                process.stdin.flush()  # type: ignore[union-attr]
            return answer()

        try:
            versions = answer()
            if "error" in versions:
                raise ValueError(
                    f"python: got {python}, which says {versions['error']!r}, want one "
                    f"with {_PACKAGES}"
                )
            yield versions, ask
        finally:
            process.kill()
            process.communicate()


def our_turn(batch_size: int) -> Turn:
    """A turn of ours: many updates in a call, and their time."""
    config = TrainConfig(
        batch_size=batch_size,
        sort_updates=pytorch_ntm.LONGEST,
        curriculum="uniform",
        learning_rate=1e-4,
        clip="value",
        clip_at=10.0,
        update_clip=None,
        steps=2**30,
        lr_decay_fraction=0.0,
    )
    num_steps = _GROUPS * config.sort_updates
    states = init_states(config)

    def turn() -> dict[str, float]:
        nonlocal states
        wall, cpu = time.perf_counter(), time.process_time()
        states, metrics, _ = train(states, config=config, num_steps=num_steps)
        jax.block_until_ready((states, metrics))
        return {
            "sequences": num_steps * batch_size,
            "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu,
        }

    return turn


def compare(batch_size: int, ours: Turn, theirs: Turn, turns: int) -> dict[str, Any]:
    """A row: sequences per second of both, by the clock and by core time."""
    for warm_up in (ours, theirs):
        warm_up()
    taken = [(ours(), theirs()) for _ in range(turns)]
    cell: dict[str, Any] = {"batch_size": batch_size}
    for clock, suffix in (("wall_s", ""), ("cpu_s", "_cpu")):
        rates = [[turn["sequences"] / turn[clock] for turn in both] for both in taken]
        our, their = (statistics.median(each) for each in zip(*rates))
        ratios = [our / their for our, their in rates]
        cell |= {
            f"ours_per_s{suffix}": round(our, 2),
            f"theirs_per_s{suffix}": round(their, 2),
            f"ratio{suffix}": round(our / their, 1),
            f"ratio{suffix}_lowest": round(min(ratios), 1),
            f"ratio{suffix}_highest": round(max(ratios), 1),
        }
    return cell


if __name__ == "__main__":
    sys.exit(main())
