"""The one list of tasks: everything that goes through all tasks asks it."""

from typing import TYPE_CHECKING, Any, Literal

from . import outside
from .associative_recall import AssociativeRecall
from .copy import Copy
from .dynamic_ngrams import DynamicNGrams
from .poems import Poems
from .priority_sort import PrioritySort
from .repeat_copy import RepeatCopy
from .reverse_string import ReverseString
from .task import Task

_TASKS: dict[str, type[Task]] = {
    "copy": Copy,
    "repeat_copy": RepeatCopy,
    "associative_recall": AssociativeRecall,
    "dynamic_ngrams": DynamicNGrams,
    "priority_sort": PrioritySort,
    "reverse_string": ReverseString,
    "poems": Poems,
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


def class_of(name: str) -> type[Task]:
    """The class of the task of that name, or at that place.

    Raises:
      ValueError: for a name that no task has, and for a place as `outside.load` does.
    """
    if outside.is_place(name):
        return outside.load(name)
    if name not in names():  # a tuple, so that an unhashable name is no error
        raise ValueError(
            f"task: got {name!r}, want one of {', '.join(names())}, or a place such as "
            "path/to/file.py:MyTask or package.module:MyTask"
        )
    return _TASKS[name]


def name_of(own: type[Task]) -> str:
    """The name of one of our tasks, or the place of another class."""
    names_of_ours = {of_name: name for name, of_name in _TASKS.items()}
    return names_of_ours.get(own) or outside.place_of(own)


def get(name: str, **fields: Any) -> Task:
    """The task of that name, as its paper defines it, or at that place.

    Args:
      name: one of `names()`, or `path/to/file.py:MyTask` or `package.module:MyTask`.
      **fields: of the task, instead of their defaults.

    Raises:
      ValueError: for a name that no task has, and for a place without a task.
    """
    return class_of(name)(**fields)


def short_name(name: str) -> str:
    """The name of a task, or of the class at a place, as the name of a file."""
    return outside.short_name(name) if outside.is_place(name) else name


def name_in_words(name: str) -> str:
    """The name of a task in a sentence.

    >>> name_in_words("dynamic_ngrams")
    'dynamic n-grams'
    >>> name_in_words("path/to/file.py:RunningMean")
    'running mean'
    """
    return short_name(name).replace("_", " ").replace("ngrams", "n-grams")
