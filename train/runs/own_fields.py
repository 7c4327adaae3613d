"""The fields of what a flag names, a task or a model: flags too, kept and checked.

With `--task=parity.py:Parity`, the field `longest` of the class is the flag
`--task.longest`. A config holds the fields that differ from the defaults, as plain
values: numbers, text, None, and tuples of them. Its JSON holds all fields, so that a
run keeps them if a default changes.

The fields are those of a dataclass, or the arguments of the constructor of another
class. One with another type, such as a function, or whose default is no plain value,
is no flag and keeps its default.
"""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union

from ntm_jax.tasks import outside

MISSING = dataclasses.MISSING
# What can stand in a config, apart from tuples and lists of it.
_PLAIN = (bool, int, float, str, Path, type(None))


class Fields(dict[str, Any]):
    """Plain values by the names of fields, as a value that can be hashed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class Field(NamedTuple):
    """The type of a field, and its default or MISSING."""

    hint: Any
    default: Any


@dataclasses.dataclass(frozen=True)
class OwnFields:
    """The fields of the class that a flag names.

    Attributes:
      flag: "task" or "model".
      name: the value of the flag: a name or a place.
      own: the class; None for what has no fields of its own.
      given: fields that the trainer gives, which are no flags.
    """

    flag: str
    name: str
    own: type | None
    given: frozenset[str] = frozenset()

    def names(self) -> tuple[str, ...]:
        """The names of the fields that are flags."""
        return tuple(self._fields())

    def differing(self, given: Mapping[str, Any]) -> Fields:
        """The given fields that are not the defaults, checked.

        Raises:
          TypeError, ValueError: for a field that there is not, a value of another type,
            and a missing value.
        """
        fields = self._fields()
        for name, value in given.items():
            if name not in fields:
                has = ", ".join(fields) or "no fields"
                short = outside.short_name(self.name)
                raise ValueError(
                    f"{self.flag}.{name}: got {value!r}, but {short} only has {has}"
                )
        self._check_others()
        result = Fields()
        for name, field in fields.items():
            value = given.get(name, field.default)
            if value is MISSING:
                raise ValueError(
                    f"{self.flag}.{name}: got none, want a value; pass "
                    f"--{self.flag}.{name}=..."
                )
            value = self._plain(name, value)
            self._check_type(name, value)
            if field.default is MISSING or value != self._plain(name, field.default):
                result[name] = value
        return result

    def check_defaults(self) -> None:
        """Raises a `TypeError` for a default that is not of the type of its field."""
        for name, field in self._fields().items():
            if field.default is not MISSING:
                self._check_type(name, self._plain(name, field.default))

    def all_of(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The plain values of all fields."""
        return {
            name: given[name] if name in given else self._plain(name, field.default)
            for name, field in self._fields().items()
        }

    def values_of(self, flags: Any) -> dict[str, Any]:
        """The values of the fields of an object of `flags_class`."""
        return {name: getattr(flags, name) for name in self.names()}

    def typed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given values as the class expects them: paths in place of their text."""
        fields = self._fields()
        return {
            name: _from_plain(value, fields[name].hint) for name, value in given.items()
        }

    def flags_class(self) -> type:
        """A dataclass of the fields that are flags: the class itself if it is one."""
        own, fields = self.own, self._fields()
        if own is not None and dataclasses.is_dataclass(own):
            names = {field.name for field in dataclasses.fields(own) if field.init}
            if names == {*fields}:
                return own
        return dataclasses.make_dataclass(
            outside.short_name(self.name),
            [
                (name, field.hint, dataclasses.field(default=field.default))
                for name, field in fields.items()
            ],
            kw_only=True,
            namespace={"__doc__": None if own is None else own.__doc__},
        )

    def check_names(self, taken: Iterable[str]) -> None:
        """Raises a `ValueError` for a field of a place that is a flag too."""
        if outside.is_place(self.name) and (both := sorted({*self.names()} & {*taken})):
            raise ValueError(
                f"{both[0]}: {self.name} has a field of this name, which is a flag of "
                "the trainer; rename the field"
            )

    def _fields(self) -> dict[str, Field]:
        """The fields that are flags."""
        return {
            name: field
            for name, field in self._all_fields().items()
            if _is_plain_type(field.hint) and _is_plain(field.default)
        }

    def _all_fields(self) -> dict[str, Field]:
        found = {} if self.own is None else _fields_of(self.own)
        return {name: field for name, field in found.items() if name not in self.given}

    def _check_others(self) -> None:
        """Raises a `TypeError` for a field that must be given, but is no flag."""
        for name, field in self._all_fields().items():
            if field.default is MISSING and not _is_plain_type(field.hint):
                raise TypeError(
                    f"{self.flag}.{name}: got a field of type {_in_words(field.hint)} "
                    "without a default, want one, or a number, text, a path, or a "
                    "tuple of these"
                )

    def _check_type(self, name: str, value: Any) -> None:
        """Raises a `TypeError` if a plain value is not of the type of a field."""
        hint = self._fields()[name].hint
        if not _fits(_from_plain(value, hint), hint):
            raise TypeError(
                f"{self.flag}.{name}: got {value!r}, want {_in_words(hint)}"
            )

    def _plain(self, name: str, value: Any) -> Any:
        """A value as JSON has it, with tuples for lists and text for paths.

        Raises:
          TypeError: for a value that JSON does not have.
        """
        if isinstance(value, Path):
            return str(value.expanduser().absolute())
        if isinstance(value, tuple | list):
            return tuple(self._plain(name, each) for each in value)
        if _is_plain(value) and value == value:  # not NaN, which equals no NaN
            return value
        raise TypeError(
            f"{self.flag}.{name}: got {value!r}, want a number, text, a path, None, or "
            "a tuple of these, which config.json can hold"
        )


def as_words(name: str, value: Any) -> list[str]:
    """The words on a command line that give a plain value to a flag.

    >>> as_words("seed", 3), as_words("model.moves", (0, -1))
    (['--seed=3'], ['--model.moves', '0', '-1'])
    """
    if isinstance(value, tuple):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}={value}"]


@functools.lru_cache(maxsize=256)
def _fields_of(own: type) -> dict[str, Field]:
    """All fields of a class, or arguments of its constructor.

    Raises:
      TypeError: for annotations that are not there when the class is used.
    """
    if dataclasses.is_dataclass(own):
        hints = _hints_of(own, own)
        return {
            field.name: Field(hints[field.name], _default(field))
            for field in dataclasses.fields(own)
            if field.init
        }
    if own.__init__ is object.__init__:
        return {}
    hints = _hints_of(own, own.__init__)
    _, *arguments = inspect.signature(own.__init__).parameters.values()
    return {
        each.name: Field(
            hints.get(each.name, Any),
            MISSING if each.default is each.empty else each.default,
        )
        for each in arguments
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    }


def _hints_of(own: type, annotated: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(annotated)
    except Exception as error:
        raise TypeError(
            f"{own.__name__}: got an annotation that cannot be read, want types that "
            f"are imported when the file runs: {outside.in_words(error)}"
        ) from error


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        try:
            return field.default_factory()
        except outside.ERRORS as error:
            raise TypeError(
                f"{field.name}: got a default_factory that raises "
                f"{outside.in_words(error)}"
            ) from error
    return field.default


def _is_plain(value: Any) -> bool:
    """Whether a default, if there is one, can stand in a config."""
    if isinstance(value, tuple | list):
        return all(_is_plain(each) for each in value)
    return value is MISSING or isinstance(value, _PLAIN)


def _is_plain_type(hint: Any) -> bool:
    """Whether all values of a type can stand in a config."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType, tuple, list, Sequence):
        return all(each is ... or _is_plain_type(each) for each in args)
    return origin is Literal or hint in (*_PLAIN, None, tuple)


def _from_plain(value: Any, hint: Any) -> Any:
    """The value that a class expects: a path for text, where that is its type."""
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
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        each = args[:1] * len(value) if args[1:] == (...,) else args
        return len(value) == len(each) and all(map(_fits, value, each))
    if hint in (str, bool, Path):
        return isinstance(value, hint)
    return True


def _in_words(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))
