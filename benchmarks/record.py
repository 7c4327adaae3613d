"""Records a complete run for the page of results.

    python -m benchmarks.record --workdir=runs/copy_20_seeds
    python -m benchmarks.record --workdir runs/copy_0 runs/copy_1
    python -m benchmarks.record --pretrained=copy

A record is a JSON file in benchmarks/records: the provenance of the run, its
validations, and the errors of each of its machines at the difficulties in TRIALS, or at
those of the end of a run. Runs
that differ only in their seeds make one record together.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.records import EACH, FOLDER, Record, config_of, read
from train import cli
from train.evaluate import open_machines
from train.runs.config import TrainConfig
from train.runs.files import write_whole
from train.runs.folder import RunFolder, open_complete
from train.runs.presets import command
from train.runs.pretrained import load_run
from train.ship import versions
from train.show.learners import learner_name
from train.training.measure import evaluate, evaluation_key

PyTree = Any
# Difficulties, each one number or the [lowest, highest] of a range, with slots and the
# number of sequences. Trials without slots use those of `slots_for`.
_PAPERS_SLOTS = 128
TRIALS: dict[str, list[dict[str, Any]]] = {
    "copy": [
        *({"length": n, "num_sequences": 1000} for n in (10, 20, 30, 50, 120)),
        {"length": 1000, "num_slots": 1024, "num_sequences": 100},
        {"length": 10_000, "num_slots": 10_240, "num_sequences": 10},
    ],
    "repeat_copy": [
        {"length": length, "repeats": repeats, "num_sequences": 1000}
        for length, repeats in ((10, 10), (20, 10), (10, 20), (20, 20))
    ],
    "associative_recall": [
        *({"items": n, "num_sequences": 1000} for n in (6, 8, 10, 12, 15, 20)),
        {"items": 50, "num_slots": 512, "num_sequences": 100},
        {"items": 100, "num_slots": 1024, "num_sequences": 100},
    ],
    "dynamic_ngrams": [{"length": 200, "num_sequences": 1000}],
    "priority_sort": [
        {"length": 20, "answers": 16, "num_sequences": 1000},
        {"length": 30, "answers": 24, "num_sequences": 1000},
    ],
    # The lengths of training, and up to the benchmark's 500. A write head can move on
    # during the answer; with this many slots it does not reach what it wrote.
    "reverse_string": [
        {"length": 40, "num_sequences": 1000},
        {"length": [1, 40], "num_sequences": 1000},
        *(
            {"length": [*lengths], "num_slots": 1024, "num_sequences": 100}
            for lengths in ((41, 100), (101, 200), (201, 300), (301, 400), (401, 500))
        ),
    ],
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Evaluates a complete run, or a machine that ships, and writes a record of it."""

    workdir: tuple[Path, ...] = ()
    """Folder of the run, or the folders of several that differ only in their seeds."""
    pretrained: str | None = None
    """Name of a trained machine to record instead of a run."""
    name: str | None = None
    """Name of the record; None makes it of the task and the learner."""
    add: bool = False
    """Add the machines to the record of that name, which has other seeds."""
    overwrite: bool = False
    """Replace the record of that name."""
    hardest: int = 10_000
    """Length of the longest sequences, or the most items, to evaluate."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.record")
    with cli.readable_errors():
        cli.keep_compilations()
        opened = [
            open_machines(path, flags.pretrained) for path in flags.workdir or (None,)
        ]
        records = [of_run(*open_complete(path)) for path in flags.workdir]
        records = records or [of_pretrained(str(flags.pretrained))]
        name = cli.check_name(flags.name or default_name(records[0]))
        path = FOLDER / f"{name}.json"
        cli.check_free_name(path, free=flags.add or flags.overwrite)
        if flags.add and not path.exists():
            raise ValueError(
                f"name: got {name!r}, want that of a record: there is no {path}"
            )
        kept = [read(path)] if flags.add else []
        check_alike([*kept, *records])
        due = trials_up_to(flags.hardest, opened[0][1])
        if any(list(map(setting, record["trials"])) != due for record in kept):
            raise ValueError(
                f"name: got {path}, which has other trials, want the same for all"
            )
        for record, (params, config, _) in zip(records, opened):
            for trial in due:
                record["trials"].append(tried(params, config, trial))
                print(json.dumps(record["trials"][-1]), flush=True)
        FOLDER.mkdir(exist_ok=True)
        write_whole(path, json.dumps(joined([*kept, *records]), indent=1) + "\n")
        print(f"Wrote {path}.")
    return 0


def check_alike(records: Sequence[Record]) -> None:
    """Raises a `ValueError` unless the runs differ in their seeds only."""
    settings = {
        (dataclasses.replace(config_of(record), seed=0), *steps_before(record))
        for record in records
    }
    if len(settings) > 1:
        raise ValueError("workdir: got runs of other settings, want the same for all")
    seeds = seeds_of(records)
    if twice := [seed for seed in seeds if seeds.count(seed) > 1]:
        raise ValueError(f"workdir: got seed {twice[0]} twice, want each once")


def seeds_of(records: Sequence[Record]) -> list[int]:
    """The seeds of all machines of the records."""
    return [machine["seed"] for record in records for machine in record["machines"]]


def joined(records: Sequence[Record]) -> Record:
    """One record made of several, with the machines in the order of their seeds."""
    records = sorted(records, key=lambda record: record["config"]["seed"])
    order = np.argsort(seeds_of(records))
    machines = [one for record in records for one in record["machines"]]
    trials = []
    for of_all in zip(*(record["trials"] for record in records), strict=True):
        trials.append(setting(of_all[0]))
        for name in EACH:
            values = [value for trial in of_all for value in trial[name]]
            trials[-1][name] = [values[i] for i in order]
    return {
        **records[0],
        "command": command_for_all(records),
        "seconds": sum(record["seconds"] for record in records),
        "machines": [machines[i] for i in order],
        "trials": trials,
    }


def command_for_all(records: Sequence[Record]) -> str:
    """The command for the runs of these records, which differ in their seeds."""
    if len(records) == 1:
        return records[0]["command"]
    config = config_of(records[0])
    workdir = f"runs/{default_name(records[0])}_SEED"
    each = command(config, steps_before(records[0]), workdir)
    each = each.replace(f"--seed={config.seed} ", "--seed=$seed ")
    each = each.replace(workdir, workdir.replace("SEED", "$seed"))
    listed = " ".join(map(str, sorted(seeds_of(records))[:: config.num_seeds]))
    return f"for seed in {listed}; do {each}; done"


def steps_before(record: Record) -> list[int]:
    """The earlier values of --steps of the runs of a record."""
    return record.get("steps_before", [])


def of_run(run: RunFolder, evaluation: list[dict[str, Any]]) -> Record:
    """A record, without trials, of a complete run."""
    config = run.config
    return {
        "task": config.task,
        "learner": learner_name(config),
        "config": dataclasses.asdict(config),
        "steps_before": run.steps_before(),
        "command": run.command(),
        "versions": versions(),
        "seconds": max(run.seconds(seed) for seed in config.seeds()),
        "machines": list(machines(run, evaluation)),
        "trials": [],
    }


def of_pretrained(name: str) -> Record:
    """The same of a machine that ships."""
    _, config, made = load_run(name)
    solved_at = made["evaluation"][0]["solved_at"]
    # The last command may have trained other seeds, too.
    *before, _ = made["command"].split(" && ")
    return {
        "task": config.task,
        "learner": f"{learner_name(config)}, as shipped (seed {made['seed']})",
        "config": dataclasses.asdict(config),
        "command": " && ".join([*before, command(config)]),
        "evaluation": made["evaluation"],
        "versions": made["versions"],
        "seconds": made["seconds"],
        "machines": [
            {
                "seed": made["seed"],
                "sequences": made["sequences"],
                "solved_after": solved_at and solved_at * config.batch_size,
                "validated_after": [],
                "errors": [],
            }
        ],
        "trials": [],
    }


def default_name(record: Record) -> str:
    """The name of a record's file."""
    words = re.findall(r"\w+", f"{record['task']} {record['learner'].lower()}")
    return "_".join(words)


