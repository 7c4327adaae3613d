"""Where items are stored: in recall (figure 12) and in priority sort (figure 17)."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ntm_jax import Trace

from .machine import of_one_sequence
from .ring import Stretch, visited
from .style import COLOURS, STYLE, WEIGHTS, colour_bar, image

_QUERY, _ANSWER = COLOURS[5], COLOURS[1]


@mpl.rc_context(STYLE)
def sort_locations(trace: Trace, priorities: np.ndarray, num_answers: int) -> Figure:
    """Where vectors are written, by priority, and where they are read.

    Each write head has a panel of its weightings while it sees the vectors, sorted by
    priority, the highest first; each read head has one for the delimiter and the
    answer. A machine that sorts by location has a rising or a falling line in both.
    Below is each write head's most weighted slot against the priority.

    Args:
      trace: of one sequence: the vectors, a delimiter, the answer.
      priorities: `[length]`.
      num_answers: number of vectors in the answer.
    """
    trace = of_one_sequence(trace)
    length, order = len(priorities), np.argsort(-np.asarray(priorities), kind="stable")
    writes, reads = map(
        np.asarray, (trace.states.write_weights, trace.states.read_weights)
    )
    # A machine can read a vector one step before it outputs it.
    answers = slice(length, length + 1 + num_answers)
    shown = visited(writes[:length], reads[answers])
    columns = max(writes.shape[1], reads.shape[1])
    figure = _grid_figure(3, columns)
    grid = figure.subplots(3, columns, squeeze=False)
    for head in range(writes.shape[1]):
        _map(
            grid[0, head],
            writes[order, head],
            shown,
            f"write head {head + 1}",
            "vectors, highest priority first",
        )
        dots = grid[2, head]
        dots.plot(priorities, writes[:length, head].argmax(-1), "o", ms=3)
        dots.set(
            title=f"write head {head + 1}",
            xlabel="priority",
            ylabel="most weighted slot",
            xlim=(-1.05, 1.05),
            ylim=(-0.5, writes.shape[2] - 0.5),
        )
        dots.grid(alpha=0.3)
    for head in range(reads.shape[1]):
        _map(
            grid[1, head],
            reads[answers, head],
            shown,
            f"read head {head + 1}",
            "delimiter, then steps of the answer",
        )
    _hide_unused(grid)
    colour_bar(figure, grid[:2].ravel().tolist(), WEIGHTS)
    figure.suptitle("Where vectors are written, by priority, and read")
    return figure


@mpl.rc_context(STYLE)
def recall_locations(trace: Trace, inputs: np.ndarray, item_length: int) -> Figure:
    """Where items are written, where the query is looked up and the answer is read.

    Each head has a panel of its weightings at all steps. Boxes mark the steps of the
    queried item and of the item after it, and in them the range of the most weighted
    slots: where the two items are written, and where they are read.

    Args:
      trace: of one sequence.
      inputs: `[T, I]`; the last two channels are the delimiters.
      item_length: vectors in an item.
    """
    trace = of_one_sequence(trace)
    steps = recall_steps(inputs, item_length)
    writes, reads = map(
        np.asarray, (trace.states.write_weights, trace.states.read_weights)
    )
    shown = visited(writes, reads[steps["query"].start :])
    columns = max(writes.shape[1], reads.shape[1])
    figure = _grid_figure(2, columns)
    grid = figure.subplots(2, columns, squeeze=False)
    for row, (kind, weights, query, answer) in enumerate(
        (
            ("write head", writes, steps["queried item"], steps["answer item"]),
            ("read head", reads, steps["query"], steps["answer"]),
        )
    ):
        for head in range(weights.shape[1]):
            axes = grid[row, head]
            _map(axes, weights[:, head], shown, f"{kind} {head + 1}", "time step")
            _box(axes, weights[:, head], shown, query, _QUERY)
            _box(axes, weights[:, head], shown, answer, _ANSWER)
    _hide_unused(grid)
    colour_bar(figure, grid.ravel().tolist(), WEIGHTS)
    figure.legend(
        handles=[
            Rectangle((0, 0), 1, 1, fill=False, color=colour, label=label)
            for colour, label in (
                (_QUERY, "the queried item: written, looked up"),
                (_ANSWER, "the item after it: written, read"),
            )
        ],
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    return figure


def recall_steps(inputs: np.ndarray, item_length: int) -> dict[str, slice]:
    """The steps that show the queried item, the one after it, the query and the answer.

    Args:
      inputs: `[T, I]` of one sequence of associative recall.
      item_length: vectors in an item.
    """
    bits, starts, query_bounds = inputs[:, :-2], inputs[:, -2], inputs[:, -1]
    query = int(np.flatnonzero(query_bounds)[0]) + 1
    wanted = bits[query : query + item_length]
    items = np.flatnonzero(starts) + 1
    asked = next(
        i for i, at in enumerate(items) if (bits[at : at + item_length] == wanted).all()
    )
    firsts = {
        "queried item": items[asked],
        "answer item": items[asked + 1],
        "query": query,
        "answer": query + item_length + 1,
    }
    return {
        name: slice(int(first), int(first) + item_length)
        for name, first in firsts.items()
    }


def _grid_figure(rows: int, columns: int) -> Figure:
    width = max(7.0, 1 + 2.6 * columns)
    return Figure(figsize=(width, 0.6 + 2.6 * rows), layout="constrained")


def _map(
    axes: Axes, weights: np.ndarray, shown: Stretch, title: str, label: str
) -> None:
    image(axes, shown.part(weights), WEIGHTS, pooled=True, corner=(0, shown.first))
    shown.number(axes.yaxis)
    axes.set(title=title, xlabel=label, ylabel="slot")


def _box(
    axes: Axes, weights: np.ndarray, shown: Stretch, steps: slice, colour: str
) -> None:
    """Draws a box around the most weighted slots of these steps."""
    slots = shown.place(weights[steps].argmax(axis=-1))
    corner = steps.start - 0.5, slots.min() - 1.5
    width, height = steps.stop - steps.start, np.ptp(slots) + 3
    axes.add_patch(Rectangle(corner, width, height, fill=False, color=colour, lw=1.2))


def _hide_unused(grid: np.ndarray) -> None:
    for axes in grid.ravel():
        axes.set_visible(axes.has_data())
