"""Evaluation of machines: wrong answers, errors and loss, on new sequences."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh

from ntm_jax import tasks
from ntm_jax.checks import check_count

from ..runs.config import TrainConfig
from .devices import all_parts, mesh_for, on_host, own_part, spread
from .feed import held_out
from .footprint import check_evaluation
from .keys import purpose_key
from .population import for_each_seed

PyTree = Any
# The most numbers in the memories of the sequences that a device evaluates together.
_MEMORY_NUMBERS = 2**18


def evaluate(
    params: PyTree,
    config: TrainConfig,
    *,
    keys: Array,
    num_sequences: int,
    num_slots: int | None = None,
    split: tasks.Split = "evaluation",
    **difficulty: tasks.Difficulty,
) -> list[dict[str, Any]]:
    """Wrong answers, perfect ones and loss of every machine, on new sequences.

    Sequence i of a machine depends only on its key, i and the difficulty.

    Args:
      params: of the machines of `config`, `[S, ...]`.
      config: of the run.
      keys: of the sequences, `[S]`.
      num_sequences: how many for each machine; of data, at most as many as there are.
      num_slots: of the memory, instead of the config's.
      split: of the data of a task that has data; the keys are not used then.
      **difficulty: of the task's `sample`; the default is that of training.

    Returns:
      For each machine the settings and the means over the sequences, ready for JSON.

    Raises:
      TypeError, ValueError: for sizes that are not positive integers, or that the
        machine cannot have.
    """
    check_count("num_sequences", num_sequences)
    task = config.make_task()
    difficulty = {**task.difficulty, **difficulty}
    # Checks the sizes before anything is compiled.
    task.ranges(**difficulty)
    jax.eval_shape(
        config.make_model(num_slots).logits,
        jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), params
        ),
        shape_of_inputs(task),
    )
    data = None
    if isinstance(task, tasks.DataTask):
        data = held_out(task, split, num_sequences)
        num_sequences = data.mask.shape[1]
    slots = slots_of(config, num_slots)
    check_evaluation(config, slots, difficulty)
    devices = jax.device_count()
    on_each = max(1, _MEMORY_NUMBERS // (slots * config.slot_size))
    at_once = devices * min(on_each, math.ceil(num_sequences / devices))
    mesh = mesh_for(config.num_seeds, at_once)
    params, key_data = spread((params, jax.random.key_data(keys)), mesh)
    same_for_all = config.for_any_seed()
    parts = []
    for first in range(0, num_sequences, at_once):
        part = _evaluate_together(
            params,
            key_data,
            first,
            data and part_of_data(data, first, at_once, config.num_seeds),
            config=same_for_all,
            num_sequences=at_once,
            num_slots=num_slots,
            difficulty=tuple(sorted(difficulty.items())),
            mesh=mesh,
        )
        # One at a time: CPU devices can deadlock in several such programs at once.
        parts.append(on_host(part))
    loss, wrong, error, count, numbers = jax.tree.map(
        lambda *of_one: np.concatenate(of_one, axis=1)[:, :num_sequences], *parts
    )
    targets = task.targets
    return [
        {
            "task": config.task,
            **difficulty,
            **({"num_slots": slots} if config.has_slots() else {}),
            "num_sequences": num_sequences,
            f"{targets.wrong_name}_per_sequence": float(np.mean(wrong[i])),
            f"worst_{targets.wrong_name}": int(np.max(wrong[i])),
            "perfect_fraction": float(np.mean(wrong[i] == 0)),
            "accuracy": float(np.mean(1 - wrong[i] / np.maximum(count[i], 1))),
            "error_per_sequence": float(np.mean(error[i])),
            f"{targets.loss_name}_per_sequence": float(np.mean(loss[i])),
            **in_other_words(task, float(np.mean(loss[i])), float(np.mean(error[i]))),
            **{name: np.max(of_all[i]).item() for name, of_all in numbers.items()},
        }
        for i in range(len(wrong))
    ]


def in_other_words(task: tasks.Task, loss: float, error: float) -> dict[str, float]:
    """The error in other measures: the best predictor's cost, or the accuracy."""
    if hasattr(task, "optimal_logits"):
        return {"optimal_bits_per_sequence": loss - error}
    if isinstance(task, tasks.StringTask):
        return {"accuracy": 1 - error}
    return {}


def shape_of_inputs(
    task: tasks.Task, num_steps: int = 1, batch_size: int = 1
) -> jax.ShapeDtypeStruct:
    """The shape and the dtype of the inputs of a batch."""
    shape = num_steps, batch_size, *task.inputs.step_shape
    tokens = isinstance(task.inputs, tasks.Tokens)
    return jax.ShapeDtypeStruct(shape, jnp.int32 if tokens else jnp.float32)


def evaluation_key(seed: int) -> Array:
    """The key of an evaluation's sequences, which are none of training's.

    Raises:
      TypeError, ValueError: for a seed that is not an integer >= 0.
    """
    check_count("seed", seed, 0)
    return purpose_key(seed, "evaluation")


@functools.partial(
    jax.jit,
    static_argnames=("config", "num_sequences", "num_slots", "difficulty", "mesh"),
)
def _evaluate_together(
    params: PyTree,
    key_data: Array,
    first: int,
    data: tasks.Batch | None,
    *,
    config: TrainConfig,
    num_sequences: int,
    num_slots: int | None,
    difficulty: tuple[tuple[str, tasks.Difficulty], ...],
    mesh: Mesh,
) -> tuple[Any, ...]:
    """Loss, wrong answers, errors and answers, `[S, num_sequences]`, from `first`.

    Also the numbers of the model's `answer`, by name.
    """
    task, model = config.make_task(), config.make_model(num_slots)
    targets = task.targets

    def evaluate_one(
        params: PyTree, key_data: Array, data: tasks.Batch | None = None
    ) -> tuple[Any, ...]:
        key = jax.random.wrap_key_data(key_data)
        if data is not None:
            batch = own_part(data, axis=1)
        else:
            indices = own_part(first + jnp.arange(num_sequences), axis=0)
            each = jax.vmap(functools.partial(jax.random.fold_in, key))(indices)
            batch = sample_each(task, each, **dict(difficulty))
        logits, numbers = model.answer(params, batch.inputs)
        return all_parts(
            (
                targets.loss(logits, batch.targets, batch.mask),
                targets.wrong(logits, batch.targets, batch.mask),
                task.errors(logits, batch),
                targets.count(batch.mask),
                numbers,
            )
        )

    own = () if data is None else (data,)
    return for_each_seed(evaluate_one, mesh)(params, key_data, *own)


def part_of_data(
    data: tasks.Batch, first: int, count: int, num_seeds: int
) -> tasks.Batch:
    """`count` sequences from the `first` on, for every seed; after the last the first.

    Returns:
      A batch `[S, T, count, ...]`.
    """
    places = (first + np.arange(count)) % data.mask.shape[1]
    return jax.tree.map(
        lambda leaf: np.broadcast_to(
            leaf[:, places], (num_seeds, len(leaf), count, *leaf.shape[2:])
        ),
        data,
    )


def sample_each(task: tasks.Task, keys: Array, **difficulty: Any) -> tasks.Batch:
    """A batch in which every sequence has its own key."""
    one_each = jax.vmap(lambda key: task.sample(key, 1, **difficulty), out_axes=1)(keys)
    return jax.tree.map(lambda leaf: leaf.squeeze(2), one_each)


def slots_of(config: TrainConfig, num_slots: int | None) -> int:
    """`num_slots`, or those of training if it is None."""
    return config.num_slots if num_slots is None else num_slots
