"""Learning: many updates in one compiled call, data made on the device."""

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
from train.training.curriculum import curriculum
from train.training.devices import mean_of_parts, mesh_for, own_part, spread
from train.training.health import Health
from train.training.noise import noisy_batch, noisy_model
from train.training.optimizer import (
    clipped_fraction,
    make_optimizer,
    none_if_overflowed,
)
from train.training.population import for_each_seed

PyTree = Any
NEVER = -1


class TrainState(struct.PyTreeNode):
    """All that a run carries from update to update; what a checkpoint keeps.

    As `init_states` gives it, every leaf has the seeds `[S]` as its first axis; the
    functions of one seed see it without.

    Attributes:
      step: int `[]`, updates made.
      solved_at: int `[]`, the update from which on every validation was within the
        task's tolerance; `NEVER` where the last one was not.
      diverged_at: int `[]`, the update that would have made something other than a
        finite number, and so was not made, nor any after it; `NEVER` where none.
      params: of the machine.
      opt_state: of the optimizer.
    """

    step: Array
    solved_at: Array
    diverged_at: Array
    params: PyTree
    opt_state: optax.OptState


class Metrics(struct.PyTreeNode):
    """Of one update, each a mean over its batch; stacked for the updates of a call.

    Attributes:
      loss_bits: cost of an answer, bits per sequence.
      wrong_bits: wrong bits per sequence.
      gradient_norm: before clipping; 0 where it overflowed.
      overflowed: whether the gradient was beyond all numbers, and so counted as none.
      clipped_fraction: of the gradient's components, those that clipping changed.
      parameter_norm: after the update.
    """

    loss_bits: Array
    wrong_bits: Array
    gradient_norm: Array
    overflowed: Array
    clipped_fraction: Array
    parameter_norm: Array


def init_states(config: TrainConfig) -> TrainState:
    """The states of all seeds before the first update, `[S, ...]` each.

    They depend on nothing but the config, and a seed's on that seed alone.
    """
    states = _init_states(_seeds(config), config=config.for_any_seed())
    return spread(states, mesh_of(config))


@functools.partial(jax.jit, static_argnames="config")
def _init_states(seeds: Array, *, config: TrainConfig) -> TrainState:
    def init_state(seed: Array) -> TrainState:
        key = purpose_key(seed, "params")
        params = config.make_model().init(key, config.make_task().input_size)
        return TrainState(
            step=jnp.int32(0),
            solved_at=jnp.int32(NEVER),
            diverged_at=jnp.int32(NEVER),
            params=params,
            opt_state=make_optimizer(config).init(params),
        )

    # One after the other: a seed's numbers must not depend on how many there are.
    return lax.map(init_state, seeds)


def train(
    states: TrainState, *, config: TrainConfig, num_steps: int
) -> tuple[TrainState, Metrics, Health]:
    """`num_steps` updates of every seed that still learns, over every local device.

    Args:
      states: `[S, ...]`; their buffers become those of the new states.
      config: of the run.
      num_steps: static.

    Returns:
      The new states `[S, ...]`, the metrics of every update `[S, num_steps]` each, and
      the machines' health after the last one, `[S]` each.
    """
    mesh = mesh_of(config)
    # Where they are there already, nothing moves.
    states, seeds = spread((states, _seeds(config)), mesh)
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
    # That of all seeds that learn: the others are behind, and learn no more.
    start, together = jnp.max(states.step), config.sort_updates

    def train_one(state: TrainState, seed: Array):
        update = functools.partial(_update, config=config, seed=seed)

        def make_some(so_far):
            """The updates whose sequences are drawn together."""
            made, state, metrics = so_far
            drawn = _draw(config, seed, start + made)
            place = (start + made) % together
            number = jnp.minimum(together - place, num_steps - made)

            def make_one(i, so_far):
                state, metrics = so_far
                state, new = update(state, _part(config, drawn, place + i))
                return state, jax.tree.map(
                    lambda all, one: lax.dynamic_update_index_in_dim(
                        all, one, made + i, axis=0
                    ),
                    metrics,
                    new,
                )

            return made + number, *lax.fori_loop(0, number, make_one, (state, metrics))

        _, shapes = jax.eval_shape(
            lambda: update(state, _batch(config, seed, state.step))
        )
        metrics = jax.tree.map(lambda one: jnp.zeros(num_steps, one.dtype), shapes)
        _, state, metrics = lax.while_loop(
            lambda so_far: so_far[0] < num_steps,
            make_some,
            (jnp.int32(0), state, metrics),
        )
        batch = _batch(config, seed, state.step)
        return state, metrics, config.make_model().watch(state.params, batch)

    return for_each_seed(train_one, mesh)(states, seeds)


