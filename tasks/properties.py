"""Whether what a task says of itself is of the right kind."""

import math
import numbers
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

from .inputs import Tokens, Vectors
from .targets import Targets
from .task import Task

_BY_NAME = "a dict with an integer >= 1 for the names"


def check_kinds(task: Task) -> None:
    """Raises a `TypeError` unless inputs and targets are what a model can have."""
    for size in ("input_size", "output_size"):
        if getattr(type(task), size) is not getattr(Task, size):  # others follow
            _check(task, size, _is_count, "an integer >= 1")
    _check(task, "inputs", _is_inputs, "tasks.Vectors(...) or tasks.Tokens(...)")
    wanted = "tasks.Bits(...), tasks.Categories(...) or tasks.Reals(...)"
    _check(task, "targets", _is_targets, wanted)
    for kind, size in (("inputs", "input_size"), ("targets", "output_size")):
        of, value = getattr(task, kind), getattr(task, size)
        if value != of.size:
            raise ValueError(_words(task, size, value, f"{of.size}, the size of {of}"))


def check_properties(task: Task) -> None:
    """Raises a `TypeError` or `ValueError` for a property of another kind."""
    _check(task, "error_name", _is_text, "text")
    _check(task, "tolerance", _is_tolerance, "a number >= 0")
    of_inputs = f"a tuple of texts, one for each of {task.inputs}"
    _check(task, "input_names", _are_names(task.inputs.size), of_inputs)
    difficulty = "a dict with a name such as 'length' for each difficulty"
    _check(task, "difficulty", _is_difficulty, difficulty)
    names = [*task.difficulty]
    hardest = {name: range_.limit for name, range_ in task.ranges().items()}
    in_words = f"{_BY_NAME} {names}"
    _check(task, "easiest", _at_most(hardest), f"{in_words}, at most {hardest}")
    each = f"a tuple of dicts, each {in_words.removeprefix('a dict ')}"
    _check(task, "beyond", _are_sizes(names), f"{each}; write ({{...}},) for one")
    for method, wanted in (("trials", "dicts"), ("min_slots", "an integer >= 1")):
        if not callable(value := getattr(task, method)):
            raise TypeError(
                _words(task, method, value, f"a method that returns {wanted}")
            )
    if not (trials := task.trials()) or not _are_sizes(names)(trials):
        raise TypeError(_words(task, "trials()", trials, each))
    if not _is_count(slots := task.min_slots(task.ranges())):
        raise TypeError(_words(task, "min_slots()", slots, "an integer >= 1"))


def _check(task: Task, field: str, fits: Callable[[Any], bool], wanted: str) -> None:
    """Raises a `TypeError` unless a property fits."""
    if not fits(value := getattr(task, field)):
        raise TypeError(_words(task, field, value, wanted))


def _words(task: Task, field: str, value: Any, wanted: str) -> str:
    name = f"{type(task).__name__}.{field}"
    if isinstance(value, MethodType):
        return f"{name}: got a method, want {wanted}; write @property above it"
    return f"{name}: got {value!r}, want {wanted}"


def _is_inputs(value: Any) -> bool:
    return isinstance(value, Vectors | Tokens)


def _is_targets(value: Any) -> bool:
    return isinstance(value, Targets)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return is_integer and int(value) >= 1


def _is_tolerance(value: Any) -> bool:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and 0 <= float(value) < math.inf


def _are_names(size: int) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, tuple | list)
        and len(value) == size
        and all(map(_is_text, value))
    )


def _is_difficulty(value: Any) -> bool:
    """Names of flags and of arguments."""
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and name.isidentifier() for name in value
    )


def _are_counts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_count, value.values()))


def _at_most(hardest: Mapping[str, int]) -> Callable[[Any], bool]:
    return lambda value: (
        _are_counts(value)
        and {*value} == {*hardest}
        and all(value[name] <= most for name, most in hardest.items())
    )


def _are_sizes(names: list[str]) -> Callable[[Any], bool]:
    """Those that are left out are as in training."""
    return lambda value: (
        isinstance(value, tuple | list)
        and all(_are_counts(each) and {*each} <= {*names} for each in value)
    )
