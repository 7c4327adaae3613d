"""Training: many updates in one compiled call, with data made on the device."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array, lax
from jax.sharding import Mesh

import tasks
from train.runs.config import TrainConfig
from train.training.batches import batch_of, draw_sequences, part_of
from train.training.devices import mean_of_parts, own_part, spread
from train.training.health import Health
from train.training.keys import purpose_key
from train.training.learning_rate import learning_rate_factor
from train.training.noise import noisy_batch, noisy_model
from train.training.optimizer import (
    clipped_fraction,
    make_optimizer,
    none_if_overflowed,
)
from train.training.population import for_each_seed
from train.training.solved import is_learning
from train.training.state import TrainState, mesh_of, seed_array

PyTree = Any


class Metrics(struct.PyTreeNode):
    """Metrics of one update, averaged over the batch; a call returns them stacked.

    Attributes:
      loss_bits: cost of an answer, bits per sequence.
      wrong_bits: wrong bits per sequence.
      gradient_norm: before clipping; 0 if the gradient overflowed.
      overflowed: whether the gradient overflowed, and was replaced by zeros.
      clipped_fraction: fraction of the gradient's components that clipping changed.
      parameter_norm: after the update.
    """

    loss_bits: Array
    wrong_bits: Array
    gradient_norm: Array
    overflowed: Array
    clipped_fraction: Array
    parameter_norm: Array

    @classmethod
    def zeros(cls, num_steps: int) -> "Metrics":
        """Those of so many updates, before the first."""
        nothing = jnp.zeros(num_steps, jnp.float32)
        return cls(**dict.fromkeys(cls.__annotations__, nothing))


def train(
    states: TrainState, *, config: TrainConfig, num_steps: int
) -> tuple[TrainState, Metrics, Health]:
    """Makes `num_steps` updates of every seed that still learns, on all local devices.

    Args:
      states: `[S, ...]`; their buffers are donated to the new states.
      config: of the run.
      num_steps: static.

    Returns:
      The new states `[S, ...]`, the metrics of every update, each `[S, num_steps]`, and
      the health of the machines after the last update, each `[S]`.
    """
    mesh = mesh_of(config)
    # Nothing moves if they are on these devices already.
    states, seeds = spread((states, seed_array(config)), mesh)
    return _train(
        states, seeds, config=config.for_any_seed(), num_steps=num_steps, mesh=mesh
    )


@functools.partial(
    jax.jit, static_argnames=("config", "num_steps", "mesh"), donate_argnames="states"
)
def _train(
    states: TrainState,
    seeds: Array,
    *,
    config: TrainConfig,
    num_steps: int,
    mesh: Mesh,
) -> tuple[TrainState, Metrics, Health]:
    # The update of all seeds that still learn: those that have finished are behind it.
    start, together = jnp.max(states.step), config.sort_updates

    def train_one(state: TrainState, seed: Array):
        update = functools.partial(_update, config=config, seed=seed)

        def make_some(so_far):
            """Makes the updates whose sequences are drawn together."""
            made, state, metrics = so_far
            drawn = draw_sequences(config, seed, start + made)
            place = (start + made) % together
            number = jnp.minimum(together - place, num_steps - made)

            def make_one(i, so_far):
                state, metrics = so_far
                state, new = update(state, part_of(config, drawn, place + i))
                return state, jax.tree.map(
                    lambda all, one: lax.dynamic_update_index_in_dim(
                        all, one, made + i, axis=0
                    ),
                    metrics,
                    new,
                )

            return made + number, *lax.fori_loop(0, number, make_one, (state, metrics))

        metrics = Metrics.zeros(num_steps)
        _, state, metrics = lax.while_loop(
            lambda so_far: so_far[0] < num_steps,
            make_some,
            (jnp.int32(0), state, metrics),
        )
        batch = batch_of(config, seed, state.step)
        return state, metrics, config.make_model().watch(state.params, batch)

    return for_each_seed(train_one, mesh)(states, seeds)


def _update(
    state: TrainState, batch: tasks.Batch, *, config: TrainConfig, seed: Array
) -> tuple[TrainState, Metrics]:
    """One update of one seed, or none if it has finished or would not stay finite.

    Each device of the seed computes on its own part of the batch.
    """
    noise_key = jax.random.fold_in(purpose_key(seed, "noise"), state.step)
    batch = own_part(noisy_batch(batch, config, noise_key), axis=1)

    (loss, logits), gradient = jax.value_and_grad(_loss, has_aux=True)(
        state.params, batch, config
    )
    wrong = jnp.mean(tasks.wrong_bits(logits, batch).astype(jnp.float32))
    loss, wrong, gradient = mean_of_parts((loss, wrong, gradient))
    gradient, norm, overflowed = none_if_overflowed(gradient)
    updates, opt_state = make_optimizer(config).update(
        gradient, state.opt_state, state.params
    )
    rate = learning_rate_factor(config, state)
    params = optax.apply_updates(state.params, optax.tree.scale(rate, updates))
    metrics = Metrics(
        loss_bits=loss,
        wrong_bits=wrong,
        gradient_norm=norm,
        overflowed=overflowed.astype(jnp.float32),
        clipped_fraction=clipped_fraction(config, gradient).astype(jnp.float32),
        parameter_norm=optax.tree.norm(params),
    )
    finite = jnp.all(jnp.isfinite(jnp.stack(jax.tree.leaves(metrics))))
    learning = is_learning(config, state)
    made = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
    diverged = jnp.where(learning & ~finite, state.step + 1, state.diverged_at)
    state = jax.tree.map(
        lambda new, old: jnp.where(learning & finite, new, old), made, state
    )
    return state.replace(diverged_at=diverged), metrics


def _loss(
    params: PyTree, batch: tasks.Batch, config: TrainConfig
) -> tuple[Array, Array]:
    """The mean cost of an answer in bits, and the logits `[T, B, O]`."""
    # A mask costs a pass over the memory at every step, and pays if it saves steps.
    steps = batch.steps if config.sort_updates > 1 else None
    logits = noisy_model(config).logits(params, batch.inputs, mask=steps)
    return jnp.mean(tasks.loss_bits(logits, batch)), logits
