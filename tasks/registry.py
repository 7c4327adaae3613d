"""The one list of tasks: everything that goes through all tasks asks it."""

from typing import TYPE_CHECKING, Literal

from tasks.associative_recall import AssociativeRecall
from tasks.copy import Copy
from tasks.dynamic_ngrams import DynamicNGrams
from tasks.priority_sort import PrioritySort
from tasks.repeat_copy import RepeatCopy
from tasks.reverse_string import ReverseString
from tasks.task import Task

_TASKS: dict[str, type[Task]] = {
    "copy": Copy,
    "repeat_copy": RepeatCopy,
    "associative_recall": AssociativeRecall,
    "dynamic_ngrams": DynamicNGrams,
    "priority_sort": PrioritySort,
    "reverse_string": ReverseString,
}

# The names as a type, from which flags take their choices. To type checkers, which know
# no computed literals, it is a string.
if TYPE_CHECKING:
    TaskName = str
else:
    TaskName = Literal[tuple(_TASKS)]


def names() -> tuple[str, ...]:
    """The names of all tasks."""
    return tuple(_TASKS)


def get(name: str) -> Task:
    """The task of that name, as its paper defines it.

    Raises:
      ValueError: for a name that no task has.
    """
    if name not in names():  # a tuple, so that an unhashable name is no error
        raise ValueError(f"task: got {name!r}, want one of {', '.join(names())}")
    return _TASKS[name]()


def name_in_words(name: str) -> str:
    """The name of a task in a sentence.

    >>> name_in_words("dynamic_ngrams")
    'dynamic n-grams'
    """
    return name.replace("_", " ").replace("ngrams", "n-grams")
