"""Histograms and pictures of a run for TensorBoard, beside its numbers."""

from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from ..cluster.together import is_writer
from ..runs.events import MOST_SHOWN
from ..runs.folder import RunFolder
from ..training.devices import on_host
from ..training.population import member
from ..training.state import TrainState
from . import figures
from .draw import add_title
from .fonts import can_show
from .recording import machine_title, record, trace_fits


def show_machines(run: RunFolder, states: TrainState, step: int) -> None:
    """Shows the parameters of all machines and the weightings of the first one.

    A picture takes a quarter of a second, so call this rarely.
    """
    show_parameters(run, states, step)
    show_focus(run, states, step)


def show_parameters(run: RunFolder, states: TrainState, step: int) -> None:
    """A histogram of every parameter of every seed that TensorBoard shows."""
    params = on_host(states.params)  # which takes all processes
    if not is_writer():
        return
    for i, seed in enumerate(run.config.seeds()[:MOST_SHOWN]):
        named: dict[str, Any] = flatten_dict(member(params, i), sep="/")
        for name, values in named.items():
            run.events.histogram(step, f"parameters/{name}", values, seed=seed)


def show_focus(run: RunFolder, states: TrainState, step: int) -> None:
    """Shows the weightings of the first machine's heads, and what the heads emit.

    The sequence is the same at every update. An LSTM alone has no heads; a memory that
    is too large for a trace is not shown, and neither are words without a font.
    """
    config = run.config
    machine = member(states.params, 0)  # which takes all processes
    if not is_writer():
        return
    difficulty = config.make_task().trials()[0]
    if not trace_fits(machine, config, difficulty):
        return
    title = machine_title(config, config.seed, step)
    recording = record(machine, config, difficulty, title=title)
    trace = recording.trace
    if trace is None:
        return
    if recording.words is not None and not can_show(recording.words.text()):
        return
    figure = figures.focus(
        trace,
        recording.inputs,
        recording.phases,
        recording.outputs,
        words=recording.words,
    )
    add_title(figure, recording)
    run.events.picture(step, "machine/focus", pixels(figure), seed=config.seed)
    for kind, emitted in (("read", trace.read), ("write", trace.write)):
        for name in ("strength", "gate", "gamma"):
            values = getattr(emitted, name)
            run.events.histogram(step, f"{kind}_heads/{name}", values, seed=config.seed)


def show_figures(run: RunFolder, step: int) -> None:
    """Shows the figures in the run's folder."""
    for path in sorted(run.figures.glob("*.png")):
        picture = imread(path)[..., :3]
        run.events.picture(step, f"figures/{path.stem}", picture, seed=run.config.seed)


def pixels(figure: Figure) -> np.ndarray:
    """The figure as an image `[height, width, 3]`, bytes, in a size for a browser."""
    figure.set_dpi(90)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
