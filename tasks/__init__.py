"""The tasks that a memory is tried on: pure functions from a PRNG key to a batch.

>>> import jax, tasks
>>> task = tasks.get("copy")
>>> batch = task.sample(jax.random.key(0), batch_size=16, length=(1, 20))
>>> batch.inputs.shape, batch.targets.shape, batch.mask.shape
((41, 16, 9), (41, 16, 8), (41, 16))
"""

from tasks.associative_recall import AssociativeRecall
from tasks.copy import Copy
from tasks.dynamic_ngrams import DynamicNGrams
from tasks.priority_sort import PrioritySort
from tasks.repeat_copy import RepeatCopy
from tasks.reverse_string import ReverseString
from tasks.strings import StringTask
from tasks.task import (
    Batch,
    Difficulty,
    Range,
    Task,
    loss_bits,
    wrong_bits,
)

_TASKS: dict[str, type[Task]] = {
    "copy": Copy,
    "repeat_copy": RepeatCopy,
    "associative_recall": AssociativeRecall,
    "dynamic_ngrams": DynamicNGrams,
    "priority_sort": PrioritySort,
    "reverse_string": ReverseString,
}

__all__ = (
    "AssociativeRecall",
    "Batch",
    "Copy",
    "Difficulty",
    "DynamicNGrams",
    "PrioritySort",
    "Range",
    "RepeatCopy",
    "ReverseString",
    "StringTask",
    "Task",
    "get",
    "loss_bits",
    "names",
    "wrong_bits",
)


def names() -> tuple[str, ...]:
    """The names that `get` knows."""
    return tuple(_TASKS)


def get(name: str) -> Task:
    """The task of that name, as its paper defines it.

    Raises:
      ValueError: for a name that no task has.
    """
    if name not in names():  # a tuple, which may be asked for anything
        raise ValueError(f"task: got {name!r}, want one of {', '.join(names())}")
    return _TASKS[name]()
