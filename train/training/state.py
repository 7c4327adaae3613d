"""The state of training: what a run carries from update to update."""

import functools
from collections.abc import Mapping
from typing import Any

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
from .keys import purpose_key
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


def init_states(
    config: TrainConfig,
    optimizer: optax.GradientTransformation | None = None,
    given: Mapping[str, Array] | None = None,
) -> TrainState:
    """The states of all seeds before the first update, `[S, ...]` each.

    A seed's state depends on the arguments and on that seed alone.

    Args:
      config: of the run.
      optimizer: in place of the config's.
      given: parameters by their paths, which every seed has in place of initial ones.
    """
    mesh = mesh_of(config)
    return _init_states(
        spread(seed_array(config), mesh),
        placed(given, NamedSharding(mesh, P())),
        config=config.for_any_seed(),
        optimizer=optimizer,
        mesh=mesh,
    )


@functools.partial(jax.jit, static_argnames=("config", "optimizer", "mesh"))
def _init_states(
    seeds: Array,
    given: Mapping[str, Array] | None,
    *,
    config: TrainConfig,
    optimizer: optax.GradientTransformation | None,
    mesh: Mesh,
) -> TrainState:
    def init_state(seed: Array, given: Mapping[str, Array] | None) -> TrainState:
        key = purpose_key(seed, "params")
        params = config.make_model().init(key, config.make_task().input_size)
        if given is not None:
            params = with_given(params, given)
        learned = learned_of(config, params)
        return TrainState(
            step=jnp.int32(0),
            solved_at=jnp.int32(NEVER),
            diverged_at=jnp.int32(NEVER),
            params=params,
            opt_state=make_optimizer(config, optimizer).init(learned),
        )

    def init_some(seeds: Array, given: Mapping[str, Array] | None) -> TrainState:
        # One after the other: a seed's numbers must not depend on how many there are.
        return lax.map(lambda seed: init_state(seed, given), seeds)

    return jax.shard_map(
        init_some,
        mesh=mesh,
        in_specs=(P(SEEDS), P()),
        out_specs=P(SEEDS),
        check_vma=False,
    )(seeds, given)


def mesh_of(config: TrainConfig) -> Mesh:
    """The devices over which the seeds and batches of a run are spread."""
    return mesh_for(config.num_seeds, config.batch_size)


def seed_array(config: TrainConfig) -> np.ndarray:
    """The seeds of all machines, `[S]`."""
    return np.asarray(config.seeds(), np.uint32)


def without_arrays(states: TrainState) -> TrainState:
    """How far each seed is, `[S]` of NumPy each, in every process; no parameters."""
    return on_host(states.replace(params=None, opt_state=None))
