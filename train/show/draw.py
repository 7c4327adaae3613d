"""Which figures there are of a run and of a sequence, and the files they go to."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import tasks
from train.runs.config import TrainConfig
from train.show import figures
from train.show.figures.style import STYLE
from train.show.phases import phases
from train.show.recording import Recording, first_sequence, record, trace_fits

PyTree = Any


def draw_run(
    folder: Path,
    params: PyTree,
    config: TrainConfig,
    metrics: list[dict[str, Any]],
    difficulties: Sequence[dict[str, int]],
) -> None:
    """The figures that every run ends with, as PNG files in `folder`.

    Of the machine with these `params`, a sequence of each difficulty is drawn: the
    first of those evaluated at the end; without its trace where that is too large. The
    learning curve is of all seeds.
    """
    drawn = {"learning_curve": figures.learning_curve(metrics, config)}
    for difficulty in difficulties:
        traced = trace_fits(params, config, difficulty)
        recording = record(params, config, difficulty, traced=traced)
        drawn |= named(answer_and_focus(recording), recording)
    save(drawn, folder, ("png",))


def answer_and_focus(recording: Recording) -> Iterator[tuple[str, Figure]]:
    """The answer, and where a machine's heads looked for it."""
    of = recording
    yield (
        "answer",
        figures.answer(
            of.inputs, of.targets, of.outputs, of.mask, of.wrong, phases=of.phases
        ),
    )
    if of.trace is not None:
        yield "focus", figures.focus(of.trace, of.inputs, phases=of.phases)


def all_of(recording: Recording) -> Iterator[tuple[str, Figure]]:
    """Every figure there is of a sequence."""
    yield from answer_and_focus(recording)
    if recording.optimum is not None:
        yield (
            "prediction",
            figures.prediction(
                recording.targets[:, 0],
                recording.outputs[:, 0],
                recording.optimum[:, 0],
                recording.mask,
            ),
        )
    trace = recording.trace
    if trace is None:
        return
    yield "vectors", figures.vectors(trace, phases=recording.phases)
    yield "addressing", figures.addressing(trace, phases=recording.phases)
    yield (
        "memory",
        figures.memory(trace.states.memory[-1], "Memory after the last step"),
    )
    task, size = recording.config.make_task(), recording.difficulty
    if isinstance(task, tasks.PrioritySort):
        priorities = recording.inputs[: size["length"], task.num_bits]
        yield (
            "locations",
            figures.sort_locations(trace, priorities, size["answers"]),
        )
    if isinstance(task, tasks.AssociativeRecall):
        yield (
            "locations",
            figures.recall_locations(trace, recording.inputs, task.item_length),
        )


def named(
    drawn: Iterator[tuple[str, Figure]], recording: Recording
) -> dict[str, Figure]:
    """By the names of their files: the figure's, and the size of the sequence."""
    return {f"{name}_{recording.size}": figure for name, figure in drawn}


@mpl.rc_context(STYLE)
def save(
    drawn: Mapping[str, Figure], folder: Path, formats: Sequence[str]
) -> list[Path]:
    """Writes each figure once in each format; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in drawn.items():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it is laid out, for all formats
        for suffix in formats:
            paths.append(folder / f"{name}.{suffix}")
            # No date: the same picture makes the same file.
            metadata = {"Date": None} if suffix == "svg" else {}
            figure.savefig(paths[-1], metadata=metadata)
    return paths


def learning_film(
    path: Path, config: TrainConfig, answers: Sequence[dict[str, Any]]
) -> None:
    """What a run's first machine said at its reports, as a GIF file."""
    task = config.make_task()
    batch = first_sequence(task, task.trials()[0])
    inputs, targets, mask = (
        np.asarray(leaf[:, 0]) for leaf in (batch.inputs, batch.targets, batch.mask)
    )
    shown = [
        (
            f"after {answer['step'] * config.batch_size:,} sequences",
            np.asarray(answer["outputs"]),
        )
        for answer in answers
    ]
    figures.learning_film(
        path, shown, targets, mask, phases(inputs, mask, task.input_names)
    )
