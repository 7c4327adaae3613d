"""The figures of a run and of a sequence, and the files they are written to."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from ntm_jax import Trace, tasks
from ntm_jax.tasks import name_in_words

from ..runs.config import TrainConfig
from ..runs.files import whole
from . import figures
from .figures.style import STYLE
from .fonts import can_show
from .phases import phases
from .recording import (
    Recording,
    first_sequence,
    machine_title,
    record,
    trace_fits,
)
from .words import answers_in_words

PyTree = Any


def draw_run(
    folder: Path,
    params: PyTree,
    config: TrainConfig,
    metrics: list[dict[str, Any]],
    difficulties: Sequence[dict[str, int]],
    *,
    step: int,
) -> None:
    """Draws the figures at the end of every run, as PNG files in `folder`.

    They show the run's first machine, which has these `params` after update `step`, on
    one sequence of each difficulty, and the learning curves of all seeds. A trace that
    is too large is left out, and so is a sequence in words without a font for them.
    """
    drawn = {"learning_curve": figures.learning_curve(metrics, config)}
    for difficulty in difficulties:
        traced = trace_fits(params, config, difficulty)
        title = machine_title(config, config.seed, step)
        recording = record(params, config, difficulty, traced=traced, title=title)
        if recording.words is None or can_show(recording.words.text()):
            drawn |= named(answer_and_focus(recording), recording)
    save(drawn, folder, ("png",))


def answer_and_focus(recording: Recording) -> Iterator[tuple[str, Figure]]:
    """The answer, and the weightings of the machine's heads."""
    of = recording
    yield (
        "answer",
        figures.answer(
            of.inputs,
            of.targets,
            of.outputs,
            of.mask,
            of.wrong,
            of.phases,
            answers=of.answers,
            unit=of.config.make_task().targets.unit,
            words=of.words,
        ),
    )
    if of.trace is not None:
        yield (
            "focus",
            figures.focus(of.trace, of.inputs, of.phases, of.outputs, words=of.words),
        )


def all_of(recording: Recording) -> Iterator[tuple[str, Figure]]:
    """Every figure of a sequence."""
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
    yield from OF_TASK.get(recording.config.task, no_figure)(recording, trace)


def no_figure(recording: Recording, trace: Trace) -> Iterator[tuple[str, Figure]]:
    """For a task without a figure of its own."""
    del recording, trace
    yield from ()


def sort_figure(of: Recording, trace: Trace) -> Iterator[tuple[str, Figure]]:
    """Where priority sort writes and reads its vectors."""
    task, length = of.config.make_task(), of.difficulty["length"]
    assert isinstance(task, tasks.PrioritySort)
    priorities = of.inputs[:length, task.num_bits]
    answers = of.difficulty["answers"]
    yield "locations", figures.sort_locations(trace, priorities, answers)


def recall_figure(of: Recording, trace: Trace) -> Iterator[tuple[str, Figure]]:
    """Where associative recall writes and reads its items."""
    task = of.config.make_task()
    assert isinstance(task, tasks.AssociativeRecall)
    yield "locations", figures.recall_locations(trace, of.inputs, task.item_length)


# The figures that a task has beside those of all tasks. That of dynamic n-grams needs
# no trace, see `all_of`.
OF_TASK: dict[str, Callable[[Recording, Trace], Iterator[tuple[str, Figure]]]] = {
    "associative_recall": recall_figure,
    "priority_sort": sort_figure,
}


def named(
    drawn: Iterator[tuple[str, Figure]], recording: Recording
) -> dict[str, Figure]:
    """The figures by the names of their files; each says which machine it shows."""
    figures = {}
    for name, figure in drawn:
        add_title(figure, recording)
        figures["_".join(filter(None, (name, recording.size)))] = figure
    return figures


@mpl.rc_context(STYLE)
def add_title(figure: Figure, of: Recording) -> None:
    """Adds the machine and the size of the sequence above a figure."""
    sizes = [f"{name} {size:,}" for name, size in of.difficulty.items()]
    words = ", ".join([*filter(None, [of.title]), *sizes])
    own = figure.get_suptitle()
    figure.suptitle(f"{own}\n{words}" if own else words, fontsize=9)


@mpl.rc_context(STYLE)
def save(
    drawn: Mapping[str, Figure], folder: Path, formats: Sequence[str]
) -> list[Path]:
    """Writes each figure in each format; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in drawn.items():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the layout is done, for all formats
        for suffix in formats:
            paths.append(folder / f"{name}.{suffix}")
            # No date: the same picture makes the same file.
            metadata = {"Date": None} if suffix == "svg" else {}
            save_figure(figure, paths[-1], metadata=metadata)
    return paths


def save_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Writes a figure in the format of the file's ending: whole, or not at all."""
    with whole(path) as unfinished:
        figure.savefig(unfinished, format=path.suffix[1:], **options)


def learning_film(
    path: Path, config: TrainConfig, answers: Sequence[dict[str, Any]]
) -> None:
    """The answers of a run's first machine during training, as a GIF file."""
    task = config.make_task()
    batch = first_sequence(task, task.trials()[0])
    inputs = task.inputs.as_vectors(np.asarray(batch.inputs[:, 0]))
    mask = np.asarray(batch.mask[:, 0])
    of, answers_due = task.targets, np.asarray(batch.targets[:, 0])
    has_words = task.input_words(np.asarray(batch.inputs[:, 0])) is not None

    def result(outputs: np.ndarray) -> str:
        logits = of.as_logits(jnp.asarray(outputs))
        wrong = ~np.asarray(of.right(logits, jnp.asarray(answers_due)))
        return f"{int(wrong[mask].sum())} wrong {of.unit}"

    def in_words(outputs: np.ndarray) -> list[str]:
        return answers_in_words(task, outputs.argmax(axis=-1), mask)

    shown = [
        (
            f"{name_in_words(config.task)}, seed {config.seed}, after "
            f"{answer['step'] * config.batch_size:,} sequences",
            of.as_they_were(np.asarray(answer["outputs"])),
        )
        for answer in answers
    ]
    figures.learning_film(
        path,
        shown,
        np.asarray(of.as_predictions(batch.targets[:, 0])),
        mask,
        phases(inputs, mask, task.input_names),
        result=result,
        in_words=in_words if has_words else None,
    )
