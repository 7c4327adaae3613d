"""Whether a model from outside does what it says, before a run begins."""

from typing import Any

import jax
import jax.numpy as jnp

from ntm_jax.tasks import outside

from ..models import registry as models
from ..training.measure import shape_of_inputs
from .config import TrainConfig

PyTree = Any
# Sizes that differ, so that axes cannot be mistaken.
_STEPS, _SEQUENCES = 3, 2


def check_model(config: TrainConfig) -> None:
    """Raises a `TypeError` or `ValueError` for a model that does not fit what it says.

    Our own models are tested, and are not checked again.
    """
    if not outside.is_place(config.model):
        return
    task, name = config.make_task(), models.in_words(config.model)
    try:
        model = config.make_model()
        params = jax.eval_shape(
            lambda key: model.init(key, task.input_size), jax.random.key(0)
        )
        check_params(name, params)
        inputs = shape_of_inputs(task, _STEPS, _SEQUENCES)
        mask = jax.ShapeDtypeStruct(inputs.shape[:2], jnp.bool_)
        logits = [
            jax.eval_shape(model.logits, params, inputs),
            jax.eval_shape(
                lambda p, x, m: model.logits(p, x, mask=m), params, inputs, mask
            ),
        ]
    except (TypeError, ValueError) as error:
        if outside.line_of(error) is None and str(error).startswith(
            ("model", "params")
        ):
            raise  # of a check, and in words already
        raise ValueError(f"model: {name} raises {outside.in_words(error)}") from error
    except outside.ERRORS as error:
        raise ValueError(f"model: {name} raises {outside.in_words(error)}") from error
    for each in logits:
        check_logits(name, each, (_STEPS, _SEQUENCES, task.output_size))


def check_params(name: str, params: PyTree) -> None:
    """Raises a `TypeError` or `ValueError` for parameters that cannot be trained."""
    leaves = jax.tree.leaves_with_path(params)
    if not leaves:
        raise ValueError(f"params: {name} has none, want at least one to train")
    for path, leaf in leaves:
        at = jax.tree_util.keystr(path, simple=True, separator="/")
        if not is_float(leaf):
            raise TypeError(f"params: {name} makes {leaf.dtype} in {at}, want floats")


def check_logits(name: str, logits: Any, shape: tuple[int, ...]) -> None:
    """Raises a `TypeError` or `ValueError` unless logits are those of the task."""
    if not is_float(logits):
        got = getattr(logits, "dtype", type(logits).__name__)
        raise TypeError(f"model: {name} makes logits of {got}, want floats")
    if logits.shape != shape:
        raise ValueError(
            f"model: {name} makes logits {list(logits.shape)}, want {list(shape)}: "
            "time steps, sequences, then the outputs of the task"
        )


def is_float(value: Any) -> bool:
    """Whether that is an array of floats."""
    dtype = getattr(value, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating)
