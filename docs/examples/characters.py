"""Characters of a text file: at each step the next byte."""

import dataclasses
from pathlib import Path

import numpy as np

from ntm_jax import tasks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Characters(tasks.DatasetTask):
    """Windows of a text, which follow each other without a gap."""

    path: Path
    window: int = 32

    inputs = tasks.Tokens(256)
    targets = tasks.Categories(256)

    def data(self, split):
        """Each window, with the window one byte later as its targets."""
        text = np.frombuffer(self.path.read_bytes(), np.uint8)
        starts = np.arange(0, len(text) - self.window, self.window)
        windows = text[starts[:, None] + np.arange(self.window + 1)]
        return tasks.Arrays(windows[:, :-1], windows[:, 1:]).part(split)
