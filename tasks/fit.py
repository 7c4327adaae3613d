"""Whether a batch fits what its task says: shapes, dtypes, mask and values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .inputs import Tokens
from .targets import Categories, Reals
from .task import Batch, Task

_OF_MASK = "the mask, which is True at the steps where an answer is due"


def check_batch(task: Task, batch: Any, batch_size: int) -> None:
    """Raises a `TypeError` or `ValueError` unless the shapes and dtypes fit the task.

    Args:
      task: which made the batch.
      batch: arrays, or only their shapes and dtypes.
      batch_size: B.
    """
    name = type(task).__name__
    if not isinstance(batch, Batch):
        raise TypeError(
            f"batch: {name} makes a {type(batch).__name__}, want tasks.Batch(inputs="
            "..., targets=..., mask=...)"
        )
    integers, floats = (jnp.integer,), (jnp.float32,)
    tokens = isinstance(task.inputs, Tokens)
    kinds: dict[type, tuple[Any, ...]] = {Categories: integers, Reals: floats}
    of_targets = kinds.get(type(task.targets), (*floats, jnp.integer, jnp.bool_))
    steps: int | str = "T"
    for field, step_shape, wanted, said in (
        ("mask", (), (jnp.bool_,), _OF_MASK),
        ("inputs", task.inputs.step_shape, integers if tokens else floats, task.inputs),
        ("targets", task.targets.step_shape, of_targets, task.targets),
    ):
        value = getattr(batch, field)
        dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", ())
        if dtype is None or not any(jnp.issubdtype(dtype, each) for each in wanted):
            words = " or ".join(getattr(each, "__name__", str(each)) for each in wanted)
            got = type(value).__name__ if dtype is None else dtype
            raise TypeError(f"{field}: {name} makes {got}, want {words} for {said}")
        if field == "mask" and shape and shape[0]:
            steps = shape[0]
        if shape != (steps, batch_size, *step_shape):
            wanted = ", ".join(map(str, (steps, batch_size, *step_shape)))
            raise ValueError(
                f"{field}: {name} makes the shape {list(shape)}, want [{wanted}] for "
                f"{said}: time steps{_as_of_mask(field)}, then the {batch_size} "
                f"sequences of the batch{_of_step(step_shape)}"
            )


def check_errors(task: Task, batch: Batch) -> None:
    """Raises a `TypeError` or `ValueError` unless there is one error for a sequence.

    Args:
      task: whose `errors` are traced.
      batch: that fits it.
    """
    name, batch_size = type(task).__name__, batch.mask.shape[1]

    def check(logits: Any, batch: Batch) -> None:
        errors = task.errors(logits, batch)
        shape = getattr(errors, "shape", None)
        if shape != (batch_size,):
            of = f"the shape {list(shape)}" if shape is not None else None
            raise (TypeError if of is None else ValueError)(
                f"errors: {name} makes {of or type(errors).__name__}, want "
                f"[{batch_size}], a number for each sequence"
            )

    logits = jnp.zeros((*batch.mask.shape, task.output_size), jnp.float32)
    jax.eval_shape(check, logits, batch)


def check_values(task: Task, batch: Batch) -> None:
    """Raises a `ValueError` unless the numbers of a batch fit the task.

    Every input has to fit, and every target at a step where it is due.
    """
    name = type(task).__name__
    batch = jax.device_get(batch)
    if not batch.mask.any(axis=0).all():
        raise ValueError(
            f"mask: {name} makes a sequence without a step where an answer is due, "
            "want at least one True in every sequence"
        )
    for field, fault in (
        ("inputs", task.inputs.fault(np.asarray(batch.inputs))),
        ("targets", task.targets.fault(np.asarray(batch.targets)[batch.mask])),
    ):
        if fault is not None:
            said = getattr(task, field)
            raise ValueError(f"{field}: in {name}, {fault} for {said}")


def _as_of_mask(field: str) -> str:
    return "" if field == "mask" else " as in the mask"


def _of_step(step_shape: tuple[int, ...]) -> str:
    return ", then the numbers of a step" if step_shape else ""
