"""How a gradient becomes an update: clip, scale, clip again; all of Optax."""

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

    `update_clip` bounds the root mean square of each array's scaled gradient, as in
    section 6 of Shazeer and Stern 2018, *Adafactor* (arXiv:1804.04235). After many
    small gradients a rare, large one is scaled up by 1 / sqrt(1 - decay), and momentum
    makes of it a jump in which a machine that had learned can lose all.
    """
    clips = {
        "value": lambda: optax.clip(config.clip_at),
        "norm": lambda: optax.clip_by_global_norm(config.clip_at),
        "none": optax.identity,
    }
    decay, eps = config.decay, config.epsilon
    scales = {
        "rmsprop": lambda: optax.scale_by_rms(decay, eps),
        "graves_rmsprop": lambda: optax.scale_by_stddev(decay, eps),
        "adam": lambda: optax.scale_by_adam(b1=config.momentum, b2=decay),
    }
    return optax.chain(
        clips[config.clip](),
        scales[config.optimizer](),
        optax.identity()
        if config.update_clip is None
        else optax.clip_by_block_rms(config.update_clip),
        optax.identity()
        if config.optimizer == "adam"  # has its own
        else optax.trace(config.momentum),
        optax.scale_by_learning_rate(config.learning_rate),
    )


def clipped_fraction(config: TrainConfig, gradient: PyTree) -> Array:
    """Of the gradient's components, those that clipping changes."""
    if config.clip == "none":
        return jnp.float32(0)
    if config.clip == "norm":
        return (optax.tree.norm(gradient) > config.clip_at).astype(jnp.float32)
    leaves = jax.tree.leaves(gradient)
    beyond = jnp.stack([jnp.sum(jnp.abs(leaf) > config.clip_at) for leaf in leaves])
    return jnp.sum(beyond).astype(jnp.float32) / sum(leaf.size for leaf in leaves)
