"""Nearest neighbour: from pairs of a point and a label, the label of a new point."""

import dataclasses

import numpy as np

from ntm_jax import tasks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nearest(tasks.DatasetTask):
    """Points in a square, each with one of three labels; then a point without one."""

    pairs: int = 5
    sequences: int = 2000

    inputs = tasks.Vectors(6)
    targets = tasks.Categories(3)

    def data(self, split):
        """All sequences are made once, as arrays of NumPy."""
        draw = np.random.default_rng(0)
        points = draw.uniform(-1, 1, (self.sequences, self.pairs + 1, 2))
        labels = draw.integers(3, size=(self.sequences, self.pairs + 1))
        asked = np.zeros((self.sequences, self.pairs + 1), bool)
        asked[:, -1] = True
        one_hot = np.eye(3)[labels] * ~asked[..., None]
        xs = np.concatenate([points, one_hot, asked[..., None]], axis=-1)
        distances = np.linalg.norm(points[:, :-1] - points[:, -1:], axis=-1)
        rows = np.arange(self.sequences)
        ys = np.zeros_like(labels)
        ys[:, -1] = labels[rows, distances.argmin(axis=1)]
        return tasks.Arrays(xs, ys, mask=asked).part(split)
