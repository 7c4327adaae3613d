"""One HTML file that shows the memory step by step, in any browser, offline.

The template is `page.html`; the recordings go into it as JSON. The page holds every
number in the precision that it shows: integer thousandths, as differences from step to
step, which compress well.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from .figures.ring import visited
from .html import filled, packed, packed_maps
from .recording import Recording


def page(recordings: Sequence[tuple[str, Recording]]) -> str:
    """The page, as HTML.

    Args:
      recordings: each with the name of its machine; those of one name together.

    Raises:
      ValueError: if the page would be too large, or a number is too large to be shown.
    """
    data = {
        "maps": packed_maps(),
        "sequences": [_sequence(name, recording) for name, recording in recordings],
    }
    return filled(
        "page.html",
        data,
        "use a shorter sequence (--length), fewer slots (--num_slots) or fewer "
        "machines",
    )


def _sequence(name: str, of: Recording) -> dict[str, Any]:
    """The data of a recording for the page."""
    sizes = [f"{size} {value}" for size, value in of.difficulty.items()]
    inputs, answers = _channels(of)
    arrays = {
        "inputs": of.inputs[:, inputs],
        "targets": of.targets[:, answers],
        "outputs": of.outputs[:, answers],
        "due": of.mask[:, None],
        **_inside(of),
    }
    input_names = of.config.make_task().input_names
    return {
        "machine": name,
        "label": ", ".join([*sizes, f"sequence {of.index + 1}"]),
        "result": of.result,
        "phases": of.phases,
        "used": _used_slots(of),
        "input_names": [input_names[channel] for channel in inputs],
        "words": None if of.words is None else dataclasses.asdict(of.words),
        "arrays": {
            key: {"shape": values.shape, "packed": pack(key, values)}
            for key, values in arrays.items()
        },
    }


def _channels(of: Recording) -> tuple[list[int], list[int]]:
    """The channels of the input and of the answer to show.

    All, or, of a sequence in words, those that appear in it, in the order in which they
    do: tokens of the input, categories that are a target or the most probable one.
    """
    if of.words is None:
        return [*range(of.inputs.shape[1])], [*range(of.targets.shape[1])]
    on = np.argwhere(of.inputs)[:, 1].tolist()
    answers = np.stack([of.targets, of.outputs], axis=1)[of.mask].argmax(axis=-1)
    return [*dict.fromkeys(on)], [*dict.fromkeys(answers.ravel().tolist())]


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
    scaled = np.round(np.asarray(values, np.float64) * 1000)
    if not (np.abs(scaled) < 2**31).all():
        raise ValueError(f"{name}: got numbers beyond 2e6, too large to be shown")
    return packed(np.diff(scaled, axis=0, prepend=0).astype("<i8").astype("<i4"))
