"""The difficulty of the training sequences, update by update."""

import jax.numpy as jnp
from jax import Array

from ntm_jax import tasks

from ..runs.config import TrainConfig

# Fraction of the sequences with the highest difficulty so far, in look_back.
_HARDEST = 0.9


def curriculum(config: TrainConfig, step: Array | int) -> dict[str, tasks.Range]:
    """The difficulties for the task's `sample`, `step` updates after the beginning.

    * `none`: always the task's hardest.
    * `uniform`: always the task's whole range.
    * `growing`: the lowest and the highest difficulty rise linearly from the task's
      easiest to its own range within `curriculum_steps` updates. Short sequences teach
      the mechanism (write, move on, come back), which carries over to longer ones.
    * `look_back`: the same, but nine of ten sequences have the highest difficulty so
      far and the tenth is drawn from the whole range so far, as in the code of Collier
      and Beel 2018.
    """
    task = config.make_task()
    ranges = task.ranges()
    if config.curriculum == "uniform":
        return ranges
    if config.curriculum == "none":
        return {
            name: range_._replace(lowest=range_.limit)
            for name, range_ in ranges.items()
        }
    grown = jnp.minimum(step, config.curriculum_steps)

    def rising(name: str, end: int | Array) -> Array:
        start = task.easiest[name]
        return start + (end - start) * grown // config.curriculum_steps

    return {
        name: range_._replace(
            lowest=rising(name, range_.lowest),
            highest=rising(name, range_.limit),
            at_highest=_HARDEST if config.curriculum == "look_back" else 0.0,
        )
        for name, range_ in ranges.items()
    }
