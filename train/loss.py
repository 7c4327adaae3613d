"""What learning makes small: the cost of the answer, and of heads that look blurred."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

import ntm_jax
import tasks
from ntm_jax import NTMState
from train.config import TrainConfig

PyTree = Any


def loss(
    params: PyTree, batch: tasks.Batch, config: TrainConfig
) -> tuple[Array, tuple[Array, Array]]:
    """Mean over the sequences of what their answers and their heads' foci cost.

    The answer alone says nothing of where a head looks while it waits for its turn.
    Many machines let that focus blur, which does no harm on the lengths they learn from
    and much on longer ones. So each bit of a focus's entropy costs `focus_penalty`.

    Returns:
      The loss, and of each sequence the cost of its answer, in bits `[B]`, and its
      logits `[T, B, O]`.
    """
    machine = config.make_machine()
    if config.focus_penalty == 0:
        _, logits = ntm_jax.unroll(params, batch.inputs, config=machine)
        blur = jnp.zeros(batch.inputs.shape[1])
    else:
        logits, entropies = _unroll_with_entropy(params, batch.inputs, machine)
        blur = jnp.sum(jnp.where(until_answered(batch.mask), entropies, 0), axis=0)
    cost = tasks.loss_bits(logits, batch)
    return jnp.mean(cost + config.focus_penalty * blur), (cost, logits)


def until_answered(mask: Array) -> Array:
    """The steps up to the last answer, from those with one: bool `[T, B]`."""
    return jnp.flip(jnp.cumsum(jnp.flip(mask, 0), 0), 0) > 0


def focus_entropy(state: NTMState) -> Array:
    """Entropy of the weightings, mean over all heads, in bits `[...]`."""
    weights = jnp.concatenate([state.read_weights, state.write_weights], axis=-2)
    return jnp.mean(entropy_bits(weights), axis=-1)


def entropy_bits(weights: Array) -> Array:
    """Entropy of weightings `[..., N]`, in bits `[...]`."""
    # 0 log 0 = 0: a weight of zero is multiplied by the logarithm of one.
    logs = jnp.log2(jnp.where(weights > 0, weights, 1))
    return -jnp.sum(weights * logs, axis=-1)


def _unroll_with_entropy(
    params: PyTree, xs: Array, machine: ntm_jax.NTMConfig
) -> tuple[Array, Array]:
    """Outputs `[T, B, O]` and the foci's entropy `[T, B]`."""
    step = functools.partial(ntm_jax.step, params, config=machine)

    def measured_step(state: NTMState, x: Array):
        state, y = step(state, x)
        return state, (y, focus_entropy(state))

    state = ntm_jax.initial_state(params, machine, batch_shape=xs.shape[1:-1])
    return lax.scan(jax.checkpoint(measured_step, prevent_cse=False), state, xs)[1]
