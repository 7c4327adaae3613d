"""When a seed restarts: some begin with parameters from which they hardly learn.

Such a seed stays near the error that it had at first. It restarts if, for
`--restart_after` updates, no validation was better than all before. Better means that
the error is at least 5 % lower, so that the noise of training does not count. A seed
whose error once was within the task's tolerance, or below 2 % of its highest, has
learned, and does not restart. The highest is that of all its validations, also before a
restart: the first one after it can be low already. Nor does a seed restart with fewer
than `--restart_after` updates left.

It restarts with other parameters, a new state of the optimizer, and the learning rate
and the curriculum from their beginning. Its updates are counted on: so it sees other
sequences than before, and all that it has seen are counted.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from ntm_jax.arrays import select

from ..runs.config import TrainConfig
from .devices import spread
from .state import NEVER, RestartingState, init_states, mesh_of, without_arrays

# Parts of an error: better is lower by so much, and so much of the highest is low.
BETTER, LOW = 0.05, 0.02


def with_validation(
    states: RestartingState, errors: Array, due: Array, tolerance: float
) -> RestartingState:
    """The states after a validation, with the errors to which the next is compared.

    Args:
      states: `[S, ...]`.
      errors: `[S]`, the errors in the validation after the last update.
      due: bool `[S]`, the seeds that were validated; the others stay as they are.
      tolerance: of the task.
    """
    errors = jnp.asarray(errors, jnp.float32)
    highest = jnp.fmax(errors, states.highest_error)
    better = errors < (1 - BETTER) * states.best_error
    better = due & (better | (errors <= tolerance))
    return states.replace(
        highest_error=jnp.where(due, highest, states.highest_error),
        best_error=jnp.where(better, errors, states.best_error),
        best_at=jnp.where(better, states.step, states.best_at),
    )


def is_stuck(
    config: TrainConfig, states: RestartingState, due: Array, tolerance: float
) -> np.ndarray:
    """Which seeds restart after a validation, bool `[S]`.

    Args:
      config: of the run.
      states: `[S, ...]`, that `with_validation` has returned.
      due: bool `[S]`, the seeds that were validated.
      tolerance: of the task.
    """
    assert config.restart_after is not None
    learned = has_learned(states, tolerance)
    waited = states.step - states.best_at >= config.restart_after
    left = config.steps - states.step >= config.restart_after
    solved = states.solved_at != NEVER
    return np.asarray(due & waited & left & ~learned & ~solved)


def has_learned(states: RestartingState, tolerance: float) -> Array:
    """Which seeds had an error so low that they need no other parameters, bool `[S]`.

    Args:
      states: `[S, ...]`, that `with_validation` has returned.
      tolerance: of the task.
    """
    low = states.best_error < LOW * states.highest_error
    return low | (states.best_error <= tolerance)


def restarted(
    config: TrainConfig,
    states: RestartingState,
    stuck: np.ndarray,
    optimizer: optax.GradientTransformation | None = None,
) -> RestartingState:
    """The states, in which the seeds that are stuck are at their beginning again.

    Args:
      config: of the run.
      states: `[S, ...]`; their buffers are donated.
      stuck: bool `[S]`.
      optimizer: in place of the config's. That of `init_states`.
    """
    number = np.asarray(without_arrays(states).restarts) + 1
    initial = init_states(config, optimizer, restarts=number)
    return _chosen(spread(stuck, mesh_of(config)), initial, states)


@functools.partial(jax.jit, donate_argnames="states")
def _chosen(
    stuck: Array, initial: RestartingState, states: RestartingState
) -> RestartingState:
    """The initial state of each seed that is stuck, and the others as they are."""
    now, highest = states.step, states.highest_error
    initial = initial.replace(
        step=now, began_at=now, best_at=now, highest_error=highest
    )
    return select(stuck, initial, states)
