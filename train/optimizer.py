"""How a gradient becomes an update: clipping, then RMSProp or Adam, all of Optax."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from train.config import TrainConfig

PyTree = Any


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """The optimizer that the config asks for.

    * `rmsprop`: g / sqrt(mean g^2 + ε), then momentum.
    * `graves_rmsprop`: g / sqrt(mean g^2 - (mean g)^2 + ε), then momentum: Graves 2013,
      *Generating Sequences with Recurrent Neural Networks* (arXiv:1308.0850, eqs.
      38-45), which the paper used, with ε = 1e-4.
    * `adam`, with `momentum` and `decay` as its two decay rates.

    An ε of the size of a squared gradient once the task is all but solved lets updates
    shrink with the gradient from then on, instead of following its noise.
    """
    clips = {
        "value": lambda: optax.clip(config.clip_at),
        "norm": lambda: optax.clip_by_global_norm(config.clip_at),
        "none": optax.identity,
    }
    if config.optimizer == "adam":
        rate = optax.adam(config.learning_rate, b1=config.momentum, b2=config.decay)
    else:
        rate = optax.rmsprop(
            config.learning_rate,
            config.decay,
            eps=config.epsilon,
            centered=config.optimizer == "graves_rmsprop",
            momentum=config.momentum,
        )
    return optax.chain(clips[config.clip](), rate)


def clipped_fraction(config: TrainConfig, gradient: PyTree) -> Array:
    """Of the gradient's components, those that clipping changes."""
    if config.clip == "none":
        return jnp.float32(0)
    if config.clip == "norm":
        return (optax.tree.norm(gradient) > config.clip_at).astype(jnp.float32)
    leaves = jax.tree.leaves(gradient)
    beyond = jnp.stack([jnp.sum(jnp.abs(leaf) > config.clip_at) for leaf in leaves])
    return jnp.sum(beyond).astype(jnp.float32) / sum(leaf.size for leaf in leaves)
