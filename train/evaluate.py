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

import ntm_jax
import tasks
from ntm_jax.checks import check_count
from train import cli
from train.config import TrainConfig, check_seed
from train.loop import purpose_key
from train.population import for_each_seed, member, spread_seeds, use_all_cores
from train.run import RunFolder

PyTree = Any
# Numbers in the memories of the sequences that are evaluated together.
_MEMORY_NUMBERS = 2**18


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Evaluates the newest checkpoint of a run on fresh sequences.

    A run of several seeds gives one JSON object for each machine and one for all.
    """

    workdir: Path
    """The run's folder."""
    length: int | None = None
    """Vectors in a sequence; as in training unless given."""
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
    task, machine = config.make_task(), config.make_machine()
    num_slots = config.num_slots if num_slots is None else num_slots
    difficulty = {**task.difficulty, **difficulty}
    # Checks the sizes before anything is compiled.
    jax.eval_shape(
        lambda p: ntm_jax.initial_state(p, machine, num_slots=num_slots),
        member(params, 0),
    )
    task.ranges(**difficulty)

    at_once = max(1, _MEMORY_NUMBERS // (num_slots * config.slot_size))
    at_once = min(at_once, num_sequences)
    params, keys = spread_seeds((params, keys))
    same_for_all = config.for_any_seed()
    losses, wrongs = [], []
    for first in range(0, num_sequences, at_once):
        loss, wrong = _evaluate_together(
            params,
            keys,
            first,
            config=same_for_all,
            num_sequences=at_once,
            num_slots=num_slots,
            difficulty=tuple(sorted(difficulty.items())),
        )
        losses.append(loss)
        wrongs.append(wrong)
    loss = np.concatenate(losses, axis=1)[:, :num_sequences]
    wrong = np.concatenate(wrongs, axis=1)[:, :num_sequences]
    return [
        {
            "task": config.task,
            **difficulty,
            "num_slots": num_slots,
            "num_sequences": num_sequences,
            "wrong_bits_per_sequence": float(np.mean(wrong[i])),
            "worst_wrong_bits": int(np.max(wrong[i])),
            "perfect_fraction": float(np.mean(wrong[i] == 0)),
            "loss_bits_per_sequence": float(np.mean(loss[i])),
        }
        for i in range(len(wrong))
    ]


def evaluation_key(seed: int) -> Array:
    """The key of an evaluation's sequences: others than any training's.

    Raises:
      TypeError, ValueError: for a seed that is not whole, or negative.
    """
    check_seed(seed)
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
    num_slots: int,
    difficulty: tuple[tuple[str, tasks.Difficulty], ...],
) -> tuple[Array, Array]:
    """Cost in bits and wrong bits, `[S, num_sequences]`, from the `first` one on."""
    machine = config.make_machine()

    def evaluate_one(params: PyTree, key: Array) -> tuple[Array, Array]:
        indices = first + jnp.arange(num_sequences)
        each = jax.vmap(functools.partial(jax.random.fold_in, key))(indices)
        batch = sample_each(config.make_task(), each, **dict(difficulty))
        state = ntm_jax.initial_state(
            params, machine, num_slots=num_slots, batch_shape=each.shape
        )
        _, logits = ntm_jax.unroll(params, batch.inputs, config=machine, state=state)
        return tasks.loss_bits(logits, batch), tasks.wrong_bits(logits, batch)

    return for_each_seed(evaluate_one)(params, keys)


def sample_each(task: tasks.Task, keys: Array, **difficulty: Any) -> tasks.Batch:
    """A batch in which every sequence comes from a key of its own."""
    one_each = jax.vmap(lambda key: task.sample(key, 1, **difficulty), out_axes=1)(keys)
    return jax.tree.map(lambda leaf: leaf.squeeze(2), one_each)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m train.evaluate")
    with cli.readable_errors():
        run = RunFolder.open(flags.workdir)
        use_all_cores(run.config.num_seeds)
        states = run.restore()
        difficulty = {} if flags.length is None else {"length": flags.length}
        key = evaluation_key(flags.seed)
        started = time.perf_counter()
        results = evaluate(
            states.params,
            run.config,
            keys=jnp.broadcast_to(key, (run.config.num_seeds,)),
            num_sequences=flags.num_sequences,
            num_slots=flags.num_slots,
            **difficulty,
        )
        seconds = round(time.perf_counter() - started, 3)
        asked = {"seed": flags.seed, "seconds": seconds}
        if len(results) == 1:
            print(json.dumps({**results[0], **asked, "step": int(states.step[0])}))
        else:
            for result, seed, step in zip(results, run.config.seeds(), states.step):
                print(json.dumps({"machine": seed, **result, "step": int(step)}))
            print(json.dumps({**summary(results), **asked}))
    return 0


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several machines: the means, the worst, and how many made no mistake."""
    wrongs = [result["wrong_bits_per_sequence"] for result in results]

    def mean(name: str) -> float:
        return float(np.mean([result[name] for result in results]))

    return {
        **results[0],
        "wrong_bits_per_sequence": mean("wrong_bits_per_sequence"),
        "worst_wrong_bits": max(result["worst_wrong_bits"] for result in results),
        "perfect_fraction": mean("perfect_fraction"),
        "loss_bits_per_sequence": mean("loss_bits_per_sequence"),
        "machines": len(results),
        "perfect_machines": wrongs.count(0),
    }


if __name__ == "__main__":
    sys.exit(main())
