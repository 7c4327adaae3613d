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
from jax import Array

import ntm_jax
import tasks
from ntm_jax.checks import check_count
from train import cli
from train.config import TrainConfig, check_seed
from train.loop import purpose_key
from train.run import RunFolder

PyTree = Any
# Numbers in the memories of the sequences that are evaluated together.
_MEMORY_NUMBERS = 2**18


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Evaluates the newest checkpoint of a run on fresh sequences."""

    workdir: Path
    """The run's folder."""
    length: int | None = None
    """Vectors in a sequence; as in training unless given."""
    num_slots: int | None = None
    """Slots of the memory; as in training unless given."""
    num_sequences: int = 100
    """Sequences to evaluate on."""
    seed: int = 0
    """Of the sequences."""


def evaluate(
    params: PyTree,
    config: TrainConfig,
    *,
    key: Array,
    num_sequences: int,
    num_slots: int | None = None,
    **difficulty: tasks.Difficulty,
) -> dict[str, Any]:
    """Wrong bits, perfect answers and cost on fresh sequences.

    Sequence i depends on `key`, i and the difficulty alone.

    Args:
      params: of the machine of `config`.
      config: of the run.
      key: of the sequences.
      num_sequences: how many.
      num_slots: of the memory, instead of the config's.
      **difficulty: of the task's `sample`; as in training where not given.

    Returns:
      What was evaluated, and means over the sequences, ready for JSON.

    Raises:
      TypeError, ValueError: for sizes that are not whole and positive, or that the
        machine cannot have.
    """
    check_count("num_sequences", num_sequences)
    task = config.make_task()
    num_slots = config.num_slots if num_slots is None else num_slots
    difficulty = {**task.difficulty, **difficulty}
    # Checks the sizes before anything is compiled.
    ntm_jax.initial_state(params, config.make_machine(), num_slots=num_slots)
    task.ranges(**difficulty)

    started = time.perf_counter()
    at_once = max(1, _MEMORY_NUMBERS // (num_slots * config.slot_size))
    at_once = min(at_once, num_sequences)
    losses, wrongs = [], []
    for first in range(0, num_sequences, at_once):
        keys = jax.vmap(functools.partial(jax.random.fold_in, key))(
            jnp.arange(first, first + at_once)
        )
        loss, wrong = _evaluate_together(
            params,
            keys,
            config=config,
            num_slots=num_slots,
            difficulty=tuple(sorted(difficulty.items())),
        )
        losses.append(loss)
        wrongs.append(wrong)
    loss = jnp.concatenate(losses)[:num_sequences]
    wrong = jnp.concatenate(wrongs)[:num_sequences]
    return {
        "task": config.task,
        **difficulty,
        "num_slots": num_slots,
        "num_sequences": num_sequences,
        "wrong_bits_per_sequence": float(jnp.mean(wrong.astype(jnp.float32))),
        "worst_wrong_bits": int(jnp.max(wrong)),
        "perfect_fraction": float(jnp.mean((wrong == 0).astype(jnp.float32))),
        "loss_bits_per_sequence": float(jnp.mean(loss)),
        "seconds": round(time.perf_counter() - started, 3),
    }


def evaluation_key(seed: int) -> Array:
    """The key of an evaluation's sequences: others than any training's.

    Raises:
      TypeError, ValueError: for a seed that is not whole, or negative.
    """
    check_seed(seed)
    return purpose_key(seed, "evaluation")


@functools.partial(jax.jit, static_argnames=("config", "num_slots", "difficulty"))
def _evaluate_together(
    params: PyTree,
    keys: Array,
    *,
    config: TrainConfig,
    num_slots: int,
    difficulty: tuple[tuple[str, tasks.Difficulty], ...],
) -> tuple[Array, Array]:
    """Cost in bits and wrong bits of one sequence for each key."""
    batch = sample_each(config.make_task(), keys, **dict(difficulty))
    machine = config.make_machine()
    state = ntm_jax.initial_state(
        params, machine, num_slots=num_slots, batch_shape=keys.shape
    )
    _, logits = ntm_jax.unroll(params, batch.inputs, config=machine, state=state)
    return tasks.loss_bits(logits, batch), tasks.wrong_bits(logits, batch)


def sample_each(task: tasks.Task, keys: Array, **difficulty: Any) -> tasks.Batch:
    """A batch in which every sequence comes from a key of its own."""
    one_each = jax.vmap(lambda key: task.sample(key, 1, **difficulty), out_axes=1)(keys)
    return jax.tree.map(lambda leaf: leaf.squeeze(2), one_each)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m train.evaluate")
    with cli.readable_errors():
        run = RunFolder.open(flags.workdir)
        state = run.restore()
        difficulty = {} if flags.length is None else {"length": flags.length}
        result = evaluate(
            state.params,
            run.config,
            key=evaluation_key(flags.seed),
            num_sequences=flags.num_sequences,
            num_slots=flags.num_slots,
            **difficulty,
        )
        print(json.dumps({**result, "seed": flags.seed, "step": int(state.step)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
