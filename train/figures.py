"""Pictures of what a machine learned and of how it does it."""

import functools
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import numpy as np
from jax import Array, lax
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

import ntm_jax
from ntm_jax import NTMConfig, NTMState
from train.config import TrainConfig
from train.evaluate import evaluation_key, sample_each

PyTree = Any
_STYLE: dict[Any, Any] = {"font.size": 9, "axes.titlesize": 10, "figure.dpi": 150}
_NOT_DUE = "#cfe0f0"
_BITS: dict[str, Any] = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
_WEIGHTS: dict[str, Any] = {"cmap": "viridis", "vmin": 0, "vmax": 1}


def trace(params: PyTree, xs: Array, *, config: NTMConfig) -> tuple[NTMState, Array]:
    """The states after every step, stacked over time, and the outputs."""
    state = ntm_jax.initial_state(params, config)
    step = functools.partial(ntm_jax.step, params, config=config)

    def keep_state(state: NTMState, x: Array) -> tuple[NTMState, tuple]:
        state, y = step(state, x)
        return state, (state, y)

    return lax.scan(keep_state, state, xs)[1]


def draw_run(
    folder: Path,
    params: PyTree,
    config: TrainConfig,
    metrics: list[dict[str, Any]],
    difficulties: list[dict[str, int]],
) -> None:
    """All figures of a run, as PNG files in `folder`.

    A sequence of each difficulty is drawn: the first of those evaluated at the end.
    """
    figures = {"learning_curve": learning_curve(metrics, config)}
    run = jax.jit(functools.partial(trace, config=config.make_machine()))
    for difficulty in difficulties:
        key = jax.random.fold_in(evaluation_key(0), 0)[None]
        batch = sample_each(config.make_task(), key, **difficulty)
        inputs, targets, mask = (
            np.asarray(leaf[:, 0]) for leaf in (batch.inputs, batch.targets, batch.mask)
        )
        states, logits = jax.device_get(run(params, inputs))
        outputs = np.asarray(jax.nn.sigmoid(logits))
        size = "_".join(str(value) for value in difficulty.values())
        figures[f"answer_{size}"] = answer(inputs, targets, outputs, mask)
        figures[f"focus_{size}"] = focus(states, inputs, outputs)
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")


@mpl.rc_context(_STYLE)
def learning_curve(metrics: list[dict[str, Any]], config: TrainConfig) -> Figure:
    """Cost and wrong bits per sequence against the sequences seen."""
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for kind, field, label in (
        ("train", "loss_bits", "cost, training"),
        ("train", "wrong_bits", "wrong bits, training"),
        ("validation", "wrong_bits", "wrong bits, validation"),
    ):
        entries = [entry for entry in metrics if entry["kind"] == kind]
        axes.plot(
            [entry["step"] * config.batch_size / 1000 for entry in entries],
            [entry[field] for entry in entries],
            label=label,
            marker="o" if kind == "validation" else None,
            markersize=3,
        )
    # Linear near zero, so that a solved task (no wrong bit) can be seen.
    axes.set_yscale("symlog", linthresh=0.1, linscale=0.3)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("sequences seen (thousands)")
    axes.set_ylabel("bits per sequence")
    axes.set_title(f"Learning {config.task.replace('_', ' ')}, seed {config.seed}")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


@mpl.rc_context(_STYLE)
def answer(
    inputs: np.ndarray, targets: np.ndarray, outputs: np.ndarray, mask: np.ndarray
) -> Figure:
    """Input, target, output and error of one sequence, side by side over time.

    Args:
      inputs: `[T, I]`.
      targets: `[T, O]`.
      outputs: `[T, O]`, after the sigmoid.
      mask: `[T]`, where an answer is due; the rest of the answer is left out (blue).
    """
    due = mask[:, None]
    wrong = int(np.sum(due & ((outputs > 0.5) != (targets > 0.5))))
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
    all_axes[0].set_title(f"{wrong} wrong of {int(mask.sum()) * targets.shape[1]} bits")
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
