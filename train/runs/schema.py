"""What the records of a run hold, field by field: each is checked as it is read.

A record is a JSON object. Its fields have checks, which raise an error of the form
"name: got X, want Y"; fields that are not listed are free.
"""

import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from ntm_jax.checks import check_count

Check = Callable[[str, Any], None]
Fields = Mapping[str, Check]
Record = dict[str, Any]


def check_record(
    name: str, value: Any, fields: Fields, optional: Fields | None = None
) -> None:
    """Raises a `TypeError` or `ValueError` that names the first wrong field.

    Args:
      name: of the record, which stands before the names of its fields; "" for none.
      value: a JSON value.
      fields: the fields that it must have.
      optional: fields that it may lack.
    """
    if not isinstance(value, dict):
        prefix = f"{name}: " if name else ""
        raise TypeError(f"{prefix}got {short(value)}, want a JSON object")
    given = {field: of for field, of in (optional or {}).items() if field in value}
    for field, check in {**fields, **given}.items():
        full = f"{name}.{field}" if name else field
        if field not in value:
            raise ValueError(f"{full}: got none, want a value")
        check(full, value[field])


def check_records(name: str, value: Any, fields: Fields) -> None:
    """The same for a list of records; the name of each is its index."""
    check_list(name, value)
    for i, record in enumerate(value):
        check_record(f"{name}[{i}]", record, fields)


def record_of(fields: Fields) -> Check:
    """The check of a field that holds a record."""
    return lambda name, value: check_record(name, value, fields)


def records_of(fields: Fields) -> Check:
    """The check of a field that holds a list of records."""
    return lambda name, value: check_records(name, value, fields)


def list_of(check: Check) -> Check:
    """The check of a field that holds a list."""

    def check_all(name: str, value: Any) -> None:
        check_list(name, value)
        for i, element in enumerate(value):
            check(f"{name}[{i}]", element)

    return check_all


def or_none(check: Check) -> Check:
    """The check of a field that can also be null."""
    return lambda name, value: None if value is None else check(name, value)


def count(name: str, value: Any) -> None:
    """Of updates or seeds: an integer from 0 to 2**31 - 1."""
    total(name, value)
    check_count(name, value, 0)


def total(name: str, value: Any) -> None:
    """Of sequences, which are more than any count: an integer from 0 to 2**63 - 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}: got {short(value)}, want an integer >= 0")
    if not 0 <= value < 2**63:
        raise ValueError(f"{name}: got {short(value)}, want from 0 to 2**63 - 1")


def number(name: str, value: Any) -> None:
    """A measured number, which can be infinite or NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: got {short(value)}, want a number")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError(f"{name}: got {short(value)}, want less than 2**63")


def seconds(name: str, value: Any) -> None:
    """A duration."""
    number(name, value)
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}: got {short(value)}, want a finite number >= 0")


def fraction(name: str, value: Any) -> None:
    """A number from 0 to 1."""
    number(name, value)
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: got {short(value)}, want a number from 0 to 1")


def text(name: str, value: Any) -> None:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: got {short(value)}, want text")


def check_list(name: str, value: Any) -> None:
    """Raises a `TypeError` unless the value is a list."""
    if not isinstance(value, list):
        raise TypeError(f"{name}: got {short(value)}, want a list")


def short(value: Any) -> str:
    """A JSON value in a few words, for a message."""
    return reprlib.repr(value)
