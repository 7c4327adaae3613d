"""The states that a run begins with, and those of an optimizer of the user's own.

A checkpoint of a run with an optimizer of its own holds the optimizer's arrays as a
list, so that the parameters can be read without it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import optax

from ntm_jax.tensors import by_path

from ..training.optimizer import unpacked
from ..training.population import member
from ..training.state import TrainState, init_states
from . import given
from .config import TrainConfig
from .given import Given
from .pretrained import shapes_of_params

PyTree = Any
Optimizer = optax.GradientTransformation


def begin(
    config: TrainConfig,
    optimizer: Optimizer | None,
    params: PyTree,
    states_of_run: Callable[[Path], TrainState],
) -> tuple[TrainState, Given | None]:
    """The states before the first update, and which parameters in them are given.

    Args:
      config: of the run.
      optimizer: that of a run with one of its own.
      params: of one machine, to start from in place of those at `config.init_from`.
      states_of_run: the states of another run, from its folder.

    Raises:
      ValueError: if the given parameters cannot be read, or none fits.
    """
    source = config.init_from
    if source is None:
        return init_states(config, optimizer), None
    if params is not None:
        arrays = by_path(params)
    elif given.is_folder(source):
        arrays = by_path(member(states_of_run(Path(source)).params, 0))
    else:
        arrays = given.read(source)
    found = given.fitting(arrays, shapes_of_params(config), source)
    return init_states(config, optimizer, found.taken), found


def template(
    config: TrainConfig, shapes: Callable[[], Mapping[str, Any]]
) -> TrainState:
    """The shapes of the states in a checkpoint of a run.

    Args:
      config: of the run.
      shapes: of what the checkpoint holds.
    """
    if not config.has_own_optimizer():
        return jax.eval_shape(lambda: init_states(config))
    like = jax.eval_shape(lambda: init_states(config, optax.identity()))
    return like.replace(opt_state=shapes().get("opt_state") or [])


def as_saved(config: TrainConfig, states: TrainState) -> TrainState:
    """The states as a checkpoint holds them."""
    if not config.has_own_optimizer():
        return states
    return states.replace(opt_state=jax.tree.leaves(states.opt_state))


def as_used(
    config: TrainConfig, states: TrainState, optimizer: Optimizer | None, path: Path
) -> TrainState:
    """The states from a checkpoint as its optimizer needs them.

    Raises:
      ValueError: if they are those of another optimizer.
    """
    if not config.has_own_optimizer() or optimizer is None:
        return states
    wanted = jax.eval_shape(lambda: init_states(config, optimizer)).opt_state
    return states.replace(opt_state=unpacked(states.opt_state, wanted, path))
