"""The fields of a task: as flags, in a config, in its JSON, and checked.

A config holds the fields that differ from the task's defaults, as plain values:
numbers, text, None, and tuples of them. Its JSON holds all fields, so that a run keeps
them if a default changes.
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union

from ntm_jax import tasks
from ntm_jax.tasks import fit, outside, registry


class Fields(dict[str, Any]):
    """Plain values by the names of fields, as a value that can be hashed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def names_of(task: str) -> tuple[str, ...]:
    """The names of a task's fields."""
    return tuple(_fields(task))


def differing(task: str, given: Mapping[str, Any]) -> Fields:
    """The given fields that are not the task's defaults, checked.

    Raises:
      TypeError, ValueError: for a field that the task does not have, a value of
        another type, and a missing value.
    """
    fields = _fields(task)
    for name, value in given.items():
        if name not in fields:
            has = ", ".join(fields) or "no fields"
            raise ValueError(
                f"task.{name}: got {value!r}, but {registry.short_name(task)} only has "
                f"{has}"
            )
    result = Fields()
    for name, field in fields.items():
        default = _default(field)
        value = given.get(name, default)
        if value is dataclasses.MISSING:
            raise ValueError(
                f"task.{name}: got none, want a value; pass --task.{name}=..."
            )
        value = _plain(name, value)
        _check_type(task, name, value)
        if default is dataclasses.MISSING or value != _plain(name, default):
            result[name] = value
    return result


def check_defaults(task: str) -> None:
    """Raises a `TypeError` for a default that is not of the type of its field."""
    fields = _fields(task).items()
    given = {name: _default(field) for name, field in fields}
    for name, value in given.items():
        if value is not dataclasses.MISSING:
            _check_type(task, name, _plain(name, value))


def all_of(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of all fields."""
    return {
        name: given[name] if name in given else _plain(name, _default(field))
        for name, field in _fields(task).items()
    }


def fields_of(task: tasks.Task) -> dict[str, Any]:
    """The fields of a task's object that can be given."""
    if not dataclasses.is_dataclass(task):
        return {}
    return {
        field.name: getattr(task, field.name)
        for field in dataclasses.fields(task)
        if field.init
    }


@functools.lru_cache(maxsize=256)
def make(task: str, given: Fields) -> tasks.Task:
    """The task with these fields: the same object for the same fields.

    Raises:
      ValueError: if its class raises anything.
    """
    hints = _hints(task)
    fields = {name: _from_plain(value, hints[name]) for name, value in given.items()}
    if not outside.is_place(task):
        return registry.get(task, **fields)
    try:
        made = registry.get(task, **fields)
        fit.check_kinds(made)
        return made
    except (TypeError, ValueError):
        raise  # as for our own tasks
    except Exception as error:
        raise ValueError(
            f"task: {task} with {fields} raises {outside.in_words(error)}"
        ) from error


def check_names(task: str, taken: Iterable[str]) -> None:
    """Raises a `ValueError` for a field of a task from outside that is a flag too."""
    if outside.is_place(task) and (both := sorted({*names_of(task)} & {*taken})):
        raise ValueError(
            f"{both[0]}: {task} has a field of this name, which is a flag of the "
            "trainer; rename the field"
        )


def _fields(task: str) -> dict[str, dataclasses.Field[Any]]:
    own = registry.class_of(task)
    if not dataclasses.is_dataclass(own):
        return {}
    return {field.name: field for field in dataclasses.fields(own) if field.init}


def _hints(task: str) -> dict[str, Any]:
    """The types of the fields."""
    return typing.get_type_hints(registry.class_of(task))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _check_type(task: str, name: str, value: Any) -> None:
    """Raises a `TypeError` if a plain value is not of the type of a field."""
    hint = _hints(task)[name]
    if not _fits(_from_plain(value, hint), hint):
        wanted = getattr(hint, "__name__", str(hint))
        raise TypeError(f"task.{name}: got {value!r}, want {wanted}")


def _plain(name: str, value: Any) -> Any:
    """A value as JSON has it, with tuples for lists and text for paths.

    Raises:
      TypeError: for a value that JSON does not have.
    """
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    if isinstance(value, tuple | list):
        return tuple(_plain(name, each) for each in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"task.{name}: got {value!r}, want a number, text, a path, None, or a tuple of "
        "these, which config.json can hold"
    )


def _from_plain(value: Any, hint: Any) -> Any:
    """The value that a task expects: a path for text, where that is its type."""
    if isinstance(value, str) and Path in (hint, *typing.get_args(hint)):
        return Path(value)
    if isinstance(value, tuple) and typing.get_origin(hint) is tuple:
        of_each = typing.get_args(hint)[:1] or (Any,)
        return tuple(_from_plain(each, of_each[0]) for each in value)
    return value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type; types that JSON does not know fit everything."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return value in args
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in args)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is None or hint is type(None):
        return value is None
    if hint in (str, bool, Path) or origin is tuple:
        return isinstance(value, origin or hint)
    return True
