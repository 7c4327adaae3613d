"""Checks of arguments. An error has the form "name: got X, want Y"."""

import numbers
from typing import Any, get_args


def check_count(name: str, value: Any) -> int:
    """`value` if it is an integer of at least 1.

    Raises:
      TypeError, ValueError: otherwise, with the argument's name.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: got {value!r}, want an integer >= 1")
    if value < 1:
        raise ValueError(f"{name}: got {value}, want an integer >= 1")
    if int(value) >= 2**31:
        raise ValueError(f"{name}: got {value}, want less than 2**31")
    return int(value)


def check_choice(name: str, value: Any, literal: Any) -> None:
    """Raises a `ValueError` unless `value` is one of those of a `Literal`."""
    if value not in get_args(literal):
        wanted = ", ".join(get_args(literal))
        raise ValueError(f"{name}: got {value!r}, want one of {wanted}")
