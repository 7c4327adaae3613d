"""TensorBoard events of a run: numbers, histograms and pictures of each seed."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter


class Events:
    """The event files in a folder; nothing is written before they are opened."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, SummaryWriter] = {}

    def open(self, seeds: Iterable[int], step: int) -> None:
        """Starts to write for these seeds; drops what was written after that step."""
        for seed in seeds:
            folder = str(self._folder / f"seed_{seed}")
            self._writers[seed] = SummaryWriter(folder, purge_step=step + 1)

    def scalars(self, step: int, named: Mapping[str, float], *, seed: int) -> None:
        """Adds numbers."""
        if writer := self._writers.get(seed):
            for name, value in named.items():
                writer.add_scalar(name, value, step)

    def histogram(self, step: int, name: str, values: np.ndarray, *, seed: int) -> None:
        """Adds the distribution of some numbers."""
        if writer := self._writers.get(seed):
            # The writer's bins end at 1e20.
            within = np.clip(np.asarray(values, np.float64), -1e19, 1e19)
            writer.add_histogram(name, within, step)

    def picture(self, step: int, name: str, pixels: np.ndarray, *, seed: int) -> None:
        """Adds an image `[height, width, 3]`."""
        if writer := self._writers.get(seed):
            writer.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        """Writes what is left and closes the files."""
        for writer in self._writers.values():
            writer.close()
