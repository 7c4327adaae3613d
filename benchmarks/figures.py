"""The figures on the page of results."""

import statistics
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import tasks
from benchmarks.records import Record, of_task
from benchmarks.tables import DESCRIPTIONS
from benchmarks.trials import all_sizes, in_words, is_of_strings, seeds, trials
from tasks.registry import name_in_words
from train.show.figures import compared_curves, error_axes, leave_room
from train.show.figures.style import STYLE, colour
from train.show.learners import has_curves, validation_curves


def drawn(records: Sequence[Record]) -> dict[str, Figure]:
    """The figures, by the names of their files."""
    figures = {}
    for task in DESCRIPTIONS:
        own = of_task(records, task)
        if trained := list(filter(has_curves, own)):
            figures[f"learning_{task}.png"] = learning_curves(task, trained)
        if own:
            draw = accuracy_by_length if is_of_strings(task) else generalization
            figures[f"beyond_{task}.png"] = draw(task, own)
    return figures


def learning_curves(task: str, records: Sequence[Record]) -> Figure:
    """Errors in validation against sequences: seeds thin, their median thick."""
    learners = [(record["learner"], validation_curves(record)) for record in records]
    return compared_curves(
        f"Learning {name_in_words(task)}: validation error of each seed",
        tasks.get(task).error_name,
        learners,
    )


@mpl.rc_context(STYLE)
def generalization(task: str, records: Sequence[Record]) -> Figure:
    """Errors of every machine at every trial."""
    figure, axes = error_axes((7, 4))
    tried = [trials(task, record) for record in records]
    sizes = all_sizes(tried)
    for i, (record, of_one) in enumerate(zip(records, tried)):
        shift = (i - (len(records) - 1) / 2) * 0.2
        tried_at = [size for size in sizes if size in of_one]
        places = [sizes.index(size) + shift for size in tried_at]
        medians = [statistics.median_high(of_one[size]) for size in tried_at]
        axes.plot(places, medians, "o-", color=colour(i), label=record["learner"])
        for place, size in zip(places, tried_at):
            errors = of_one[size]
            axes.plot([place] * len(errors), errors, "_", color=colour(i))
    axes.set_xticks(range(len(sizes)), list(map(in_words, sizes)))
    axes.set_xlabel(" × ".join(tasks.get(task).difficulty))
    axes.set_ylabel(f"{tasks.get(task).error_name} per sequence")
    axes.set_title(
        f"{name_in_words(task).capitalize()} at and beyond the training size: "
        "seeds (dashes) and median"
    )
    axes.legend()
    axes.set_xlim(-0.5, len(sizes) - 0.5)
    leave_room(axes)
    return figure


@mpl.rc_context(STYLE)
def accuracy_by_length(task: str, records: Sequence[Record]) -> Figure:
    """Accuracy of every machine in each range of lengths: seeds thin, medians thick."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for i, record in enumerate(records):
        ranges = {
            size: errors
            for (size,), errors in trials(task, record).items()
            if isinstance(size, tuple)
        }
        centres = np.mean([*ranges], axis=1)
        accuracy = 1 - np.asarray([*ranges.values()])
        axes.plot(centres, accuracy, ".-", alpha=0.4, lw=0.6, color=colour(i))
        label = f"{record['learner']} ({seeds(record)})"
        middle = np.median(accuracy, axis=1)
        axes.plot(centres, middle, "o-", lw=2, color=colour(i), label=label)
    longest = np.max(tasks.get(task).difficulty["length"])
    axes.axvline(longest, color="gray", ls=":", label="longest in training")
    axes.axhline(0.5, color="gray", ls="--", label="guessing")
    axes.set_ylim(0.4, 1.05)
    axes.set_xlabel("length of the string")
    axes.set_ylabel("accuracy (fraction of the symbols)")
    axes.set_title(f"{name_in_words(task).capitalize()}: accuracy by length")
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")
    return figure
