"""Names that changed between releases: the old one still works, with a warning."""

import functools
import warnings
from collections.abc import Callable
from typing import TypeVar

ClassT = TypeVar("ClassT")


def renamed_fields(**old_names: str) -> Callable[[type[ClassT]], type[ClassT]]:
    """Class decorator: a dataclass that also takes fields by their `old=new` names.

    >>> import dataclasses
    >>> @renamed_fields(colour="color")
    ... @dataclasses.dataclass
    ... class Ball:
    ...     color: str = "red"
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     Ball(colour="blue").color
    'blue'
    """

    def decorate(cls: type[ClassT]) -> type[ClassT]:
        init = cls.__init__

        @functools.wraps(init)
        def __init__(self, *arguments, **fields):  # noqa: N807
            for old, new in old_names.items():
                if old not in fields:
                    continue
                if new in fields:
                    raise TypeError(f"{old}: got it and {new}, want only {new}")
                warnings.warn(
                    f"{old} is now called {new}; the old name will go in 0.3",
                    DeprecationWarning,
                    stacklevel=2,
                )
                fields[new] = fields.pop(old)
            init(self, *arguments, **fields)

        cls.__init__ = __init__
        return cls

    return decorate
