"""A machine on one sequence, over time: answers, weightings, memory, heads.

Every function takes a `Trace` of one sequence, without batch axes, or arrays of it:

    trace = ntm_jax.trace(params, inputs, config=config)
    figures.focus(trace, inputs).savefig("focus.png")
"""

from collections.abc import Iterator, Sequence

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntm_jax import Trace

from ..phases import Phase
from .ring import visited
from .style import (
    COLOURS,
    STYLE,
    WEIGHTS,
    Panel,
    Scale,
    colour_bar,
    image,
    mark,
    over_time,
    scale_of,
    scale_of_inputs,
    signed,
    time_axes,
)

_LINES = ("-", "--", ":", "-.")


def answer(
    inputs: np.ndarray,
    targets: np.ndarray,
    outputs: np.ndarray,
    mask: np.ndarray,
    wrong: int,
    phases: Sequence[Phase] = (),
    *,
    answers: int | None = None,
    unit: str = "bits",
) -> Figure:
    """Input, target, output and error of one sequence, over time.

    Args:
      inputs: `[T, I]`.
      targets: `[T, O]`.
      outputs: `[T, O]`: probabilities, or real numbers.
      mask: `[T]`, where an answer is due; other steps of the answer stay blue.
      wrong: how much of the answer is wrong.
      phases: to mark.
      answers: how much there is; None counts the targets.
      unit: what `wrong` and `answers` count.
    """
    due = np.asarray(mask)[:, None]
    panels = [Panel("input\nchannel", inputs, scale_of_inputs(inputs))]
    shown = {
        "target": targets,
        "output": outputs,
        "error": np.abs(outputs - targets),
    }
    scale = scale_of("value", *(values[mask] for values in shown.values()))
    for name, values in shown.items():
        panels.append(Panel(f"{name}\nchannel", np.where(due, values, np.nan), scale))
    if answers is None:
        answers = int(mask.sum()) * targets.shape[1]
    title = f"{wrong} wrong of {answers} {unit} (blue: no answer is due)"
    return over_time(panels, title, phases)


def focus(
    trace: Trace,
    inputs: np.ndarray | None = None,
    phases: Sequence[Phase] = (),
    outputs: np.ndarray | None = None,
) -> Figure:
    """The weighting of every head at every step: slots against time.

    All heads share the axis of slots: those that any head visits, and one more at
    either end.

    Args:
      trace: of one sequence.
      inputs: `[T, I]`, to show above with the outputs.
      phases: to mark.
      outputs: `[T, O]`; None takes the trace's, after the sigmoid.
    """
    trace = of_one_sequence(trace)
    panels = []
    if inputs is not None:
        inputs = np.asarray(inputs)
        outputs = outputs_of(trace) if outputs is None else outputs
        panels += [
            Panel("input\nchannel", inputs, scale_of_inputs(inputs), 0.8),
            Panel("output\nchannel", outputs, scale_of("output", outputs), 0.8),
        ]
    weightings = dict(heads(trace))
    used = visited(*weightings.values())
    inches = min(max(0.05 * used.length, 0.8), 2.4)
    for name, weights in weightings.items():
        panels.append(
            Panel(f"{name}\nslot", used.part(weights), WEIGHTS, inches, True, used)
        )
    title = f"Where each head looks ({used.length:,} of {used.slots:,} slots)"
    return over_time(panels, title, phases)


def vectors(trace: Trace, phases: Sequence[Phase] = ()) -> Figure:
    """The vectors that each head adds, erases and reads at every step (figure 6).

    Args:
      trace: of one sequence.
      phases: to mark.
    """
    trace = of_one_sequence(trace)
    adds, erases, reads = map(
        np.asarray, (trace.writing.add, trace.writing.erase, trace.states.reads)
    )
    scale = signed("added or read", adds, reads)
    panels = [
        *of_each_head("write head", "adds", adds, scale),
        *of_each_head("read head", "reads", reads, scale),
        *of_each_head("write head", "erases", erases, WEIGHTS._replace(label="erased")),
    ]
    return over_time(panels, "What each head adds, reads and erases", phases)


