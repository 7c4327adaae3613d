"""Films, as GIF files: a memory in use, an answer during training."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure

from ntm_jax import Trace

from ...runs.files import whole
from ..phases import Phase
from ..words import Words
from .machine import heads, of_one_sequence, outputs_of
from .ring import visited
from .style import (
    STYLE,
    WEIGHTS,
    Panel,
    WordRow,
    colour_bar,
    image,
    largest,
    mark,
    scale_of,
    scale_of_inputs,
    signed,
    width_of_words,
)

_DPI = 75
_MOST_FRAMES = 80
# The most slots that have a pixel each.
_MOST_SLOTS = 400


class _GifWriter(PillowWriter):
    """Writes a GIF whatever the ending of its file's name is."""

    def finish(self) -> None:
        first, *others = self._frames  # type: ignore[attr-defined]
        first.save(
            self.outfile,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=int(1000 / self.fps),
            loop=0,
        )


@mpl.rc_context(STYLE)
def memory_film(
    path: Path,
    trace: Trace,
    inputs: np.ndarray,
    phases: Sequence[Phase] = (),
    *,
    outputs: np.ndarray | None = None,
    words: Words | None = None,
    frames_per_second: int = 6,
) -> None:
    """The memory and the weightings of the heads during one sequence.

    The slots shown are those that any head visits, and one more at either end. Above
    them are the input and the output, with a line at the current step. Long sequences
    are shown with every second, third, ... step.

    Args:
      path: of the GIF to write.
      trace: of one sequence.
      inputs: `[T, I]`.
      phases: to mark.
      outputs: `[T, O]`; None takes the trace's, after the sigmoid.
      words: of the sequence, to show instead of inputs and outputs.
      frames_per_second: the speed.
    """
    trace = of_one_sequence(trace)
    outputs = outputs_of(trace) if outputs is None else outputs
    weightings = dict(heads(trace))
    used = visited(*weightings.values())
    memory = used.part(np.swapaxes(trace.states.memory, 1, 2))
    weightings = {name: used.part(weights) for name, weights in weightings.items()}
    inputs = np.asarray(inputs)
    panels: list[Panel | WordRow] = [
        Panel("input", inputs, scale_of_inputs(inputs), 0.8),
        Panel("output", outputs, scale_of("output", outputs), 0.8),
    ]
    width = 8.0
    if words is not None:
        panels = [WordRow("input", words.inputs), WordRow("output", words.outputs)]
        width = max(width, width_of_words(len(inputs)))
    inches = [*(panel.inches for panel in panels), 1.8, *[0.3] * len(weightings)]
    figure = Figure(figsize=(width, 1.4 + sum(inches)), layout="constrained")
    grid = figure.subplots(len(inches), height_ratios=inches)
    for axes, panel in zip(grid, panels):
        panel.draw(axes)
        mark(axes, phases)
    grid[0].tick_params(labelbottom=False)
    grid[1].set_xlabel("time step", labelpad=1)
    lines = [axes.axvline(0, color="#d55e00", lw=2) for axes in grid[:2]]
    content = signed("content", memory)
    corner = used.first, 0
    image(grid[2], memory[0].T, content, corner=corner)
    grid[2].set_ylabel("memory\nelement")
    for axes, (name, weights) in zip(grid[3:], weightings.items()):
        image(axes, weights[0][:, None], WEIGHTS, corner=corner)
        axes.set_yticks([])
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
    for axes in grid[2:-1]:
        axes.tick_params(labelbottom=False)
    for axes in grid[2:]:
        used.number(axes.xaxis)
    grid[-1].set_xlabel(f"slot, of {used.slots:,}")
    shown = [largest(weights.T, _MOST_SLOTS).T for weights in weightings.values()]
    colour_bar(figure, [grid[2]], content)
    colour_bar(figure, grid[3:], WEIGHTS)

    def show(step: int) -> None:
        phase = next((p.name for p in phases if p.first <= step < p.end), "")
        grid[0].set_title(f"step {step} {phase and f'({phase})'}", loc="left")
        for line in lines:
            line.set_xdata([step, step])
        grid[2].images[0].set_data(memory[step])
        for axes, weights in zip(grid[3:], shown):
            axes.images[0].set_data(weights[step][None])

    _write(path, figure, show, frames(len(memory)), frames_per_second)


