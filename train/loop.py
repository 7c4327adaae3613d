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


class TrainState(struct.PyTreeNode):
    """All that a run carries from update to update; what a checkpoint keeps.

    Attributes:
      step: int `[]`, updates made.
      solved: int `[]`, validations in a row without a wrong bit.
      params: of the machine.
      opt_state: of the optimizer.
    """

    step: Array
    solved: Array
    params: PyTree
    opt_state: optax.OptState


class Metrics(struct.PyTreeNode):
    """Of one update, each a mean over its batch; stacked for the updates of a call.

    Attributes:
      loss_bits: cost of an answer, bits per sequence.
      wrong_bits: wrong bits per sequence.
      gradient_norm: before clipping.
    """

    loss_bits: Array
    wrong_bits: Array
    gradient_norm: Array


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
        solved=jnp.int32(0),
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
        )

    return lax.scan(update, state, length=num_steps)


def purpose_key(seed: int, purpose: str) -> Array:
    """The key for a purpose: independent streams from one seed."""
    purposes = ("params", "data", "validation", "evaluation")
    return jax.random.fold_in(jax.random.key(seed), purposes.index(purpose))
