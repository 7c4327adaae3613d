"""Whether a task from outside does what it says, before a run begins."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import jax
from jax import Array

from ntm_jax import tasks
from ntm_jax.tasks import fit, outside, properties

from ..training.batches import draw_sequences
from ..training.keys import purpose_key
from .config import TrainConfig

# Names in the entries of an evaluation, and of flags beside the difficulties.
_TAKEN = (
    *("accuracy", "diverged_at", "machine", "num_sequences", "num_slots"),
    *("perfect_fraction", "pretrained", "restarts", "seconds", "seed", "solved_at"),
    "step",
    *("batch_size", "config", "key", "keys", "params", "split"),
    *("beside", "html", "model", "out", "records", "task", "workdir", "sizes"),
)
_FEW = 4


def check_task(config: TrainConfig) -> None:
    """Raises a `TypeError` or `ValueError` for a task that does not fit what it says.

    Our own tasks are tested, and are not checked again.
    """
    if not outside.is_place(config.task):
        return
    task = config.make_task()
    with in_words(task, "its properties"):
        properties.check_properties(task)
        trials = task.trials()
    if taken := sorted({*task.difficulty} & {*_TAKEN}):
        raise ValueError(
            f"{taken[0]}: {type(task).__name__} has a difficulty of this name, which "
            "the trainer uses for a flag, an argument or a field of evaluation.json; "
            f"rename it, for example to my_{taken[0]}"
        )
    if isinstance(task, tasks.DataTask):
        check_data(task, config)
        return
    key = purpose_key(0, "evaluation")
    with in_words(task, "make"):
        for trial in trials:
            jax.eval_shape(functools.partial(_check_sample, task, trial), key)
            fit.check_values(task, task.sample(key, _FEW, **trial))
        drawn = jax.eval_shape(
            lambda step: draw_sequences(config, jax.numpy.uint32(0), step)[0],
            jax.numpy.int32(0),
        )
        fit.check_batch(task, drawn, config.batch_size * config.sort_updates)
        fit.check_values(task, task.sample(key, _FEW))


def _check_sample(task: tasks.Task, trial: dict[str, int], key: Array) -> None:
    """Raises a `TypeError` or `ValueError` for a batch that JAX may not even hold."""
    batch = task.sample(key, _FEW, **trial)
    fit.check_batch(task, batch, _FEW)
    fit.check_errors(task, batch)


def check_data(task: tasks.DataTask, config: TrainConfig) -> None:
    """Raises a `ValueError` unless there are sequences that fit, for a call at least.

    All arrays are checked at once; other sequences again when they are used.
    """
    if config.sort_updates > 1:
        raise ValueError(
            f"sort_updates: got {config.sort_updates}, want 1 with a task of data"
        )
    source = "batches" if isinstance(task, tasks.StreamTask) else "data"
    try:
        hash(task)  # what is read is kept by its task
    except TypeError as error:
        raise TypeError(
            f"task: {type(task).__name__} has a field that cannot be hashed, want "
            f"values such as tuples in place of lists: {error}"
        ) from None
    try:
        with in_words(task, source):
            for split in ("validation", "evaluation"):
                fit.check_errors(task, task.held_out(split, _FEW))
            stream = task.stream(config.seed, config.batch_size)
            for _ in range(min(config.steps_per_call, config.steps)):
                next(stream)
    except tasks.DataError as error:
        raise ValueError(f"task: {error}") from None


@contextmanager
def in_words(task: tasks.Task, what: str) -> Iterator[None]:
    """Raises errors of the code of a task with its name and the line."""
    try:
        yield
    except tasks.DataError:
        raise
    except jax.errors.JAXTypeError as error:
        raise ValueError(
            f"task: {type(task).__name__}.{what} raises {outside.in_words(error)}; the "
            "lowest and highest of a range are traced, use range.draw and range.limit"
        ) from error
    except (TypeError, ValueError) as error:
        if outside.line_of(error) is None:
            raise  # of a check, and in words already
        raise ValueError(
            f"task: {type(task).__name__}.{what} raises {outside.in_words(error)}"
        ) from error
    except outside.ERRORS as error:
        raise ValueError(
            f"task: {type(task).__name__}.{what} raises {outside.in_words(error)}"
        ) from error
