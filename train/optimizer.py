"""How a gradient becomes an update: clipping, then RMSProp or Adam, all of Optax."""

import optax

from train.config import TrainConfig

_EPSILON = 1e-4


def make_optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """The optimizer that the config asks for.

    * `rmsprop`: g / sqrt(mean g^2 + 1e-4), then momentum.
    * `graves_rmsprop`: g / sqrt(mean g^2 - (mean g)^2 + 1e-4), then momentum: Graves
      2013, *Generating Sequences with Recurrent Neural Networks* (arXiv:1308.0850,
      eqs. 38-45), which the paper used.
    * `adam`, with `momentum` and `decay` as its two decay rates.

    The 1e-4 is the size of a squared gradient once the task is all but solved: from
    then on updates shrink with the gradient instead of following its noise.
    """
    clips = {
        "value": lambda: optax.clip(config.clip_at),
        "norm": lambda: optax.clip_by_global_norm(config.clip_at),
        "none": optax.identity,
    }
    rates = {
        "rmsprop": lambda: optax.rmsprop(
            config.learning_rate, config.decay, eps=_EPSILON, momentum=config.momentum
        ),
        "graves_rmsprop": lambda: optax.rmsprop(
            config.learning_rate,
            config.decay,
            eps=_EPSILON,
            centered=True,
            momentum=config.momentum,
        ),
        "adam": lambda: optax.adam(
            config.learning_rate, b1=config.momentum, b2=config.decay
        ),
    }
    return optax.chain(clips[config.clip](), rates[config.optimizer]())
