"""How a run begins: what is checked before, and the states that it begins with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optax

from ntm_jax.tensors import by_path

from ..training.footprint import check_memory
from ..training.learned import check_learn
from ..training.optimizer import make_optimizer
from ..training.population import member
from ..training.state import TrainState, init_states
from . import given
from .config import TrainConfig
from .given import Given
from .model_check import check_model
from .pretrained import shapes_of_params
from .task_check import check_task

PyTree = Any


def check_can_begin(
    config: TrainConfig, optimizer: optax.GradientTransformation | None = None
) -> None:
    """Raises a `TypeError` or `ValueError` for a config that cannot be trained.

    Args:
      config: of the run.
      optimizer: that of a run with one of its own.
    """
    check_task(config)
    check_model(config)
    make_optimizer(config, optimizer)  # checks that there is one
    check_memory(config, optimizer)
    if config.learn is not None:
        check_learn(config, shapes_of_params(config))


def begin(
    config: TrainConfig,
    optimizer: optax.GradientTransformation | None,
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
