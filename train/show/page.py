"""One HTML file that shows the memory step by step, in any browser, offline.

The template is `page.html`; the recordings go into it as JSON. The page holds every
number in the precision that it shows: integer thousandths, as differences from step to
step, which compress well.
"""

import base64
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from .figures.ring import visited
from .figures.style import BITS, WEIGHTS, signed
from .recording import Recording

_TEMPLATE = Path(__file__).with_name("page.html")
_DIGITS = 3
_MOST_BYTES = 5_000_000


def page(recordings: Sequence[tuple[str, Recording]]) -> str:
    """The page, as HTML.

    Args:
      recordings: each with the name of its machine; those of one name together.

    Raises:
      ValueError: if the page would be too large, or a number is too large to be shown.
    """
    data = {
        "digits": _DIGITS,
        "maps": {
            scale.cmap: _packed(_colours(scale.cmap))
            for scale in (BITS, WEIGHTS, signed(""))
        },
        "sequences": [_sequence(name, recording) for name, recording in recordings],
    }
    html = _TEMPLATE.read_text(encoding="utf-8").replace("{{data}}", _in_a_script(data))
    if len(html) > _MOST_BYTES:
        raise ValueError(
            f"html: got a page of {len(html) / 1e6:.1f} MB, want at most "
            f"{_MOST_BYTES / 1e6:.0f}; use a shorter sequence (--length), fewer slots "
            "(--num_slots) or fewer machines"
        )
    return html


def _sequence(name: str, of: Recording) -> dict[str, Any]:
    """The data of a recording for the page."""
    sizes = [f"{size} {value}" for size, value in of.difficulty.items()]
    arrays = {
        "inputs": of.inputs,
        "targets": of.targets,
        "outputs": of.outputs,
        "due": of.mask[:, None],
        **_inside(of),
    }
    return {
        "machine": name,
        "label": ", ".join([*sizes, f"sequence {of.index + 1}"]),
        "result": of.result,
        "phases": of.phases,
        "used": _used_slots(of),
        "input_names": of.config.make_task().input_names,
        "arrays": {
            key: {"shape": values.shape, "packed": pack(key, values)}
            for key, values in arrays.items()
        },
    }


def _inside(of: Recording) -> dict[str, np.ndarray]:
    """The arrays of a machine with a memory; read heads follow the write heads."""
    if of.trace is None:
        return {}
    trace, states = of.trace, of.trace.states

    def both(write: Any, read: Any) -> np.ndarray:
        return np.concatenate([write, read], axis=1)

    return {
        "memory": np.asarray(states.memory),
        "weights": both(states.write_weights, states.read_weights),
        "erase": np.asarray(trace.writing.erase),
        "add": np.asarray(trace.writing.add),
        "reads": np.asarray(states.reads),
        **{
            name: both(getattr(trace.write, name), getattr(trace.read, name))
            for name in trace.write._fields
        },
    }


def _used_slots(of: Recording) -> tuple[int, int] | None:
    """The first of the slots that any head visits, and how many they are."""
    if of.trace is None:
        return None
    states = of.trace.states
    used = visited(np.asarray(states.write_weights), np.asarray(states.read_weights))
    return used.first, used.length


def pack(name: str, values: np.ndarray) -> str:
    """`[T, ...]` in thousandths, as differences to the step before.

    Raises:
      ValueError: for numbers that are not finite, or beyond two million.
    """
    scaled = np.round(np.asarray(values, np.float64) * 10**_DIGITS)
    if not (np.abs(scaled) < 2**31).all():
        raise ValueError(f"{name}: got numbers beyond 2e6, too large to be shown")
    return _packed(np.diff(scaled, axis=0, prepend=0).astype("<i8").astype("<i4"))


def _packed(array: np.ndarray) -> str:
    """The bytes of an array as text; the same for the same array."""
    packed = gzip.compress(np.ascontiguousarray(array).tobytes(), mtime=0)
    return base64.b64encode(packed).decode()


def _colours(name: str) -> np.ndarray:
    """The 256 colours of a map, with a byte each for red, green and blue."""
    return mpl.colormaps[name](np.arange(256), bytes=True)[:, :3]


def _in_a_script(data: Any) -> str:
    """JSON in which no HTML parser can find the end of the script."""
    text = json.dumps(data, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
