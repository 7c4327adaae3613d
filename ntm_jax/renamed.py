"""Renamed config fields: the old name still works and causes a warning."""

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

ClassT = TypeVar("ClassT")


def with_new_names(
    fields: Mapping[str, Any], old_names: Mapping[str, str]
) -> dict[str, Any]:
    """The fields, by their new names.

    >>> with_new_names({"colour": "blue", "size": 3}, {"colour": "color"})
    {'color': 'blue', 'size': 3}

    Raises:
      TypeError: if a field is there by both of its names.
    """
    for old, new in old_names.items():
        if old in fields and new in fields:
            raise TypeError(f"{old}: got both {old} and {new}, want only {new}")
    return {old_names.get(name, name): value for name, value in fields.items()}


def renamed_fields(**old_names: str) -> Callable[[type[ClassT]], type[ClassT]]:
    """Class decorator for a dataclass that also accepts its fields' old names.

    >>> import dataclasses
    >>> @renamed_fields(colour="color")
    ... @dataclasses.dataclass
    ... class Ball:
    ...     color: str = "red"
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     Ball(colour="blue").color
    'blue'

    Args:
      old_names: the new name of a field for each old one, as `old="new"`.

    Returns:
      The decorator. It makes the class raise a `TypeError` if it is called with the old
      and the new name of a field.
    """

    def decorate(cls: type[ClassT]) -> type[ClassT]:
        init = cls.__init__

        @functools.wraps(init)
        def __init__(self, *arguments, **fields):  # noqa: N807
            renamed = with_new_names(fields, old_names)
            for old in fields.keys() & old_names:
                warnings.warn(
                    f"{old} is now called {old_names[old]}; 0.3 removes the old name",
                    DeprecationWarning,
                    stacklevel=2,
                )
            init(self, *arguments, **renamed)

        cls.__init__ = __init__
        return cls

    return decorate
