"""Predictions of the next bit, beside the best possible ones (figure 14)."""

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from .style import COLOURS, STYLE


@mpl.rc_context(STYLE)
def prediction(
    targets: np.ndarray, outputs: np.ndarray, optimum: np.ndarray, mask: np.ndarray
) -> Figure:
    """The predicted probability of a 1 at every step: the machine and the optimum.

    Args:
      targets: `[T]`, the bits of the sequence.
      outputs: `[T]`, the probabilities of the machine.
      optimum: `[T]`, the probabilities of the best possible predictor.
      mask: `[T]`, where a prediction counts.
    """
    figure = Figure(figsize=(8, 4), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=[2, 1])
    steps = np.flatnonzero(mask)
    above.plot(
        steps, optimum[steps], color=COLOURS[1], lw=2, label="best possible prediction"
    )
    above.plot(steps, outputs[steps], color=COLOURS[0], lw=1, label="machine")
    above.plot(steps, targets[steps], "k|", ms=4, alpha=0.6, label="actual bit")
    above.set(ylabel="probability of a 1", ylim=(-0.05, 1.05))
    costs = cost_bits(outputs, targets) - cost_bits(optimum, targets)
    below.plot(steps, costs[steps], color="k", lw=0.8)
    below.set(ylabel="bits above\nthe optimum", xlabel="time step")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.set_xlim(-0.5, len(targets) - 0.5)
    # On one sequence a predictor can be below the optimum by chance, not on average.
    more = costs[steps].sum()
    where = "above" if more >= 0 else "below"
    above.set_title(
        f"Predictions of the next bit: {abs(more):.2f} bits {where} the optimum on "
        "this sequence",
        loc="left",
    )
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def cost_bits(probability: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The cost of a prediction, given the bit."""
    right = np.where(bits > 0.5, probability, 1 - probability)
    return -np.log2(np.maximum(right, np.finfo(np.float32).tiny))