def _update(
    state: TrainState, batch: tasks.Batch, *, config: TrainConfig, seed: Array
) -> tuple[TrainState, Metrics]:
    """One update of one seed; none if it is finished, or would not stay finite.

    Each device of the seed learns from its own part of the batch.
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
        clipped_fraction=clipped_fraction(config, gradient),
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
    """The mean cost of an answer, in bits, and the logits `[T, B, O]`."""
    # A mask costs a pass over the memory at every step: worth it where it saves steps.
    steps = batch.steps if config.sort_updates > 1 else None
    logits = noisy_model(config).logits(params, batch.inputs, mask=steps)
    return jnp.mean(tasks.loss_bits(logits, batch)), logits


def is_learning(config: TrainConfig, state: TrainState) -> Array:
    """Whether there are updates left to make; of one seed, or `[S]` of all."""
    return (state.step < last_step(config, state)) & (state.diverged_at == NEVER)


def last_step(config: TrainConfig, state: TrainState) -> Array:
    """The update to end with: earlier than `steps` once the task is solved."""
    polished = jnp.minimum(state.solved_at + config.polish_steps, config.steps)
    return jnp.where(state.solved_at == NEVER, config.steps, polished)


def learning_rate_factor(config: TrainConfig, state: TrainState) -> Array:
    """Factor of the learning rate: 1, and falling to 0 before the last update.

    It falls from `solved_at` on, at the latest in the `falling` part of all updates.
    """

    def rate(last: int | Array, updates: float) -> Array:
        left = jnp.asarray(last - state.step, jnp.float32)
        return jnp.clip(left / max(updates, 1), 0, 1)

    at_the_latest = rate(config.steps, config.falling * config.steps)
    polishing = rate(state.solved_at + config.polish_steps, config.polish_steps)
    return jnp.where(
        state.solved_at == NEVER,
        at_the_latest,
        jnp.minimum(polishing, at_the_latest),
    )


def judge(
    states: TrainState, errors: Array, due: Array, tolerance: float
) -> TrainState:
    """Solved by the first validation within the tolerance, until one is beyond it.

    So a seed is polished only where every validation on the way was within.

    Args:
      states: `[S, ...]`.
      errors: `[S]`, the task's, in the validation after the last update.
      due: bool `[S]`, the seeds that are judged; the others stay as they are.
      tolerance: the task's.
    """
    first = jnp.where(states.solved_at == NEVER, states.step, states.solved_at)
    solved_at = jnp.where(errors <= tolerance, first, NEVER)
    return states.replace(solved_at=jnp.where(due, solved_at, states.solved_at))


def mesh_of(config: TrainConfig) -> Mesh:
    """The devices that a run's seeds and batches are spread over."""
    return mesh_for(config.num_seeds, config.batch_size)


def _seeds(config: TrainConfig) -> Array:
    return jnp.asarray(config.seeds(), jnp.uint32)


def _batch(config: TrainConfig, seed: Array, step: Array) -> tasks.Batch:
    """The sequences of an update.

    They depend on the seed and the update's number alone, so that a run that was broken
    off and goes on sees what it would have seen.
    """
    return _part(config, _draw(config, seed, step), step % config.sort_updates)


def _draw(config: TrainConfig, seed: Array, step: Array) -> tuple[tasks.Batch, Array]:
    """The sequences of `sort_updates` updates, and which of them each update has.

    They are drawn together, as hard as the first of these asks, and sorted by their
    lengths; each update has one part of them, in random order.
    """
    size, together = config.batch_size, config.sort_updates
    first = step - step % together
    key = jax.random.fold_in(purpose_key(seed, "data"), first)
    difficulty = curriculum(config, first)
    batch = config.make_task().sample(key, size * together, **difficulty)
    order_key = jax.random.fold_in(purpose_key(seed, "order"), first)
    order = jax.random.permutation(order_key, together)
    by_length = jnp.argsort(jnp.sum(batch.steps, axis=0))
    return batch, by_length.reshape(together, size)[order]


def _part(
    config: TrainConfig, drawn: tuple[tasks.Batch, Array], place: Array
) -> tasks.Batch:
    """The sequences of one of the updates that these were drawn for."""
    batch, parts = drawn
    if config.sort_updates == 1:
        return batch
    return jax.tree.map(lambda leaf: jnp.take(leaf, parts[place], axis=1), batch)


def purpose_key(seed: int | Array, purpose: str) -> Array:
    """The key for a purpose: independent streams from one seed."""
    purposes = ("params", "data", "validation", "evaluation", "order", "noise")
    return jax.random.fold_in(jax.random.key(seed), purposes.index(purpose))
