"""Pictures of what a machine learned and of how it does it."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

import ntm_jax
import tasks
from ntm_jax import NTMState
from train.config import TrainConfig
from train.measure import evaluation_key, sample_each
from train.model import NTM

PyTree = Any
_STYLE: dict[Any, Any] = {"font.size": 9, "axes.titlesize": 10, "figure.dpi": 150}
_NOT_DUE = "#cfe0f0"
_BITS: dict[str, Any] = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
_WEIGHTS: dict[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": 1}


def draw_run(
    folder: Path,
    params: PyTree,
    config: TrainConfig,
    metrics: list[dict[str, Any]],
    difficulties: Sequence[dict[str, int]],
) -> None:
    """All figures of a run, as PNG files in `folder`.

    Of the machine with these `params`, a sequence of each difficulty is drawn: the
    first of those evaluated at the end. The learning curve is of all seeds.
    """
    figures = {"learning_curve": learning_curve(metrics, config)}
    model = config.make_model()
    answer_to = jax.jit(model.logits)
    for difficulty in difficulties:
        key = jax.random.fold_in(evaluation_key(0), 0)[None]
        batch = sample_each(config.make_task(), key, **difficulty)
        inputs, targets, mask = (
            np.asarray(leaf[:, 0]) for leaf in (batch.inputs, batch.targets, batch.mask)
        )
        logits = answer_to(params, batch.inputs)[:, 0]
        outputs = np.asarray(jax.nn.sigmoid(logits))
        size = "_".join(str(value) for value in difficulty.values())
        wrong = int(tasks.wrong_bits(logits[:, None], batch)[0])
        figures[f"answer_{size}"] = answer(inputs, targets, outputs, mask, wrong)
        if isinstance(model, NTM):
            run = functools.partial(ntm_jax.trace, config=model.config)
            trace = jax.device_get(jax.jit(run)(params, inputs))
            figures[f"focus_{size}"] = focus(trace.states, inputs, outputs)
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")


@mpl.rc_context(_STYLE)
def learning_curve(metrics: list[dict[str, Any]], config: TrainConfig) -> Figure:
    """Loss and wrong bits per sequence against the sequences seen.

    Of several seeds, each is a thin line and their median a thick one.
    """
    figure, axes = error_axes((6, 3.5))
    for colour, (kind, field, label) in enumerate(
        (
            ("train", "loss_bits", "loss, training"),
            ("train", "wrong_bits", "wrong bits, training"),
            ("validation", "error", f"{config.make_task().error_name}, validation"),
        )
    ):
        look: dict[str, Any] = {"color": f"C{colour}"}
        if kind == "validation":
            look |= {"marker": "o", "markersize": 3}
        curves = _curves(metrics, config, kind, field)
        if config.num_seeds > 1:
            for steps, values in curves:
                axes.plot(_thousands(steps, config), values, alpha=0.25, lw=0.5, **look)
            steps, values = median_curve(curves)
            label = f"{label}, median"
        else:
            steps, values = curves[0]
        axes.plot(_thousands(steps, config), values, label=label, **look)
    axes.set_xlabel("sequences seen (thousands)")
    axes.set_ylabel("bits per sequence")
    axes.set_title(f"Learning {config.title()}")
    axes.legend()
    leave_room(axes)
    return figure


def leave_room(axes: Axes) -> None:
    """So that the highest point, once all are drawn, is not on the frame."""
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])


def error_axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    """A figure, inches wide and high, with axes for errors from 0 to many."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    # Linear near zero, so that a solved task (no wrong bit) can be seen.
    axes.set_yscale("symlog", linthresh=0.1, linscale=0.3)
    # From zero up to whatever is drawn: limits set now would not follow the curves.
    axes.axhline(0, visible=False)
    axes.set_ymargin(0)
    axes.grid(alpha=0.3)
    return figure, axes


