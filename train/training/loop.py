"""Training: many updates in one compiled call, with data made on the device."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array, lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh

from ntm_jax import Access, tasks

from ..runs.config import TrainConfig
from .batches import batch_of, draw_sequences, part_of
from .devices import mean_of_parts, own_part, spread, spread_batches
from .health import Health
from .keys import purpose_key
from .learned import learned_of, together
from .learning_rate import learning_rate_factor
from .noise import noisy_batch, noisy_model
from .optimizer import (
    clipped_fraction,
    make_optimizer,
    none_if_overflowed,
)
from .population import for_each_seed
from .solved import is_learning
from .state import TrainState, began_at, mesh_of, seed_array

PyTree = Any


class Metrics(struct.PyTreeNode):
    """Metrics of one update, averaged over the batch; a call returns them stacked.

    Attributes:
      loss: of an answer, per sequence, as the task's `targets` say.
      wrong: wrong answers per sequence: of bits, wrong bits.
      gradient_norm: before clipping; 0 if the gradient overflowed.
      overflowed: whether the gradient overflowed, and was replaced by zeros.
      clipped_fraction: fraction of the gradient's components that clipping changed.
      parameter_norm: after the update.
    """

    loss: Array
    wrong: Array
    gradient_norm: Array
    overflowed: Array
    clipped_fraction: Array
    parameter_norm: Array

    @classmethod
    def zeros(cls, num_steps: int) -> "Metrics":
        """Those of so many updates, before the first."""
        nothing = jnp.zeros(num_steps, jnp.float32)
        return cls(**dict.fromkeys(cls.__annotations__, nothing))

    def named(self, targets: tasks.Targets) -> dict[str, Array]:
        """The metrics by their names in files, which say what the loss is."""
        names = {"loss": targets.loss_name, "wrong": targets.wrong_name}
        return {names.get(name, name): value for name, value in vars(self).items()}


def train(
    states: TrainState,
    *,
    config: TrainConfig,
    num_steps: int,
    data: tasks.Batch | None = None,
    optimizer: optax.GradientTransformation | None = None,
    watched: bool = True,
) -> tuple[TrainState, Metrics, Health]:
    """Makes `num_steps` updates of every seed that still learns, on all devices.

    Args:
      states: `[S, ...]`; their buffers are donated to the new states.
      config: of the run.
      num_steps: static.
      data: the batches of a task with data, `[S, num_steps, T, B, ...]`; None for a
        task that makes them on the device.
      optimizer: static; in place of the config's. That of `init_states`.
      watched: static; whether to look at the health.

    Returns:
      The new states `[S, ...]`, the metrics of every update, each `[S, num_steps]`, and
      the health of the machines after the last update, each `[S]`; {} if not watched.
    """
    mesh = mesh_of(config)
    # Nothing moves if they are on these devices already.
    states, seeds = spread((states, seed_array(config)), mesh)
    return _train(
        states,
        seeds,
        None if data is None else spread_batches(data, mesh),
        config=config.for_any_seed(),
        num_steps=num_steps,
        mesh=mesh,
        optimizer=optimizer,
        watched=watched,
    )


def updates_of_call(config: TrainConfig, step: int) -> int:
    """How many updates the next call makes, after so many.

    A run with more steps than before may continue from amid a call.
    """
    left_of_call = config.steps_per_call - step % config.steps_per_call
    return min(left_of_call, config.steps - step)


def is_watched(config: TrainConfig, step: int) -> bool:
    """Whether a look inside the machine follows the next call, after so many updates.

    >>> config = TrainConfig(steps_per_call=5, watch_every=10, steps=20)
    >>> [is_watched(config, step) for step in (0, 5, 10, 15)]
    [False, True, False, True]
    """
    after = step + updates_of_call(config, step)
    return after // config.watch_every > step // config.watch_every


@functools.partial(
    jax.jit,
    static_argnames=("config", "num_steps", "mesh", "optimizer", "watched"),
    donate_argnames="states",
)
def _train(
    states: TrainState,
    seeds: Array,
    data: tasks.Batch | None = None,
    *,
    config: TrainConfig,
    num_steps: int,
    mesh: Mesh,
    optimizer: optax.GradientTransformation | None = None,
    watched: bool = True,
) -> tuple[TrainState, Metrics, Health]:
    # The update of all seeds that still learn: those that have finished are behind it.
    start = jnp.max(states.step)

    def train_one(state: TrainState, seed: Array, data: tasks.Batch | None = None):
        update = functools.partial(
            _update, config=config, optimizer=optimizer, seed=seed
        )

        def batch_at(i, drawn, place) -> tasks.Batch:
            """The batch of an update of this call."""
            if data is not None:
                return jax.tree.map(lambda leaf: leaf[i], data)
            return part_of(config, drawn, place)

        def make_some(so_far):
            """Makes the updates whose sequences are drawn together."""
            made, state, metrics = so_far
            drawn = (
                None
                if data is not None
                else draw_sequences(config, seed, start + made, began_at(state))
            )
            place = (start + made) % config.sort_updates
            number = jnp.minimum(config.sort_updates - place, num_steps - made)

            def make_one(i, so_far):
                state, metrics = so_far
                state, new = update(state, batch_at(made + i, drawn, place + i))
                return state, jax.tree.map(
                    lambda all, one: lax.dynamic_update_index_in_dim(
                        all, one, made + i, axis=0
                    ),
                    metrics,
                    new,
                )

            return made + number, *lax.fori_loop(0, number, make_one, (state, metrics))

        metrics = Metrics.zeros(num_steps)

        def is_left(so_far):
            made, state, _ = so_far
            return (made < num_steps) & is_learning(config, state)

        _, state, metrics = lax.while_loop(
            is_left,
            make_some,
            (jnp.int32(0), state, metrics),
        )
        if not watched:
            return state, metrics, {}
        batch = (
            batch_of(config, seed, state.step, began_at(state))
            if data is None
            else batch_at(num_steps - 1, None, 0)
        )
        return state, metrics, config.make_model().watch(state.params, batch)

    own = () if data is None else (data,)
    return for_each_seed(train_one, mesh)(states, seeds, *own)


def update(
    state: TrainState,
    batch: tasks.Batch,
    *,
    config: TrainConfig,
    optimizer: optax.GradientTransformation | None = None,
    seed: Array | int = 0,
) -> tuple[TrainState, Metrics]:
    """One update of one machine, or none if it has finished or would not stay finite.

    `train.updates` makes many, of many machines, in one call.

    Args:
      state: of one seed, such as `member(init_states(config), 0)`.
      batch: any that fits the config's task.
      config: of the run; static under `jit`.
      optimizer: static; in place of the config's. That of `init_states`.
      seed: of the noise in the controller, if the config has some.

    Returns:
      The new state, and the metrics of this update.
    """
    batch = _noisy(batch, config, seed, state)
    made = _gradient(state.params, batch, config)
    return _applied(state, *made, config=config, optimizer=optimizer)


def _update(
    state: TrainState,
    batch: tasks.Batch,
    *,
    config: TrainConfig,
    optimizer: optax.GradientTransformation | None,
    seed: Array,
) -> tuple[TrainState, Metrics]:
    """As `update`; each device of the seed computes on its own part of the batch."""
    batch = own_part(_noisy(batch, config, seed, state), axis=1)
    means = mean_of_parts(_gradient(state.params, batch, config))
    return _applied(state, *means, config=config, optimizer=optimizer)


def _noisy(
    batch: tasks.Batch, config: TrainConfig, seed: Array | int, state: TrainState
) -> tasks.Batch:
    key = jax.random.fold_in(purpose_key(seed, "noise"), state.step)
    return noisy_batch(batch, config, key)


def _gradient(
    params: PyTree, batch: tasks.Batch, config: TrainConfig
) -> tuple[Array, Array, PyTree]:
    """The mean loss, the mean of wrong answers, and the gradient of what learns."""

    def loss_of(learned: PyTree) -> tuple[Array, Array]:
        return _loss(together(learned, params), batch, config)

    learned = learned_of(config, params)
    (loss, logits), gradient = jax.value_and_grad(loss_of, has_aux=True)(learned)
    targets = config.make_task().targets
    wrong = targets.wrong(logits, batch.targets, batch.mask)
    return loss, jnp.mean(wrong.astype(jnp.float32)), gradient


def _applied(
    state: TrainState,
    loss: Array,
    wrong: Array,
    gradient: PyTree,
    *,
    config: TrainConfig,
    optimizer: optax.GradientTransformation | None,
) -> tuple[TrainState, Metrics]:
    """The state after the update with that gradient, and its metrics."""
    gradient, norm, overflowed = none_if_overflowed(gradient)
    learned = learned_of(config, state.params)
    steps, opt_state = make_optimizer(config, optimizer).update(
        gradient, state.opt_state, learned
    )
    rate = learning_rate_factor(config, state)
    learned = optax.apply_updates(learned, optax.tree.scale(rate, steps))
    params = together(learned, state.params)
    metrics = Metrics(
        loss=loss,
        wrong=wrong,
        gradient_norm=norm,
        overflowed=overflowed.astype(jnp.float32),
        clipped_fraction=clipped_fraction(config, gradient).astype(jnp.float32),
        parameter_norm=jnp.linalg.norm(ravel_pytree(params)[0]),
    )
    finite = jnp.all(jnp.isfinite(jnp.stack(jax.tree.leaves(metrics))))
    learning = is_learning(config, state)
    made = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
    diverged = jnp.where(learning & ~finite, state.step + 1, state.diverged_at)
    state = jax.tree.map(
        lambda new, old: jnp.where(learning & finite, new, old), made, state
    )
    return state.replace(diverged_at=diverged), metrics


def loss(params: PyTree, batch: tasks.Batch, config: TrainConfig) -> Array:
    """The mean loss of a machine's answers, which training makes small.

    Args:
      params: of one machine.
      batch: of the config's task.
      config: of the run; static under `jit`.
    """
    logits = config.make_model().logits(params, batch.inputs)
    return jnp.mean(config.make_task().targets.loss(logits, batch.targets, batch.mask))


def _loss(
    params: PyTree, batch: tasks.Batch, config: TrainConfig
) -> tuple[Array, Array]:
    """The mean loss of an answer, and the logits `[T, B, O]`."""
    # With all slots, a mask costs a pass over the memory at every step, and pays if it
    # saves steps.
    masked = config.sort_updates > 1 or Access.parse(config.access) is not None
    steps = batch.steps if masked else None
    logits = noisy_model(config).logits(params, batch.inputs, mask=steps)
    loss = config.make_task().targets.loss(logits, batch.targets, batch.mask)
    return jnp.mean(loss), logits
