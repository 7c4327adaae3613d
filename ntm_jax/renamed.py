"""Renamed config fields: the old name still works and causes a warning."""

import functools
import warnings
from collections.abc import Callable
from typing import TypeVar

ClassT = TypeVar("ClassT")


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
            for old, new in old_names.items():
                if old not in fields:
                    continue
                if new in fields:
                    raise TypeError(f"{old}: got both {old} and {new}, want only {new}")
                warnings.warn(
                    f"{old} is now called {new}; 0.3 removes the old name",
                    DeprecationWarning,
                    stacklevel=2,
                )
                fields[new] = fields.pop(old)
            init(self, *arguments, **fields)

        cls.__init__ = __init__
        return cls

    return decorate
