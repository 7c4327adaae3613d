"""The optimizer: clip, scale, clip again, all with Optax."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from ..runs.config import TrainConfig

PyTree = Any


def make_optimizer(
    config: TrainConfig, own: optax.GradientTransformation | None = None
) -> optax.GradientTransformation:
    """The optimizer of the config, or `own`, which is used as it is.

    * `rmsprop`: g / sqrt(mean g^2 + ε), then momentum.
    * `graves_rmsprop`: g / sqrt(mean g^2 - (mean g)^2 + ε), then momentum: Graves 2013,
      *Generating Sequences with Recurrent Neural Networks* (arXiv:1308.0850, eqs.
      38-45), which the paper used, with ε = 1e-4.
    * `adam`, with `momentum` and `decay` as its two decay rates.

    With an ε of the size of a squared gradient near the optimum, updates shrink with
    the gradient there, instead of following its noise.

    `update_clip` bounds the root mean square of each array's scaled gradient, as in
    section 6 of Shazeer and Stern 2018, *Adafactor* (arXiv:1804.04235). After many
    small gradients a rare large one is scaled up by 1 / sqrt(1 - decay), and momentum
    makes it a jump that can undo what the machine has learned.

    Raises:
      ValueError: for the config of a run with an optimizer of its own, without that.
    """
    if own is not None:
        return own
    if config.has_own_optimizer():
        raise ValueError(
            f"optimizer: got {config.optimizer!r}, want the optimizer itself; "
            "train.fit(..., optimizer=...) starts and continues such a run"
        )
    decay, eps = config.decay, config.epsilon
    scales = {
        "rmsprop": lambda: optax.scale_by_rms(decay, eps),
        "graves_rmsprop": lambda: optax.scale_by_stddev(decay, eps),
        "adam": lambda: optax.scale_by_adam(b1=config.momentum, b2=decay),
    }
    return optax.chain(
        make_clip(config),
        scales[config.optimizer](),
        optax.identity()
        if config.update_clip is None
        else optax.clip_by_block_rms(config.update_clip),
        optax.identity()
        if config.optimizer == "adam"  # has its own
        else optax.trace(config.momentum),
        optax.scale_by_learning_rate(config.learning_rate),
    )


def unpacked(arrays: PyTree, wanted: PyTree, path: Path) -> PyTree:
    """The state of an optimizer from the arrays in a checkpoint.

    Args:
      arrays: a list of them.
      wanted: the shapes of the state of that optimizer.
      path: of the checkpoint.

    Raises:
      ValueError: if they are those of another optimizer.
    """
    leaves, tree = jax.tree.flatten(wanted)
    got = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays)]
    if got != [(leaf.shape, leaf.dtype) for leaf in leaves]:
        raise ValueError(
            f"optimizer: got one with other state than {path} has; continue the run "
            "with the optimizer that it was started with"
        )
    return jax.tree.unflatten(tree, jax.tree.leaves(arrays))


def make_clip(config: TrainConfig) -> optax.GradientTransformation:
    """The clipping of the gradient."""
    clips = {
        "value": lambda: optax.clip(config.clip_at),
        "norm": lambda: optax.clip_by_global_norm(config.clip_at),
        "none": optax.identity,
    }
    return clips[config.clip]()


def none_if_overflowed(gradient: PyTree) -> tuple[PyTree, Array, Array]:
    """The gradient and its norm, both 0 if the norm is not finite; and whether it is.

    A weighting that is spread evenly over the slots is unstable: a deviation can grow
    by a factor of three a step. So the gradient over a hundred steps can overflow while
    every value of the answer is finite. One such sequence must not end a run.
    """
    numbers, as_tree = ravel_pytree(gradient)
    norm = jnp.linalg.norm(numbers)
    overflowed = ~jnp.isfinite(norm)
    numbers, norm = (jnp.where(overflowed, 0, x) for x in (numbers, norm))
    return as_tree(numbers), norm, overflowed


def clipped_fraction(config: TrainConfig, gradient: PyTree) -> Array:
    """The fraction of the gradient's components that clipping changes."""
    numbers, _ = ravel_pytree(gradient)
    clip = make_clip(config)
    clipped, _ = clip.update(numbers, clip.init(numbers))
    return jnp.sum(numbers != clipped) / numbers.size
