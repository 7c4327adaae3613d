"""Learning curves: how the error falls with the sequences seen."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...runs.config import TrainConfig
from .style import STYLE, colour

# The sequences seen, in thousands, and the error there.
Curve = tuple[np.ndarray, np.ndarray]


@mpl.rc_context(STYLE)
def learning_curve(metrics: list[dict[str, Any]], config: TrainConfig) -> Figure:
    """Loss and wrong answers per sequence against the sequences seen.

    With several seeds, each is a thin line and their median a thick one.
    """
    figure, axes = error_axes((6, 3.5))
    task = config.make_task()
    targets = task.targets
    for i, (kind, field, label) in enumerate(
        (
            ("train", targets.loss_name, "loss, training"),
            ("train", targets.wrong_name, f"wrong {targets.unit}, training"),
            ("validation", "error", f"{task.error_name}, validation"),
        )
    ):
        look: dict[str, Any] = {"color": colour(i)}
        if kind == "validation":
            look |= {"marker": "o", "markersize": 3}
        curves = curves_of(metrics, config, kind, field)
        if config.num_seeds > 1:
            for steps, values in curves:
                axes.plot(steps, values, alpha=0.25, lw=0.5, **look)
            steps, values = median_curve(curves)
            label = f"{label}, median"
        else:
            steps, values = curves[0]
        axes.plot(steps, values, label=label, **look)
    axes.set_xlabel("sequences seen (thousands)")
    in_one_unit = targets.loss_name == f"loss_{targets.unit}"
    axes.set_ylabel(f"{targets.unit} per sequence" if in_one_unit else "per sequence")
    axes.set_title(f"Learning {config.title()}")
    axes.legend()
    leave_room(axes)
    return figure


@mpl.rc_context(STYLE)
def compared_curves(
    title: str, error_name: str, learners: Sequence[tuple[str, Sequence[Curve]]]
) -> Figure:
    """Errors in validation against sequences: seeds thin, their median thick.

    Args:
      title: of the figure.
      error_name: what the errors count.
      learners: the name of each learner, and a curve for each of its seeds.
    """
    figure, axes = error_axes((7, 4))
    for i, (learner, curves) in enumerate(learners):
        for sequences, errors in curves:
            axes.plot(sequences, errors, alpha=0.3, lw=0.6, color=colour(i))
        label = f"{learner} ({len(curves)} seed{'s' * (len(curves) > 1)})"
        median = median_curve(curves)
        look = "-" if len(median[0]) > 1 else "o"  # one point makes no line
        axes.plot(*median, look, lw=2, color=colour(i), label=label)
    axes.set_xlabel("sequences seen (thousands)")
    axes.set_ylabel(f"{error_name} per sequence")
    axes.set_title(title)
    axes.legend()
    leave_room(axes)
    return figure


def leave_room(axes: Axes) -> None:
    """Extends the axes above the highest point; call it after everything is drawn."""
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])


def error_axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure of that size in inches, with axes for errors from 0 to many."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    # Linear near zero, so that an error of 0 is visible.
    axes.set_yscale("symlog", linthresh=0.1, linscale=0.3)
    # The invisible line makes the limits start at 0 and still follow the curves.
    axes.axhline(0, visible=False)
    axes.set_ymargin(0)
    axes.grid(alpha=0.3)
    return figure, axes


def curves_of(
    metrics: list[dict[str, Any]], config: TrainConfig, kind: str, field: str
) -> list[Curve]:
    """The curve of every seed of a run, for one kind and field of its metrics."""
    entries = [entry for entry in metrics if entry["kind"] == kind]
    return [
        (
            np.asarray([entry["step"] for entry in entries if entry["seed"] == seed])
            * config.batch_size
            / 1000,
            np.asarray([entry[field] for entry in entries if entry["seed"] == seed]),
        )
        for seed in config.seeds()
    ]


def median_curve(curves: Sequence[Curve]) -> Curve:
    """The median over the seeds; a seed that has ended counts with its last value."""
    steps = np.unique(np.concatenate([steps for steps, _ in curves]))
    held = [
        values[np.clip(np.searchsorted(own, steps, "right") - 1, 0, None)]
        for own, values in curves
        if len(own)
    ]
    return steps, np.median(held, axis=0)
