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
from ..words import Words
from .ring import visited
from .style import (
    COLOURS,
    STYLE,
    WEIGHTS,
    Panel,
    Scale,
    WordRow,
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
    words: Words | None = None,
) -> Figure:
    """Input, target, output and error of one sequence, over time.

    In words, if there are any; then wrong outputs are marked, and the error is the cost
    of the target in bits.

    Args:
      inputs: `[T, I]`.
      targets: `[T, O]`.
      outputs: `[T, O]`: probabilities, or real numbers.
      mask: `[T]`, where an answer is due; other steps of the answer stay blue.
      wrong: how much of the answer is wrong.
      phases: to mark.
      answers: how much there is; None counts the targets.
      unit: what `wrong` and `answers` count.
      words: of the sequence.
    """
    if answers is None:
        answers = int(mask.sum()) * targets.shape[1]
    result = f"{wrong} wrong of {answers} {unit}"
    due = np.asarray(mask)[:, None]
    if words is not None:
        costs = np.where(due, cost_bits(outputs, targets), np.nan)
        return over_time(
            [
                WordRow("input", words.inputs),
                WordRow("target", words.targets),
                WordRow("output", words.outputs, words.wrong()),
                Panel(
                    "cost", costs, Scale("bits", "viridis", 0, np.nanmax(costs)), 0.6
                ),
            ],
            f"{result} (marked; the output is the most probable one)",
            phases,
        )
    panels = [Panel("input\nchannel", inputs, scale_of_inputs(inputs))]
    shown = {
        "target": targets,
        "output": outputs,
        "error": np.abs(outputs - targets),
    }
    scale = scale_of("value", *(values[mask] for values in shown.values()))
    for name, values in shown.items():
        panels.append(Panel(f"{name}\nchannel", np.where(due, values, np.nan), scale))
    return over_time(panels, f"{result} (blue: no answer is due)", phases)


def cost_bits(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The cost `[T, 1]` of one-hot targets `[T, O]`, of which these are predictions."""
    of_target = (outputs * targets).sum(axis=-1, keepdims=True)
    return -np.log2(np.maximum(of_target, np.finfo(np.float32).tiny))


def focus(
    trace: Trace,
    inputs: np.ndarray | None = None,
    phases: Sequence[Phase] = (),
    outputs: np.ndarray | None = None,
    *,
    words: Words | None = None,
) -> Figure:
    """The weighting of every head at every step: slots against time.

    All heads share the axis of slots: those that any head visits, and one more at
    either end.

    Args:
      trace: of one sequence.
      inputs: `[T, I]`, to show above with the outputs.
      phases: to mark.
      outputs: `[T, O]`; None takes the trace's, after the sigmoid.
      words: of the sequence, to show instead of inputs and outputs.
    """
    trace = of_one_sequence(trace)
    panels: list[Panel | WordRow] = []
    if words is not None:
        panels += [WordRow("input", words.inputs), WordRow("output", words.outputs)]
    elif inputs is not None:
        inputs = np.asarray(inputs)
        outputs = outputs_of(trace) if outputs is None else outputs
        panels += [
            Panel("input\nchannel", inputs, scale_of_inputs(inputs), 0.8),
            Panel("output\nchannel", outputs, scale_of("output", outputs), 0.8),
        ]
    title, weightings = weighting_panels(trace)
    return over_time([*panels, *weightings], title, phases)


@mpl.rc_context(STYLE)
def writing(
    trace: Trace,
    inputs: Sequence[str],
    written: Sequence[str],
    asked: Sequence[bool],
    phases: Sequence[Phase] = (),
) -> Figure:
    """The weighting of every head while a text is written: slots against characters.

    Args:
      trace: of one sequence.
      inputs: the words of the inputs, `[T]`.
      written: what is written at each step, `[T]`.
      asked: whether it was asked for, `[T]`; such words are marked.
      phases: to mark: what is asked, then each line.
    """
    title, weightings = weighting_panels(of_one_sequence(trace))
    rows = [WordRow("input", inputs), WordRow("writes", written, asked)]
    return over_time([*rows, *weightings], f"{title}; marked: asked for", phases)


def weighting_panels(trace: Trace) -> tuple[str, list[Panel]]:
    """A title, and the weighting of each head in a panel."""
    weightings = dict(heads(trace))
    used = visited(*weightings.values())
    inches = min(max(0.05 * used.length, 0.8), 2.4)
    panels = [
        Panel(f"{name}\nslot", used.part(weights), WEIGHTS, inches, True, used)
        for name, weights in weightings.items()
    ]
    title = f"Where each head looks ({used.length:,} of {used.slots:,} slots)"
    return title, panels


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
