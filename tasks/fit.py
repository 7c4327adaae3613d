"""Whether a batch fits what its task says: shapes, dtypes, mask and values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .inputs import Tokens, Vectors
from .targets import Categories, Reals, Targets
from .task import Batch, Task


def check_kinds(task: Task) -> None:
    """Raises a `TypeError` unless inputs and targets are what a model can have."""
    name = type(task).__name__
    if not isinstance(task.inputs, Vectors | Tokens):
        raise TypeError(
            f"inputs: {name} has {task.inputs!r}, want tasks.Vectors or tasks.Tokens"
        )
    if not isinstance(task.targets, Targets):
        raise TypeError(
            f"targets: {name} has {task.targets!r}, want tasks.Bits, tasks.Categories "
            "or tasks.Reals"
        )


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
    steps = np.shape(batch.mask)[:1] or (0,)
    if steps[0] < 1:
        steps = ("T",)  # at least one
    of_a_sequence = (*steps, batch_size)
    integers, floats = (jnp.integer,), (jnp.float32,)
    tokens = isinstance(task.inputs, Tokens)
    kinds: dict[type, tuple[Any, ...]] = {Categories: integers, Reals: floats}
    of_targets = kinds.get(type(task.targets), (*floats, jnp.integer, jnp.bool_))
    for field, step_shape, wanted, said in (
        ("mask", (), (jnp.bool_,), "a mask"),
        ("inputs", task.inputs.step_shape, integers if tokens else floats, task.inputs),
        ("targets", task.targets.step_shape, of_targets, task.targets),
    ):
        value, shape = getattr(batch, field), (*of_a_sequence, *step_shape)
        dtype = getattr(value, "dtype", None)
        if dtype is None or not any(jnp.issubdtype(dtype, each) for each in wanted):
            words = " or ".join(getattr(each, "__name__", str(each)) for each in wanted)
            got = type(value).__name__ if dtype is None else dtype
            raise TypeError(f"{field}: {name} makes {got}, want {words} for {said}")
        if value.shape != shape:
            raise ValueError(
                f"{field}: {name} makes the shape {list(value.shape)}, want "
                f"[{', '.join(map(str, shape))}] for {said}: time steps, sequences, "
                "then what one step has"
            )


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