def _curves(
    metrics: list[dict[str, Any]], config: TrainConfig, kind: str, field: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Updates and values of every seed."""
    entries = [entry for entry in metrics if entry["kind"] == kind]
    return [
        (
            np.asarray([entry["step"] for entry in entries if entry["seed"] == seed]),
            np.asarray([entry[field] for entry in entries if entry["seed"] == seed]),
        )
        for seed in config.seeds()
    ]


def median_curve(
    curves: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Over the seeds; one that has ended counts with its last value."""
    steps = np.unique(np.concatenate([steps for steps, _ in curves]))
    held = [
        values[np.clip(np.searchsorted(own, steps, "right") - 1, 0, None)]
        for own, values in curves
        if len(own)
    ]
    return steps, np.median(held, axis=0)


def _thousands(steps: np.ndarray, config: TrainConfig) -> np.ndarray:
    """Thousands of sequences seen in so many updates."""
    return steps * config.batch_size / 1000


@mpl.rc_context(_STYLE)
def answer(
    inputs: np.ndarray,
    targets: np.ndarray,
    outputs: np.ndarray,
    mask: np.ndarray,
    wrong: int,
) -> Figure:
    """Input, target, output and error of one sequence, side by side over time.

    Args:
      inputs: `[T, I]`.
      targets: `[T, O]`.
      outputs: `[T, O]`, after the sigmoid.
      mask: `[T]`, where an answer is due; the rest of the answer is left out (blue).
      wrong: bits of the answer.
    """
    due = mask[:, None]
    rows = {
        "input": inputs,
        "target": np.where(due, targets, np.nan),
        "output": np.where(due, outputs, np.nan),
        "error": np.where(due, np.abs(outputs - targets), np.nan),
    }
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    all_axes = figure.subplots(len(rows), sharex=True)
    for axes, (name, values) in zip(all_axes, rows.items()):
        axes.imshow(values.T, aspect="auto", interpolation="nearest", **_BITS)
        axes.set_facecolor(_NOT_DUE)
        axes.set_ylabel(f"{name}\nchannel")
    bits = int(mask.sum()) * targets.shape[1]
    all_axes[0].set_title(f"{wrong} wrong of {bits} bits (blue: no answer is due)")
    all_axes[-1].set_xlabel("time step")
    figure.colorbar(_unit_scale(_BITS), ax=all_axes, label="value", aspect=40)
    return figure


@mpl.rc_context(_STYLE)
def focus(states: NTMState, inputs: np.ndarray, outputs: np.ndarray) -> Figure:
    """Where every head looks, step by step: slots against time.

    Args:
      states: of every step, `[T, ...]`.
      inputs: `[T, I]`.
      outputs: `[T, O]`, after the sigmoid.
    """
    heads = [
        *(
            (f"write head {head + 1}", states.write_weights[:, head])
            for head in range(states.write_weights.shape[1])
        ),
        *(
            (f"read head {head + 1}", states.read_weights[:, head])
            for head in range(states.read_weights.shape[1])
        ),
    ]
    figure = Figure(figsize=(8, 2 + 2.6 * len(heads)), layout="constrained")
    ratios = [1, 1] + [3] * len(heads)
    all_axes = figure.subplots(len(ratios), sharex=True, height_ratios=ratios)
    for axes, name, values in zip(all_axes, ("input", "output"), (inputs, outputs)):
        axes.imshow(values.T, aspect="auto", interpolation="nearest", **_BITS)
        axes.set_ylabel(f"{name}\nchannel")
    for axes, (name, weights) in zip(all_axes[2:], heads):
        axes.imshow(
            weights.T,
            aspect="auto",
            interpolation="nearest",
            origin="lower",
            **_WEIGHTS,
        )
        axes.set_ylabel(f"{name}\nslot")
    all_axes[0].set_title("Where each head looks")
    all_axes[-1].set_xlabel("time step")
    figure.colorbar(_unit_scale(_WEIGHTS), ax=all_axes[2:], label="weight", aspect=40)
    return figure


def _unit_scale(look: dict[str, Any]) -> ScalarMappable:
    """What the colours of an image mean, 0 to 1, for a colour bar."""
    return ScalarMappable(Normalize(look["vmin"], look["vmax"]), look["cmap"])
