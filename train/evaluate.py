"""How well a trained machine does, at any difficulty and with any number of slots.

    python -m train.evaluate --workdir=runs/copy --length=120 --num_sequences=100

The last line printed is one JSON object.
"""

import dataclasses
import functools
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import tasks
from ntm_jax.checks import check_count
from train import cli
from train.config import TrainConfig
from train.loop import purpose_key
from train.population import for_each_seed, member, spread_seeds, use_all_cores
from train.pretrained import load_run
from train.run import RunFolder

PyTree = Any
# Numbers in the memories of the sequences that are evaluated together.
_MEMORY_NUMBERS = 2**18
# The flags that are difficulties of some task.
_SIZES = ("length", "repeats", "items", "answers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Evaluates the newest checkpoint of a run, or a machine that ships with the code.

    The sequences are fresh. A run of several seeds gives one JSON object for each
    machine and one for all.
    """

    workdir: Path | None = None
    """The run's folder."""
    pretrained: str | None = None
    """Instead of it, the name of a trained machine, or a .safetensors file."""
    length: int | None = None
    """Vectors, or bits, in a sequence; all sizes are as in training unless given."""
    repeats: int | None = None
    """Copies to make (repeat_copy)."""
    items: int | None = None
    """Items before the query (associative_recall)."""
    answers: int | None = None
    """Vectors to give back (priority_sort)."""
    num_slots: int | None = None
    """Slots of the memory; as in training unless given."""
    num_sequences: int = 100
    """Sequences to evaluate on."""
    seed: int = 0
    """Of the sequences; every machine of the run gets the same."""


def evaluate(
    params: PyTree,
    config: TrainConfig,
    *,
    keys: Array,
    num_sequences: int,
    num_slots: int | None = None,
    **difficulty: tasks.Difficulty,
) -> list[dict[str, Any]]:
    """Wrong bits, perfect answers and cost of every machine, on fresh sequences.

    Sequence i of a machine depends on its key, i and the difficulty alone.

    Args:
      params: of the machines of `config`, `[S, ...]`.
      config: of the run.
      keys: of the sequences, `[S]`.
      num_sequences: how many for each machine.
      num_slots: of the memory, instead of the config's.
      **difficulty: of the task's `sample`; as in training where not given.

    Returns:
      For each machine what was evaluated, and means over the sequences, ready for JSON.

    Raises:
      TypeError, ValueError: for sizes that are not whole and positive, or that the
        machine cannot have.
    """
    check_count("num_sequences", num_sequences)
    task = config.make_task()
    difficulty = {**task.difficulty, **difficulty}
    # Checks the sizes before anything is compiled.
    task.ranges(**difficulty)
    jax.eval_shape(
        lambda params, inputs: config.make_model().logits(params, inputs, num_slots),
        member(params, 0),
        jax.ShapeDtypeStruct((1, 1, task.input_size), jnp.float32),
    )
    slots = slots_of(config, num_slots)
    at_once = max(1, _MEMORY_NUMBERS // (slots * config.slot_size))
    at_once = min(at_once, num_sequences)
    params, keys = spread_seeds((params, keys))
    same_for_all = config.for_any_seed()
    parts = []
    for first in range(0, num_sequences, at_once):
        part = _evaluate_together(
            params,
            keys,
            first,
            config=same_for_all,
            num_sequences=at_once,
            num_slots=num_slots,
            difficulty=tuple(sorted(difficulty.items())),
        )
        parts.append(part)
    loss, wrong, error = (
        np.concatenate(of_one, axis=1)[:, :num_sequences] for of_one in zip(*parts)
    )
    return [
        {
            "task": config.task,
            **difficulty,
            **({} if config.model == "lstm" else {"num_slots": slots}),
            "num_sequences": num_sequences,
            "wrong_bits_per_sequence": float(np.mean(wrong[i])),
            "worst_wrong_bits": int(np.max(wrong[i])),
            "perfect_fraction": float(np.mean(wrong[i] == 0)),
            "error_per_sequence": float(np.mean(error[i])),
            "loss_bits_per_sequence": float(np.mean(loss[i])),
            **optimum(task, float(np.mean(loss[i])), float(np.mean(error[i]))),
        }
        for i in range(len(wrong))
    ]


def optimum(task: tasks.Task, loss: float, error: float) -> dict[str, float]:
    """What the best possible predictor's answers cost, for a task that has one."""
    if not hasattr(task, "optimal_logits"):
        return {}
    return {"optimal_bits_per_sequence": loss - error}


def evaluation_key(seed: int) -> Array:
    """The key of an evaluation's sequences: others than any training's.

    Raises:
      TypeError, ValueError: for a seed that is not whole, or negative.
    """
    check_count("seed", seed, 0)
    return purpose_key(seed, "evaluation")


@functools.partial(
    jax.jit, static_argnames=("config", "num_sequences", "num_slots", "difficulty")
)
def _evaluate_together(
    params: PyTree,
    keys: Array,
    first: int,
    *,
    config: TrainConfig,
    num_sequences: int,
    num_slots: int | None,
    difficulty: tuple[tuple[str, tasks.Difficulty], ...],
) -> tuple[Array, ...]:
    """Cost in bits, wrong bits and errors, `[S, num_sequences]`, from `first` on."""
    task, model = config.make_task(), config.make_model()

    def evaluate_one(params: PyTree, key: Array) -> tuple[Array, ...]:
        indices = first + jnp.arange(num_sequences)
        each = jax.vmap(functools.partial(jax.random.fold_in, key))(indices)
        batch = sample_each(task, each, **dict(difficulty))
        logits = model.logits(params, batch.inputs, num_slots)
        return (
            tasks.loss_bits(logits, batch),
            tasks.wrong_bits(logits, batch),
            task.errors(logits, batch),
        )

    return for_each_seed(evaluate_one)(params, keys)


def sample_each(task: tasks.Task, keys: Array, **difficulty: Any) -> tasks.Batch:
    """A batch in which every sequence comes from a key of its own."""
    one_each = jax.vmap(lambda key: task.sample(key, 1, **difficulty), out_axes=1)(keys)
    return jax.tree.map(lambda leaf: leaf.squeeze(2), one_each)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m train.evaluate")
    with cli.readable_errors():
        params, config, steps = open_machines(flags.workdir, flags.pretrained)
        given = {name: getattr(flags, name) for name in _SIZES}
        difficulty = {name: size for name, size in given.items() if size is not None}
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
    use_all_cores(run.config.num_seeds)
    states = run.restore()
    return states.params, run.config, [int(step) for step in states.step]


def slots_of(config: TrainConfig, num_slots: int | None) -> int:
    """Those asked for, or else those of training."""
    return config.num_slots if num_slots is None else num_slots


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
