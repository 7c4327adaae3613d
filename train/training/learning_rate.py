"""The learning rate over time, as a factor of `--learning_rate`."""

import jax.numpy as jnp
from jax import Array

from ..runs.config import TrainConfig
from .state import NEVER, TrainState, began_at


def learning_rate_factor(config: TrainConfig, state: TrainState) -> Array:
    """Factor of the learning rate: 1 at first, and 0 after the last update.

    It decays linearly from `solved_at` on, and at the latest over the last
    `lr_decay_fraction` of all updates, or of those after the seed has last restarted.
    """

    def rate(last: int | Array, updates: float | Array) -> Array:
        left = jnp.asarray(last - state.step, jnp.float32)
        return jnp.clip(left / jnp.maximum(updates, 1), 0, 1)

    part = 1 - jnp.asarray(began_at(state), jnp.float32) / config.steps
    at_the_latest = rate(config.steps, config.lr_decay_fraction * config.steps * part)
    polishing = rate(state.solved_at + config.polish_steps, config.polish_steps)
    return jnp.where(
        state.solved_at == NEVER,
        at_the_latest,
        jnp.minimum(polishing, at_the_latest),
    )