def machines(
    run: RunFolder, evaluation: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """For each seed, when it was solved and its validations."""
    batch, metrics = run.config.batch_size, run.metrics()
    for seed in run.config.seeds():
        entry = next(entry for entry in evaluation if entry["machine"] == seed)
        validations = [
            entry
            for entry in metrics
            if entry["kind"] == "validation" and entry["seed"] == seed
        ]
        solved_at = entry["solved_at"]
        yield {
            "seed": seed,
            "sequences": entry["step"] * batch,
            "solved_after": None if solved_at is None else solved_at * batch,
            **{name: entry[name] for name in ("restarts",) if name in entry},
            "validated_after": [entry["step"] * batch for entry in validations],
            "errors": [float(f"{entry['error']:.4g}") for entry in validations],
        }


def slots_for(config: TrainConfig) -> int:
    """The slots of training, but at least the paper's 128 if the machine allows it."""
    if "learned" in (config.initial_memory, config.initial_weighting):
        return config.num_slots
    return max(config.num_slots, _PAPERS_SLOTS)


def trials_up_to(hardest: int, config: TrainConfig) -> list[dict[str, Any]]:
    """The trials of the task up to a difficulty, with the slots of this machine.

    Raises:
      ValueError: if all trials are harder.
    """
    task = config.make_task()
    difficulty = task.difficulty
    own = [{**trial, "num_sequences": 1000} for trial in task.trials()]
    trials = TRIALS.get(config.task, own)
    sizes = [
        max((highest(trial[name]) for name in difficulty), default=0)
        for trial in trials
    ]
    if hardest < min(sizes):
        raise ValueError(f"hardest: got {hardest}, want at least {min(sizes)}")
    due = [
        {"num_slots": slots_for(config), **trial}
        for size, trial in zip(sizes, trials)
        if size <= hardest
    ]
    if not config.has_slots():
        for trial in due:
            del trial["num_slots"]  # other models have none
    return due


def highest(size: int | Sequence[int]) -> int:
    """The largest size of a trial's sequences."""
    return size if isinstance(size, int) else size[-1]


def setting(trial: dict[str, Any]) -> dict[str, Any]:
    """The settings of a trial, without its results."""
    return {name: value for name, value in trial.items() if name not in EACH}


def tried(params: PyTree, config: TrainConfig, trial: dict[str, Any]) -> dict[str, Any]:
    """A trial with its results: the errors of every machine."""
    static: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in trial.items()
    }
    results = evaluate(
        params,
        config,
        keys=jnp.broadcast_to(evaluation_key(0), (config.num_seeds,)),
        **static,
    )
    loss = f"{config.make_task().targets.loss_name}_per_sequence"
    return {
        **trial,
        "errors": [result["error_per_sequence"] for result in results],
        "perfect_fractions": [result["perfect_fraction"] for result in results],
        "loss_bits": [result[loss] for result in results],
    }


if __name__ == "__main__":
    sys.exit(main())
