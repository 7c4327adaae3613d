"""Common parts of the figures: fonts, colours, scales, panels over one time axis."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator

from ..fonts import families_for
from ..phases import Phase
from .ring import Stretch

# Colours that are distinct for everyone (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.prop_cycle": cycler(color=COLOURS),
    "figure.dpi": 150,
    "svg.hashsalt": "ntm_jax",  # the same file for the same picture
}
_PHASES = {"input": COLOURS[4], "delimiter": COLOURS[1], "answer": COLOURS[2]}
_NOT_DUE = "#cfe0f0"
_MARKED = "#f7c9a8"
_INCHES = 8.0
# The least width of a word, so that it does not touch the next one.
_INCHES_OF_WORD = 0.13
# The most rows and columns of an image, so that each has at least a pixel.
_MOST = (300, 900)
_MOST_PHASES = 200


class Scale(NamedTuple):
    """The colours of an image: a colour map from `low` to `high`, and its label."""

    label: str
    cmap: str
    low: float = 0.0
    high: float = 1.0


BITS = Scale("value", "gray_r")
WEIGHTS = Scale("weight", "viridis")


class Panel(NamedTuple):
    """An image over time.

    Attributes:
      label: of the vertical axis.
      values: `[T, rows]`; NaN where there is nothing to show.
      scale: of the colours.
      inches: height.
      pooled: of the values that share a pixel, show the largest: a sharp weighting
        must stay visible.
      stretch: the slots that the rows stand for.
    """

    label: str
    values: np.ndarray
    scale: Scale
    inches: float = 1.0
    pooled: bool = False
    stretch: Stretch | None = None

    def draw(self, axes: Axes) -> None:
        """Draws the image and its label, and numbers the slots if it has some."""
        lowest = 0 if self.stretch is None else self.stretch.first
        image(axes, self.values, self.scale, pooled=self.pooled, corner=(0, lowest))
        if self.stretch is not None:
            self.stretch.number(axes.yaxis)
        axes.set_ylabel(self.label)


class WordRow(NamedTuple):
    """Short words over time, such as the characters of a text.

    Attributes:
      label: of the vertical axis.
      words: `[T]`; the lines of one stand below each other.
      marked: `[T]`, those on a coloured ground; empty for none.
    """

    label: str
    words: Sequence[str]
    marked: Sequence[bool] = ()

    @property
    def inches(self) -> float:
        """Height."""
        return 0.15 + 0.13 * max(word.count("\n") + 1 for word in self.words)

    def draw(self, axes: Axes) -> None:
        """Writes the words and the label.

        Raises:
          ValueError: if there is no font for them.
        """
        family = families_for("".join(self.words))
        for step, word in enumerate(self.words):
            ground = {"facecolor": _MARKED, "linewidth": 0, "pad": 0.6}
            axes.text(
                step,
                0.92,
                word,
                ha="center",
                va="top",
                transform=axes.get_xaxis_transform(),
                family=family,
                fontsize=7,
                linespacing=1.05,
                bbox=ground if self.marked and self.marked[step] else None,
            )
        axes.set_xlim(-0.5, len(self.words) - 0.5)
        axes.set_yticks([])
        axes.set_ylabel(self.label, rotation=0, ha="right", va="center")
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def width_of_words(steps: int) -> float:
    """The width of a figure in which the words of so many steps have room."""
    return 1.5 + _INCHES_OF_WORD * steps


def signed(label: str, *values: np.ndarray) -> Scale:
    """A scale with zero in its middle that covers all these values."""
    reach = max((float(np.max(np.abs(each), initial=0)) for each in values), default=0)
    reach = reach or 1.0
    return Scale(label, "RdBu_r", -reach, reach)


def scale_of(label: str, *values: np.ndarray) -> Scale:
    """The scale of bits, or a signed one with that label if there are other numbers."""
    if any(each.min(initial=0) < 0 or each.max(initial=0) > 1 for each in values):
        return signed(label, *values)
    return BITS


def scale_of_inputs(inputs: np.ndarray) -> Scale:
    """The scale of the inputs of a sequence."""
    return scale_of("input", inputs)


def colour(i: int) -> str:
    """Of the i-th of several things; after the last colour the first comes again."""
    return COLOURS[i % len(COLOURS)]


@mpl.rc_context(STYLE)
def over_time(
    panels: Sequence[Panel | WordRow], title: str, phases: Sequence[Phase] = ()
) -> Figure:
    """Stacked panels over the same steps, with the phases on top.

    Neighbours with the same scale share a colour bar.

    Raises:
      ValueError: if there is no font for words among them.
    """
    rows = [panel for panel in panels if isinstance(panel, WordRow)]
    width = width_of_words(max((len(row.words) for row in rows), default=0))
    figure, axes = time_axes([panel.inches for panel in panels], title, phases, width)
    for panel, own in zip(panels, axes):
        panel.draw(own)
        mark(own, phases)
    images = [
        (panel.scale, own)
        for panel, own in zip(panels, axes)
        if isinstance(panel, Panel)
    ]
    for scale, group in itertools.groupby(images, lambda each: each[0]):
        colour_bar(figure, [own for _, own in group], scale)
    return figure


def time_axes(
    inches: Sequence[float],
    title: str,
    phases: Sequence[Phase] = (),
    width: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """A figure with axes of these heights over one time axis, the phases on top.

    The figure is at least `width` wide.
    """
    ratios = [0.15, *inches] if phases else [*inches]
    size = max(_INCHES, width), 0.7 + sum(ratios) + 0.12 * len(ratios)
    figure = Figure(figsize=size, layout="constrained")
    axes = list(
        figure.subplots(len(ratios), sharex=True, height_ratios=ratios, squeeze=False)[
            :, 0
        ]
    )
    axes[0].set_title(title, loc="left")
    axes[-1].set_xlabel("time step")
    if phases:
        strip = axes.pop(0)
        strip.set_yticks([])
        strip.set_ylabel("phase", rotation=0, ha="right", va="center")
        for phase in phases:
            strip.axvspan(phase.first - 0.5, phase.end - 0.5, color=_PHASES[phase.name])
        shown = dict.fromkeys(phase.name for phase in phases)
        strip.legend(
            handles=[Patch(color=_PHASES[name], label=name) for name in shown],
            loc="lower right",
            bbox_to_anchor=(1, 0.9),
            ncols=len(shown),
            frameon=False,
        )
    return figure, axes


def image(
    axes: Axes,
    values: np.ndarray,
    scale: Scale,
    *,
    pooled: bool = False,
    corner: tuple[int, int] = (0, 0),
) -> None:
    """Draws `[T, rows]` as an image in the colours of a scale, row 0 at the bottom.

    `corner` has the numbers of the leftmost column and of the bottom row.
    """
    steps, rows = values.shape
    left, bottom = (number - 0.5 for number in corner)
    if pooled:
        values = largest(largest(values, _MOST[1]).T, _MOST[0]).T
    axes.imshow(
        values.T,
        aspect="auto",
        interpolation="nearest",
        origin="lower",
        extent=(left, left + steps, bottom, bottom + rows),
        cmap=scale.cmap,
        vmin=scale.low,
        vmax=scale.high,
    )
    axes.set_facecolor(_NOT_DUE)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def largest(values: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, each the maximum over the same number of neighbours."""
    together = -(-len(values) // most)
    return np.maximum.reduceat(values, np.arange(0, len(values), together), axis=0)


def mark(axes: Axes, phases: Sequence[Phase]) -> None:
    """Draws a line between neighbouring phases, if not so many that all is lines."""
    if len(phases) > _MOST_PHASES:
        return
    for phase in phases[1:]:
        axes.axvline(phase.first - 0.5, color="0.6", lw=0.5)


def colour_bar(figure: Figure, axes: Sequence[Axes], scale: Scale) -> None:
    """Adds a colour bar for these axes."""
    mappable = ScalarMappable(Normalize(scale.low, scale.high), scale.cmap)
    figure.colorbar(mappable, ax=axes, label=scale.label, aspect=25)
