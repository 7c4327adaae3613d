"""Blocks of a page that commands write; all other text of the page stays as it is."""

import re
from collections.abc import Callable, Iterable
from typing import Any

_BLOCK = re.compile(r"(<!-- (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(page: str, lines_of: Callable[[str], Iterable[str]]) -> str:
    r"""The page with the lines of each block, by the name of the block.

    >>> written("a\n<!-- sum -->\n1<!-- end -->\n", lambda name: [name, "2", ""])
    'a\n<!-- sum -->\nsum\n2\n<!-- end -->\n'
    """
    return _BLOCK.sub(
        lambda match: match[1] + "\n".join(lines_of(match["name"])) + match[3], page
    )


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A table in Markdown, with the columns of all rows.

    >>> table([{"a_b": 12345.6, "c": True}, {"c": [1234, "d"]}])
    ['| a b | c |', '| --- | --- |', '| 12,346 | True |', '|  | 1,234, d |']
    """
    names = list({name: None for row in rows for name in row})
    body = [[cell(row.get(name, "")) for name in names] for row in rows]
    head = [name.replace("_", " ") for name in names]
    lines = (head, ["---"] * len(names), *body)
    return [f"| {' | '.join(line)} |" for line in lines] if rows else ["Not measured."]


def cell(value: Any) -> str:
    """A number or some in few digits."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(of_name)}" for name, of_name in value.items())
    if isinstance(value, list):
        return ", ".join(map(cell, value))
    if isinstance(value, bool | str):
        return str(value)
    is_large = isinstance(value, int) or abs(value) >= 1000
    return f"{value:,.0f}" if is_large else f"{value:.3g}"
