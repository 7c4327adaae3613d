"""The score of the benchmark: the mean accuracy over the lengths 41 to 500.

The accuracy at a length is the share of correct symbols among those of all answers
to strings of that length; a longer answer counts more. Every length has the same
weight. A symbol is correct if its logit is the largest.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntm_jax.tasks import Batch, Range, Task
from train.runs.config import TrainConfig
from train.training.measure import evaluation_key
from train.training.model import Model

PyTree = Any
LENGTHS = range(41, 501)
# Lengths that are padded to the same, and sequences in one call of the model.
_PAD_TO = (100, 250, 500)
_AT_ONCE = 64


def accuracies(
    params: PyTree,
    config: TrainConfig,
    num_slots: int | None = None,
    *,
    each: int = 8,
    seed: int = 0,
    lengths: range = LENGTHS,
) -> list[float]:
    """The accuracy at each length.

    Args:
      params: of one machine.
      config: of its run.
      num_slots: of the memory, instead of the config's.
      each: strings of each length.
      seed: of the strings.
      lengths: up to 500.
    """
    task, model = config.make_task(), config.make_model(num_slots)
    key = evaluation_key(seed)
    right, due = np.zeros((2, len(lengths)))
    for bottom, top in zip((0, *_PAD_TO), _PAD_TO):
        own = [i for i, length in enumerate(lengths) if bottom < length <= top]
        places = np.repeat(own, each).astype(int)
        for first in range(0, len(places), _AT_ONCE):
            part = places[first : first + _AT_ONCE]
            # The last call has some strings twice, so that it has the same shape.
            filled = np.resize(part, _AT_ONCE)
            counted = _count(
                params,
                key,
                jnp.asarray(np.array(lengths)[filled], jnp.int32),
                jnp.arange(first, first + _AT_ONCE),
                task=task,
                model=model,
                limit=top,
            )
            for total, count in zip((right, due), counted):
                np.add.at(total, part, np.asarray(count)[: len(part)])
    return (right / due).tolist()


@functools.partial(jax.jit, static_argnames=("task", "model", "limit"))
def _count(
    params: PyTree,
    key: Array,
    lengths: Array,
    numbers: Array,
    *,
    task: Task,
    model: Model,
    limit: int,
) -> tuple[Array, Array]:
    """The correct symbols of each answer, and all of them, int `[B]`.

    Args:
      params: of the machine.
      key: of all strings.
      lengths: of the strings, `[B]`.
      numbers: `[B]`, which with the limit make the strings differ.
      task: of the machine.
      model: of the machine.
      limit: the longest.
    """

    def sample(length: Array, number: Array) -> Batch:
        own = jax.random.fold_in(jax.random.fold_in(key, limit), number)
        return task.sample(own, 1, length=Range(length, length, limit))

    batch = jax.vmap(sample, out_axes=1)(lengths, numbers)
    batch = jax.tree.map(lambda leaf: leaf.squeeze(2), batch)
    logits = model.logits(params, batch.inputs)
    wrong = task.targets.wrong(logits, batch.targets, batch.mask)
    due = task.targets.count(batch.mask)
    return due - wrong, due
