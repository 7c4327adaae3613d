"""Measures access to a few slots beside the dense machine; writes docs/long.md.

    python -m benchmarks.windows
    python -m benchmarks.windows --only long recall
    python -m benchmarks.windows --only

Each measurement is a line of benchmarks/records/windows.jsonl. One that is there is not
made again. The last of the commands only writes the tables.
"""

import dataclasses
import functools
import json
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import long_training, slots
from benchmarks.blocks import table, written
from benchmarks.long_training import timed, timed_gradient
from benchmarks.records import FOLDER
from ntm_jax import tasks
from train import cli
from train.runs.config import TrainConfig
from train.runs.pretrained import load_run
from train.training.feed import held_out
from train.training.measure import evaluate, evaluation_key, sample_each

Asked = dict[str, Any]
Got = dict[str, Any]
RECORD = FOLDER / "windows.jsonl"
PAGE = Path(__file__).parent.parent / "docs" / "long.md"
_AT_ONCE = 50


def long(length: int, seed: int, access: str) -> Got:
    """One long sequence, copied by the shipped machine."""
    got = evaluated("copy", {"length": length}, length + 8, 1, seed, access)
    return {**got, "gigabytes": peak_gigabytes()}


def recall(items: int, num_slots: int, num_sequences: int, access: str) -> Got:
    """Many items, recalled by the shipped machine."""
    return evaluated(
        "associative_recall", {"items": items}, num_slots, num_sequences, 0, access
    )


def evaluated(
    name: str,
    difficulty: dict[str, int],
    num_slots: int,
    num_sequences: int,
    seed: int,
    access: str,
) -> Got:
    """What `train.evaluate` finds, and the seconds that it takes."""
    params, config, _ = load_run(name)
    run = functools.partial(
        evaluate,
        jax.tree.map(lambda leaf: leaf[None], params),
        dataclasses.replace(config, access=access),
        keys=evaluation_key(seed)[None],
        num_sequences=num_sequences,
        num_slots=num_slots,
        **difficulty,
    )
    results, seconds, cpu_seconds = timed(run)
    kept = ("wrong_", "dropped", "unwritten", "bound", "searches")
    found = {name: n for name, n in results[0].items() if name.startswith(kept)}
    return {**found, "seconds": seconds, "cpu_seconds": cpu_seconds}


def beside(machine: str, trial: int, num_sequences: int, access: str) -> Got:
    """A shipped machine on the same sequences, dense and with access to a few slots."""
    params, config, _ = load_run(machine)
    task = config.make_task()
    difficulty = task.trials()[trial]
    num_slots = max(config.num_slots, task.min_slots(task.ranges(**difficulty)))
    batches = list(some_batches(task, num_sequences, difficulty))

    @functools.partial(jax.jit, static_argnames="access")
    def answer(inputs, access: str):
        model = dataclasses.replace(config, access=access).make_model(num_slots)
        return model.answer(params, inputs)

    wrong, due, largest = {"dense": 0, access: 0}, 0, 0.0
    numbers = {"dropped": 0.0, "unwritten": 0.0, "bound": 0.0, "searches": 0.0}
    for batch in batches:
        logits, found = answer(batch.inputs, access)
        exact, _ = answer(batch.inputs, "dense")
        for name, those in (("dense", exact), (access, logits)):
            of_each = task.targets.wrong(those, batch.targets, batch.mask)
            wrong[name] += int(of_each.sum())
        due += int(task.targets.count(batch.mask).sum())
        apart = jnp.where(batch.mask[..., None], jnp.abs(logits - exact), 0)
        largest = max(largest, float(jnp.max(apart)))
        for name in ("dropped", "unwritten", "bound"):
            numbers[name] = max(numbers[name], float(jnp.max(found[name])))
        share = jnp.mean(found["searches"]) / len(batch.mask) / len(batches)
        numbers["searches"] += float(share)
    return {
        "difficulty": difficulty,
        "num_slots": num_slots,
        "answers": due,
        "wrong_dense": wrong["dense"],
        "wrong": wrong[access],
        "largest_difference": largest,
        **numbers,
    }


