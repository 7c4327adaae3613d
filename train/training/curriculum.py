"""How hard the sequences are that a machine learns from, as training goes on."""

import jax.numpy as jnp
from jax import Array

import tasks
from train.runs.config import TrainConfig

# Part of the sequences that are as hard as they get so far, with a look back.
_HARDEST = 0.9


def curriculum(config: TrainConfig, step: Array) -> dict[str, tasks.Range]:
    """The difficulties of the update `step`, for the task's `sample`.

    * `none`: the hardest of the task's own, always.
    * `uniform`: all of the task's own, always.
    * `growing`: from the task's easiest, both the lowest and the highest rise evenly to
      the task's own within `curriculum_steps` updates. Short sequences teach the
      mechanism (write here, move on, come back), which carries over to longer ones.
    * `look_back`: the same, but of each difficulty nine of ten sequences take the
      highest so far, and only the tenth looks back at what was before, as in the code
      of Collier and Beel 2018.
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
