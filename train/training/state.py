"""The state of training: what a run carries from update to update."""

import functools
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import Array, lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ..runs.config import TrainConfig
from .devices import SEEDS, mesh_for, on_host, placed, spread
from .keys import params_key
from .learned import learned_of, with_given
from .optimizer import make_optimizer

PyTree = Any
NEVER = -1


class TrainState(struct.PyTreeNode):
    """What a run carries from update to update, and what a checkpoint holds.

    `init_states` returns it with the seeds `[S]` as the first axis of every leaf; the
    functions of one seed take it without that axis.

    Attributes:
      step: int `[]`, updates made.
      solved_at: int `[]`, the update since which every validation has been within the
        task's tolerance; `NEVER` if the last one was not.
      diverged_at: int `[]`, the update that would have made a number that is not
        finite; that update and all later ones are skipped. `NEVER` if there was none.
      params: of the machine.
      opt_state: of the optimizer, for the parameters that learn.
    """

    step: Array
    solved_at: Array
    diverged_at: Array
    params: PyTree
    opt_state: optax.OptState


class RestartingState(TrainState):
    """The state of a run with the rule of `restarts`, which needs more to be judged.

    Attributes:
      restarts: int `[]`, how often the seed has restarted.
      began_at: int `[]`, the update after which it last restarted; 0 before.
      highest_error: float `[]`, that in any validation of the seed; 0 before the first.
      best_error: float `[]`, the error in the last validation that was better than all
        since then, see `restarts.with_validation`; infinite before the first.
      best_at: int `[]`, the update of that validation; `began_at` before it.
    """

    restarts: Array
    began_at: Array
    highest_error: Array
    best_error: Array
    best_at: Array


StateT = TypeVar("StateT", bound=TrainState)


def init_states(
    config: TrainConfig,
    optimizer: optax.GradientTransformation | None = None,
    given: Mapping[str, Array] | None = None,
    restarts: np.ndarray | None = None,
) -> TrainState:
    """The states of all seeds before the first update, `[S, ...]` each.

    A seed's state depends on the arguments and on that seed alone.

    Args:
      config: of the run.
      optimizer: in place of the config's.
      given: parameters by their paths, which every seed has in place of initial ones.
      restarts: int `[S]`, how often each seed has restarted; None is never.

    Returns:
      Those of a `RestartingState` if the config's seeds can restart.
    """
    mesh = mesh_of(config)
    if restarts is None:
        restarts = np.zeros(config.num_seeds, np.int32)
    return _init_states(
        *spread((seed_array(config), restarts), mesh),
        placed(given, NamedSharding(mesh, P())),
        config=config.for_any_seed(),
        optimizer=optimizer,
        can_restart=config.can_restart(),
        mesh=mesh,
    )


@functools.partial(
    jax.jit, static_argnames=("config", "optimizer", "can_restart", "mesh")
)
def _init_states(
    seeds: Array,
    restarts: Array,
    given: Mapping[str, Array] | None,
    *,
    config: TrainConfig,
    optimizer: optax.GradientTransformation | None,
    can_restart: bool,
    mesh: Mesh,
) -> TrainState:
    def init_state(
        seed: Array, restarts: Array, given: Mapping[str, Array] | None
    ) -> TrainState:
        key = params_key(seed, restarts)
        params = config.make_model().init(key, config.make_task().input_size)
        if given is not None:
            params = with_given(params, given)
        learned = learned_of(config, params)
        state = TrainState(
            step=jnp.int32(0),
            solved_at=jnp.int32(NEVER),
            diverged_at=jnp.int32(NEVER),
            params=params,
            opt_state=make_optimizer(config, optimizer).init(learned),
        )
        if not can_restart:
            return state
        return RestartingState(
            **vars(state),
            restarts=restarts,
            began_at=jnp.int32(0),
            highest_error=jnp.float32(0),
            best_error=jnp.float32(jnp.inf),
            best_at=jnp.int32(0),
        )

    def init_some(
        seeds: Array, restarts: Array, given: Mapping[str, Array] | None
    ) -> TrainState:
        # One after the other: a seed's numbers must not depend on how many there are.
        of_all = seeds, restarts
        return lax.map(lambda own: init_state(own[0], own[1], given), of_all)

    return jax.shard_map(
        init_some,
        mesh=mesh,
        in_specs=(P(SEEDS), P(SEEDS), P()),
        out_specs=P(SEEDS),
        check_vma=False,
    )(seeds, restarts, given)


def began_at(state: TrainState) -> Array | int:
    """The update after which a seed last restarted; 0 if it has not."""
    return state.began_at if isinstance(state, RestartingState) else 0


def restarts_of(states: TrainState, index: int) -> dict[str, int]:
    """How often a seed has restarted, for a record; nothing if none can."""
    if not isinstance(states, RestartingState):
        return {}
    return {"restarts": int(states.restarts[index])}


def mesh_of(config: TrainConfig) -> Mesh:
    """The devices over which the seeds and batches of a run are spread."""
    return mesh_for(config.num_seeds, config.batch_size)


def seed_array(config: TrainConfig) -> np.ndarray:
    """The seeds of all machines, `[S]`."""
    return np.asarray(config.seeds(), np.uint32)


def without_arrays(states: StateT) -> StateT:
    """How far each seed is, `[S]` of NumPy each, in every process; no parameters."""
    return on_host(states.replace(params=None, opt_state=None))


def with_arrays(now: StateT, states: TrainState, mesh: Mesh) -> StateT:
    """The states with all but their parameters and optimizer as in `now`."""
    spread_now = spread(now.replace(params=None, opt_state=None), mesh)
    return spread_now.replace(params=states.params, opt_state=states.opt_state)