def of_each_head(
    kind: str, does: str, values: np.ndarray, scale: Scale
) -> Iterator[Panel]:
    """A panel for each head of `[T, H, M]`."""
    for head in range(values.shape[1]):
        label = f"{kind} {head + 1}\n{does}"
        yield Panel(label, values[:, head], scale, 1.2)


@mpl.rc_context(STYLE)
def addressing(trace: Trace, phases: Sequence[Phase] = ()) -> Figure:
    """How each head moves: its gate, strength, sharpening and shift at every step.

    Args:
      trace: of one sequence.
      phases: to mark.
    """
    trace = of_one_sequence(trace)
    emitted = {"write head": trace.write, "read head": trace.read}
    each = [
        (f"{kind} {head + 1}", jax.tree.map(lambda leaf, i=head: leaf[:, i], of_kind))
        for kind, of_kind in emitted.items()
        for head in range(of_kind.gate.shape[1])
    ]
    inches = [1.2, 1.2, 1.2, *[0.9] * len(each)]
    figure, axes = time_axes(inches, "How each head moves", phases)
    lines, shifts = axes[:3], axes[3:]
    for own, field, label in zip(
        lines, ("gate", "strength", "gamma"), ("gate g", "strength β", "sharpening γ")
    ):
        for i, (name, of_head) in enumerate(each):
            look = _LINES[i // len(COLOURS) % len(_LINES)]
            colour = COLOURS[i % len(COLOURS)]
            own.plot(getattr(of_head, field), look, color=colour, label=name, lw=1)
        own.set_ylabel(label)
        own.grid(alpha=0.3)
        mark(own, phases)
    # From a little below the lowest possible value, so that a line there is visible.
    lines[0].set_ylim(-0.05, 1.05)
    for own, lowest in zip(lines[1:], (0, 1)):
        highest = max(own.get_ylim()[1], lowest + 1)
        own.set_ylim(lowest - 0.05 * (highest - lowest), highest)
    for own, (name, of_head) in zip(shifts, each):
        offsets(own, of_head.shift)
        own.set_ylabel(f"{name}\nshift")
        mark(own, phases)
    colour_bar(figure, shifts, WEIGHTS._replace(label="probability"))
    handles, labels = lines[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    return figure


def offsets(axes: Axes, shift: np.ndarray) -> None:
    """Draws a head's shift distribution `[T, S]`, with rows named -R to R."""
    image(axes, shift, WEIGHTS)
    reach = shift.shape[1] // 2
    names = [f"{i:+d}" if i else "0" for i in range(-reach, reach + 1)]
    axes.set_yticks(range(len(names)), names)


@mpl.rc_context(STYLE)
def memory(memory: np.ndarray | jax.Array, title: str = "Memory") -> Figure:
    """A memory `[N, M]`: elements against slots."""
    memory = np.asarray(memory)
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    scale = signed("content", memory)
    image(axes, memory, scale)
    axes.set(xlabel="slot", ylabel="element", title=title)
    colour_bar(figure, [axes], scale)
    return figure


def heads(trace: Trace) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the weightings `[T, N]` of every head, write heads first."""
    for kind, weights in (
        ("write head", trace.states.write_weights),
        ("read head", trace.states.read_weights),
    ):
        for head in range(weights.shape[1]):
            yield f"{kind} {head + 1}", np.asarray(weights[:, head])


def outputs_of(trace: Trace) -> np.ndarray:
    """`[T, O]`, after the sigmoid."""
    return np.asarray(jax.nn.sigmoid(trace.outputs))


def of_one_sequence(trace: Trace) -> Trace:
    """The trace as NumPy arrays.

    Raises:
      ValueError: if it has batch axes.
    """
    if trace.outputs.ndim != 2:
        raise ValueError(
            f"trace: got outputs of shape {list(trace.outputs.shape)}, want [T, "
            "output_size]: one sequence, jax.tree.map(lambda leaf: leaf[:, i], trace)"
        )
    return jax.device_get(trace)
