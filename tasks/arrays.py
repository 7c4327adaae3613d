"""Sequences in arrays, and the parts of them to train and to evaluate with.

>>> xs, ys = np.zeros((100, 5, 2)), np.ones((100, 5), int)  # 100 sequences of 5 steps
>>> len(Arrays(xs, ys).part("train")), len(Arrays(xs, ys).part("evaluation"))
(80, 10)
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

Split = Literal["train", "validation", "evaluation"]
SPLITS: tuple[Split, ...] = ("train", "validation", "evaluation")
# Of a number of sequences in `Arrays.part`; the rest is for training.
_HELD_OUT = 0.1


class Example(NamedTuple):
    """One sequence.

    Attributes:
      inputs: `[t, *step_shape]`, as the task's `inputs` say.
      targets: `[t, *step_shape]`, as its `targets` say.
      mask: bool `[t]`, True where an answer is due; None for all steps.
    """

    inputs: Any
    targets: Any
    mask: Any = None


class Arrays(Sequence[Example]):
    """Sequences in arrays, with the number of the sequence as their first axis.

    Args:
      xs: inputs `[n, T, ...]`.
      ys: targets `[n, T, ...]`.
      lengths: int `[n]`, the steps of each sequence; None for T. What is after them can
        be anything, such as NaN.
      mask: bool `[n, T]`, where an answer is due; None for all steps.

    Raises:
      ValueError: if the shapes do not fit each other, or the mask is not of bools.
    """

    def __init__(self, xs: Any, ys: Any, lengths: Any = None, mask: Any = None) -> None:
        self.xs, self.ys = np.asarray(xs), np.asarray(ys)
        size = self.xs.shape[:2]
        given = np.ones(size, bool) if mask is None else np.asarray(mask)
        for name, shape in (("ys", self.ys.shape[:2]), ("mask", given.shape)):
            if len(size) < 2 or shape != size:
                raise ValueError(
                    f"{name}: got shape {list(shape)} for xs {list(self.xs.shape)}, "
                    "want both to begin with [sequences, steps]"
                )
        if given.dtype != bool:
            raise ValueError(f"mask: got {given.dtype}, want bool")
        self.mask = given
        if lengths is not None:
            lengths = np.asarray(lengths)
            if lengths.shape != size[:1] or lengths.dtype.kind not in "iu":
                raise ValueError(
                    f"lengths: got {lengths.dtype}{list(lengths.shape)}, want integers "
                    f"[{size[0]}], one for each sequence"
                )
            if lengths.min(initial=1) < 1 or lengths.max(initial=1) > size[1]:
                raise ValueError(
                    f"lengths: got {lengths.min()} to {lengths.max()}, want from 1 to "
                    f"{size[1]}, the steps of xs"
                )
            inside = np.arange(size[1]) < lengths[:, None]
            self.mask = given & inside
            self.xs = self.xs.copy()
            self.xs[~inside] = 0

    def __len__(self) -> int:
        return len(self.xs)

    def __getitem__(self, index: Any) -> Any:
        return Example(self.xs[index], self.ys[index], self.mask[index])

    def part(self, split: Split) -> "Arrays":
        """A random tenth for validation, another for evaluation, the rest to train."""
        order = np.random.default_rng(0).permutation(len(self))
        held = max(1, round(_HELD_OUT * len(self)))
        own = {
            "validation": order[:held],
            "evaluation": order[held : 2 * held],
            "train": order[2 * held :],
        }[split]
        return Arrays(self.xs[own], self.ys[own], mask=self.mask[own])
