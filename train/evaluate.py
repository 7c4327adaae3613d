"""How well a trained machine does, at any difficulty and with any number of slots.

    python -m train.evaluate --workdir=runs/copy --length=120 --num_sequences=100

The last line printed is one JSON object.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import tasks
from ntm_jax.checks import check_count
from train import cli
from train.runs.config import TrainConfig
from train.runs.folder import RunFolder
from train.runs.pretrained import load_run
from train.training.devices import use_all_cores
from train.training.measure import evaluate, evaluation_key, slots_of

PyTree = Any
# The flags that are difficulties of some task.
_SIZES = ("length", "repeats", "items", "answers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """How hard the sequences are, and how large the memory."""

    length: int | None = None
    """Vectors, bits or symbols in a sequence; sizes are as in training unless given."""
    repeats: int | None = None
    """Copies to make (repeat_copy)."""
    items: int | None = None
    """Items before the query (associative_recall)."""
    answers: int | None = None
    """Vectors to give back (priority_sort)."""
    num_slots: int | None = None
    """Slots of the memory; as in training unless given."""

    def difficulty(self) -> dict[str, int]:
        """Of the sizes of a sequence those that are given."""
        given = {name: getattr(self, name) for name in _SIZES}
        return {name: size for name, size in given.items() if size is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Sizes):
    """Evaluates the newest checkpoint of a run, or a machine that ships with the code.

    The sequences are fresh. A run of several seeds gives one JSON object for each
    machine and one for all.
    """

    workdir: Path | None = None
    """The run's folder."""
    pretrained: str | None = None
    """Instead of it, the name of a trained machine, or a .safetensors file."""
    num_sequences: int = 100
    """Sequences to evaluate on."""
    seed: int = 0
    """Of the sequences; every machine of the run gets the same."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m train.evaluate")
    with cli.readable_errors():
        cli.keep_compilations()
        params, config, steps = open_machines(flags.workdir, flags.pretrained)
        difficulty = flags.difficulty()
        check_fits(config, flags.num_slots, **difficulty)
        key = evaluation_key(flags.seed)
        started = time.perf_counter()
        results = evaluate(
            params,
            config,
            keys=jnp.broadcast_to(key, (config.num_seeds,)),
            num_sequences=flags.num_sequences,
            num_slots=flags.num_slots,
            **difficulty,
        )
        seconds = round(time.perf_counter() - started, 3)
        asked = {"seed": flags.seed, "seconds": seconds}
        if len(results) == 1:
            print(json.dumps({**results[0], **asked, "step": steps[0]}))
        else:
            for result, seed, step in zip(results, config.seeds(), steps):
                print(json.dumps({"machine": seed, **result, "step": step}))
            print(json.dumps({**summary(results), **asked}))
    return 0


def open_machines(
    workdir: Path | None, pretrained: str | None
) -> tuple[PyTree, TrainConfig, list[int]]:
    """A run's machines, or the one that ships: `[S, ...]`, config and updates made.

    Raises:
      ValueError: unless it is one of both, and there.
    """
    if workdir is None and pretrained is not None:
        params, config, made = load_run(pretrained)
        return jax.tree.map(lambda leaf: leaf[None], params), config, [made["step"]]
    if workdir is None or pretrained is not None:
        got = "none" if workdir is None else "both"
        raise ValueError(f"workdir, pretrained: got {got}, want one of them")
    run = RunFolder.open(workdir.expanduser())
    use_all_cores(run.config.num_seeds, run.config.batch_size)
    states = run.restore()
    return states.params, run.config, states.step.tolist()


def check_fits(
    config: TrainConfig, num_slots: int | None, **difficulty: tasks.Difficulty
) -> None:
    """Raises a `ValueError` if there are more things to keep than slots.

    The measure of a machine that cannot but fail says nothing of what it learned.
    """
    if config.model == "lstm":
        return
    task = config.make_task()
    needed = task.min_slots(task.ranges(**difficulty))
    slots = slots_of(config, num_slots)
    check_count("num_slots", slots)
    trained_to_pack = config.num_slots < task.min_slots(task.ranges())
    if slots < needed and not trained_to_pack:
        raise ValueError(
            f"num_slots: got {slots}, want at least {needed} for sequences of this size"
        )


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several machines: the means, the worst, and how many made no mistake."""

    def mean(name: str) -> float:
        return float(np.mean([result[name] for result in results]))

    return {
        **results[0],
        "wrong_bits_per_sequence": mean("wrong_bits_per_sequence"),
        "worst_wrong_bits": max(result["worst_wrong_bits"] for result in results),
        "perfect_fraction": mean("perfect_fraction"),
        "error_per_sequence": mean("error_per_sequence"),
        "loss_bits_per_sequence": mean("loss_bits_per_sequence"),
        "machines": len(results),
        "perfect_machines": sum(
            result["wrong_bits_per_sequence"] == 0 for result in results
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
