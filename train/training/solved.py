"""When a seed is solved, and when its training ends."""

import jax.numpy as jnp
from jax import Array

from ..runs.config import TrainConfig
from .state import NEVER, TrainState


def is_learning(config: TrainConfig, state: TrainState) -> Array:
    """Whether a seed has updates left to make; `[]`, or `[S]` for all seeds."""
    return (state.step < last_step(config, state)) & (state.diverged_at == NEVER)


def last_step(config: TrainConfig, state: TrainState) -> Array:
    """The last update: `steps`, or earlier once the task is solved."""
    polished = jnp.minimum(state.solved_at + config.polish_steps, config.steps)
    return jnp.where(state.solved_at == NEVER, config.steps, polished)


def judge(
    states: TrainState, errors: Array, due: Array, tolerance: float
) -> TrainState:
    """Sets `solved_at` at the first validation within the tolerance.

    A later validation beyond the tolerance resets it to `NEVER`. So a seed is polished
    only while every validation stays within.

    Args:
      states: `[S, ...]`.
      errors: `[S]`, the errors in the validation after the last update.
      due: bool `[S]`, the seeds that were validated; the others stay as they are.
      tolerance: of the task.
    """
    first = jnp.where(states.solved_at == NEVER, states.step, states.solved_at)
    solved_at = jnp.where(errors <= tolerance, first, NEVER)
    return states.replace(solved_at=jnp.where(due, solved_at, states.solved_at))
