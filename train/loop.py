"""Learning: many updates in one compiled call, data made on the device."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array, lax

import ntm_jax
import tasks
from train.config import TrainConfig
from train.curriculum import curriculum
from train.optimizer import make_optimizer

PyTree = Any
NOT_SOLVED = -1


class TrainState(struct.PyTreeNode):
    """All that a run carries from update to update; what a checkpoint keeps.

    Attributes:
      step: int `[]`, updates made.
      solved_at: int `[]`, the update from which on every validation was without a wrong
        bit; `NOT_SOLVED` where the last one was not.
      params: of the machine.
      opt_state: of the optimizer.
    """

    step: Array
    solved_at: Array
    params: PyTree
    opt_state: optax.OptState


class Metrics(struct.PyTreeNode):
    """Of one update, each a mean over its batch; stacked for the updates of a call.

    Attributes:
      loss_bits: cost of an answer, bits per sequence.
      wrong_bits: wrong bits per sequence.
      gradient_norm: before clipping.
      parameter_norm: after the update.
    """

    loss_bits: Array
    wrong_bits: Array
    gradient_norm: Array
    parameter_norm: Array


@functools.partial(jax.jit, static_argnames="config")
def init_state(config: TrainConfig) -> TrainState:
    """The state before the first update; depends on nothing but the config."""
    params = ntm_jax.init(
        purpose_key(config.seed, "params"),
        config.make_machine(),
        config.make_task().input_size,
    )
    return TrainState(
        step=jnp.int32(0),
        solved_at=jnp.int32(NOT_SOLVED),
        params=params,
        opt_state=make_optimizer(config).init(params),
    )


@functools.partial(
    jax.jit, static_argnames=("config", "num_steps"), donate_argnames="state"
)
def train(
    state: TrainState, *, config: TrainConfig, num_steps: int
) -> tuple[TrainState, Metrics]:
    """`num_steps` updates; the metrics are `[num_steps]` each.

    The sequences of an update depend on the seed and its number alone, so that a run
    that was broken off and goes on sees what it would have seen.
    """
    task, machine = config.make_task(), config.make_machine()
    optimizer = make_optimizer(config)
    data_key = purpose_key(config.seed, "data")

    def loss(params: PyTree, batch: tasks.Batch) -> tuple[Array, Array]:
        _, logits = ntm_jax.unroll(params, batch.inputs, config=machine)
        return jnp.mean(tasks.loss_bits(logits, batch)), logits

    def update(state: TrainState, _: None) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(data_key, state.step)
        difficulty = curriculum(config, state.step)
        batch = task.sample(key, config.batch_size, **difficulty)
        (loss_bits, logits), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.params, batch
        )
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        rate = polish_rate(config, state)
        updates = jax.tree.map(lambda leaf: rate * leaf, updates)
        new_state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
        )
        wrong_bits = tasks.wrong_bits(logits, batch).astype(jnp.float32)
        return new_state, Metrics(
            loss_bits=loss_bits,
            wrong_bits=jnp.mean(wrong_bits),
            gradient_norm=optax.tree.norm(gradient),
            parameter_norm=optax.tree.norm(new_state.params),
        )

    return lax.scan(update, state, length=num_steps)


def polish_rate(config: TrainConfig, state: TrainState) -> Array:
    """Factor of the learning rate: 1, and from `solved_at` on falling to 0."""
    left = state.solved_at + config.polish_steps - state.step
    rate = jnp.clip(left.astype(jnp.float32) / config.polish_steps, 0, 1)
    return jnp.where(state.solved_at == NOT_SOLVED, 1, rate)


def purpose_key(seed: int, purpose: str) -> Array:
    """The key for a purpose: independent streams from one seed."""
    purposes = ("params", "data", "validation", "evaluation")
    return jax.random.fold_in(jax.random.key(seed), purposes.index(purpose))