@mpl.rc_context(STYLE)
def learning_film(
    path: Path,
    answers: Sequence[tuple[str, np.ndarray]],
    targets: np.ndarray,
    mask: np.ndarray,
    phases: Sequence[Phase] = (),
    *,
    result: Callable[[np.ndarray], str] | None = None,
    in_words: Callable[[np.ndarray], list[str]] | None = None,
    frames_per_second: int = 4,
) -> None:
    """The answer to one sequence during training.

    Args:
      path: of the GIF to write.
      answers: a title for each frame, and its outputs `[T, O]`: probabilities, or
        real numbers.
      targets: `[T, O]`.
      mask: bool `[T]`, where an answer is due.
      phases: to mark.
      result: of outputs, in words for the title; None counts wrong bits.
      in_words: the words of `[T, O]` at every step, which are then shown instead.
      frames_per_second: the speed.
    """

    def wrong_bits(outputs: np.ndarray) -> str:
        return f"{int((np.abs(outputs - targets) >= 0.5)[mask].sum())} wrong bits"

    result = result or wrong_bits
    if in_words is not None:
        _film_of_words(
            path,
            answers,
            in_words(targets),
            in_words,
            result,
            phases,
            frames_per_second,
        )
        return
    scale = scale_of("value", targets[mask], *(outputs[mask] for _, outputs in answers))
    due = np.asarray(mask)[:, None]
    figure = Figure(figsize=(8, 4), layout="constrained")
    grid = figure.subplots(3, sharex=True)
    names = ("target", "output", "error")
    for axes, name in zip(grid, names):
        image(axes, np.where(due, targets, np.nan), scale)
        axes.set_ylabel(f"{name}\nchannel")
        mark(axes, phases)
    grid[-1].set_xlabel("time step")
    colour_bar(figure, grid.tolist(), scale)

    def show(index: int) -> None:
        when, outputs = answers[index]
        grid[0].set_title(f"{when}: {result(outputs)}", loc="left")
        grid[1].images[0].set_data(np.where(due, outputs, np.nan).T)
        grid[2].images[0].set_data(np.where(due, np.abs(outputs - targets), np.nan).T)

    _write(path, figure, show, frames(len(answers)), frames_per_second)


def _film_of_words(
    path: Path,
    answers: Sequence[tuple[str, np.ndarray]],
    targets: list[str],
    in_words: Callable[[np.ndarray], list[str]],
    result: Callable[[np.ndarray], str],
    phases: Sequence[Phase],
    frames_per_second: int,
) -> None:
    """`learning_film` in words; those that differ from the target are marked."""
    figure = Figure(figsize=(max(8, width_of_words(len(targets))), 1.6))
    figure.set_layout_engine("constrained")
    above, below = figure.subplots(2, sharex=True)
    WordRow("target", targets).draw(above)
    mark(above, phases)

    def show(index: int) -> None:
        when, outputs = answers[index]
        above.set_title(f"{when}: {result(outputs)}", loc="left")
        words = in_words(outputs)
        wrong = [word != target for word, target in zip(words, targets)]
        below.clear()
        WordRow("output", words, wrong).draw(below)
        below.set_xlabel("time step")
        mark(below, phases)

    _write(path, figure, show, frames(len(answers)), frames_per_second)


def frames(count: int) -> range:
    """The frames to show: all, or every second, third, ...; always the last."""
    every = -(-count // _MOST_FRAMES)
    return range((count - 1) % every, count, every)


def _write(
    path: Path,
    figure: Figure,
    show: Callable[[int], None],
    shown: Sequence[int],
    frames_per_second: int,
) -> None:
    """Writes a frame for each; the last one stays for a second."""
    show(shown[0])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # only the content moves
    writer = _GifWriter(fps=frames_per_second)
    with whole(path) as unfinished, writer.saving(figure, unfinished, dpi=_DPI):
        for frame in [*shown, *[shown[-1]] * frames_per_second]:
            show(frame)
            writer.grab_frame()
