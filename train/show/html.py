"""One HTML file from a template, the files that it names, and its data.

A template names a file of this folder as `{{common/view.js}}`, and has `{{data}}` where
the data go, as JSON.
"""

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from .figures.style import BITS, WEIGHTS, signed

_FOLDER = Path(__file__).parent
_MOST_BYTES = 5_000_000


def filled(template: str, data: Any, remedy: str) -> str:
    """The page, as HTML.

    Args:
      template: path of the template in this folder.
      data: that JSON can hold.
      remedy: how a user makes the page smaller.

    Raises:
      ValueError: if the page would be too large.
    """

    def text(name: str) -> str:
        if name == "data":
            return _in_a_script(data)
        part = (_FOLDER / name).read_text(encoding="utf-8").rstrip()
        return re.sub(r"\{\{([\w./]+)\}\}", lambda found: text(found[1]), part)

    html = text(template) + "\n"
    if len(html) > _MOST_BYTES:
        raise ValueError(
            f"html: got a page of {len(html) / 1e6:.1f} MB, want at most "
            f"{_MOST_BYTES / 1e6:.0f}; {remedy}"
        )
    return html


def packed(array: np.ndarray) -> str:
    """The bytes of an array as text; the same for the same array."""
    compressed = gzip.compress(np.ascontiguousarray(array).tobytes(), mtime=0)
    return base64.b64encode(compressed).decode()


def packed_maps() -> dict[str, str]:
    """The colours of pictures: 256 for each map, a byte each for red, green, blue."""
    return {
        scale.cmap: packed(mpl.colormaps[scale.cmap](np.arange(256), bytes=True)[:, :3])
        for scale in (BITS, WEIGHTS, signed(""))
    }


def _in_a_script(data: Any) -> str:
    """JSON in which no HTML parser can find the end of the script."""
    text = json.dumps(data, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
