"""Blocks of a page that commands write; all other text of the page stays as it is."""

import re
from collections.abc import Callable, Iterable

_BLOCK = re.compile(r"(<!-- (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(page: str, lines_of: Callable[[str], Iterable[str]]) -> str:
    r"""The page with the lines of each block, by the name of the block.

    >>> written("a\n<!-- sum -->\n1<!-- end -->\n", lambda name: [name, "2", ""])
    'a\n<!-- sum -->\nsum\n2\n<!-- end -->\n'
    """
    return _BLOCK.sub(
        lambda match: match[1] + "\n".join(lines_of(match["name"])) + match[3], page
    )
