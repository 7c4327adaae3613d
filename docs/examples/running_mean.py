"""Running mean: at each step the mean of all numbers so far."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from ntm_jax import tasks


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunningMean(tasks.Task):
    """Numbers from -1 to 1; the answer is a real number at every step."""

    inputs = tasks.Vectors(1)
    targets = tasks.Reals(1, within=0.1)
    difficulty: ClassVar = {"length": (1, 20)}
    beyond = ({"length": 40},)

    def make(self, key, batch_size, ranges):
        """A batch of sequences."""
        length = ranges["length"]
        length_key, key = jax.random.split(key)
        mask = jnp.arange(length.limit)[:, None] < length.draw(
            length_key, (1, batch_size)
        )
        numbers = jax.random.uniform(key, (*mask.shape, 1), minval=-1)
        count = jnp.arange(1.0, length.limit + 1)[:, None, None]
        return tasks.Batch(numbers, jnp.cumsum(numbers, axis=0) / count, mask)
