"""How hard the sequences are that a machine learns from, as training goes on."""

import jax.numpy as jnp
from jax import Array

import tasks
from train.config import TrainConfig


def curriculum(config: TrainConfig, step: Array) -> dict[str, tasks.Range]:
    """The difficulties of the update `step`, for the task's `sample`.

    * `uniform`: the task's own, always.
    * `growing`: the highest rises evenly from the lowest to the task's own within
      `curriculum_steps` updates. Short sequences teach the mechanism (write here, move
      on, come back), which then carries over to longer ones.
    """
    ranges = config.make_task().ranges()
    if config.curriculum == "uniform":
        return ranges
    grown = jnp.minimum(step, config.curriculum_steps)
    return {
        name: range_._replace(
            highest=range_.lowest
            + (range_.limit - range_.lowest) * grown // config.curriculum_steps
        )
        for name, range_ in ranges.items()
    }