def some_batches(
    task: tasks.Task, num_sequences: int, difficulty: dict[str, Any]
) -> Iterator[tasks.Batch]:
    """New sequences, in batches of one size."""
    if isinstance(task, tasks.DataTask):
        data = held_out(task, "evaluation", num_sequences)
        for first in range(0, num_sequences, _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            yield jax.tree.map(lambda leaf: jnp.asarray(leaf)[:, part], data)  # noqa: B023
        return
    sample = jax.jit(functools.partial(sample_each, task, **difficulty))
    keys = jax.random.split(evaluation_key(0), num_sequences)
    for first in range(0, num_sequences, _AT_ONCE):
        yield sample(keys[first : first + _AT_ONCE])


def gradient(num_slots: int, steps: int, batch_size: int, access: str) -> Got:
    """The gradient of an untrained machine on copy: seconds, and memory beside it."""
    config = TrainConfig(num_slots=num_slots, access=access)
    task = config.make_task()
    params = config.make_model().init(jax.random.key(0), task.input_size)
    batch = task.sample(jax.random.key(1), batch_size, length=(steps - 1) // 2)
    return timed_gradient(params, batch, config)


def peak_gigabytes() -> float:
    """The most memory that this process has had so far (on Linux)."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)


MEASURES: dict[str, Callable[..., Got]] = {
    "beside": beside,
    "gradient": gradient,
    "long": long,
    "recall": recall,
    "stages": long_training.stage,
    "steps": slots.steps,
    "trained": long_training.trained,
    "updates": long_training.update,
}
_WINDOW, _SPARSE, _WIDE = "window:9", "sparse:16", "sparse:256:0.05"
# How many difficulties of each to measure.
_MACHINES = {
    "copy": 2,
    "reverse_string": 2,
    "repeat_copy_pulses": 2,
    "repeat_copy": 2,
    "associative_recall": 2,
    "priority_sort": 2,
    "dynamic_ngrams": 1,
    "poems": 1,
}
_RUNS: dict[str, list[Asked]] = {
    "long": [
        *({"length": 100_000, "seed": seed, "access": _WINDOW} for seed in range(10)),
        {"length": 1_000_000, "seed": 0, "access": _WINDOW},
        {"length": 10_000_000, "seed": 0, "access": _WINDOW},
    ],
    "beside": [
        {"machine": machine, "trial": trial, "num_sequences": 1000, "access": access}
        for machine, trials in _MACHINES.items()
        for access in (_WINDOW, _SPARSE)
        for trial in range(trials)
        if access == _WINDOW or machine not in ("copy", "reverse_string")
    ],
    "recall": [
        {"items": items, "num_slots": n, "num_sequences": count, "access": access}
        for items, n, count, accesses in (
            (200, 2048, 3, [_SPARSE, "dense"]),
            (1000, 8192, 3, [_SPARSE, "sparse:64", "sparse:64:0.05", "dense"]),
            (10_000, 65_536, 1, ["sparse:64", "sparse:256", _WIDE, "dense"]),
            (50_000, 262_144, 1, ["sparse:1024:0.05"]),
        )
        for access in accesses
    ],
    "steps": [
        {"num_slots": 1 << power, "access": access}
        for power in (12, 14, 16, 18, 20)
        for access in ("sparse:64", "sparse:64:0", "dense")
    ],
    "gradient": [
        {"num_slots": 16_384, "steps": 201, "batch_size": 4, "access": access}
        for access in ("window:9:0.05", "sparse:8:0.05", "dense")
    ]
    + [
        {"num_slots": 16_384, "steps": 2001, "batch_size": 16, "access": access}
        for access in ("window:9:0.05", "dense")
    ],
    "trained": long_training.TRAINED,
    "stages": long_training.STAGES,
    "updates": long_training.UPDATES,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Measures access to a few slots, and writes the tables of docs/long.md."""

    only: tuple[str, ...] = tuple(_RUNS)
    """Which measurements to make."""
    record: Path = RECORD
    """File of the measurements."""
    page: Path = PAGE
    """Page with the tables."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.windows")
    with cli.readable_errors():
        cli.keep_compilations()
        for kind in flags.only:
            if kind not in _RUNS:
                raise ValueError(f"only: got {kind!r}, want one of {', '.join(_RUNS)}")
        for kind in flags.only:
            for asked in _RUNS[kind]:
                if any(asked == line["asked"] for line in read(flags.record, kind)):
                    continue
                line = {"measure": kind, "asked": asked, "got": MEASURES[kind](**asked)}
                with flags.record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)
        write_page(flags.record, flags.page)
    return 0


def read(record: Path, kind: str) -> list[dict[str, Any]]:
    """The measurements of that kind so far."""
    if not record.exists():
        return []
    lines = map(json.loads, record.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["measure"] == kind]


def write_page(record: Path, page: Path) -> None:
    """Writes the tables of the page."""

    def lines_of(block: str) -> list[str]:
        rows = [line["asked"] | line["got"] for line in read(record, block)]
        return ["", *table(rows), "", ""]

    text = page.read_text(encoding="utf-8")
    page.write_text(written(text, lines_of), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
