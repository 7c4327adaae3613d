"""TensorBoard events of a run: numbers, histograms and pictures of each seed."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import (
    Event,  # type: ignore[attr-defined]
    SessionLog,  # type: ignore[attr-defined]
)

# The most seeds with events.
MOST_SHOWN = 100
_LARGEST = 1e19
# TensorFlow's, each a tenth wider than the one before.
_WIDTHS = 1e-12 * 1.1 ** np.arange(774)
_BINS = [*-_WIDTHS[::-1], 0.0, *_WIDTHS]


class Events:
    """The event files in a folder; nothing is written before they are opened.

    They are written here and now. TensorboardX's own `SummaryWriter` has a thread for
    this, which ends at the first error, such as a full disk, and is then waited for
    without end.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, EventsWriter] = {}

    def open(self, seeds: Sequence[int], step: int) -> None:
        """Starts to write for these seeds; drops what was written after that step.

        Of very many seeds, only the first: each has a file that stays open.
        """
        for seed in seeds[:MOST_SHOWN]:
            folder = self._folder / f"seed_{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            self._writers[seed] = EventsWriter(str(folder / "events"))
            start = SessionLog(status=SessionLog.START)
            self._write(seed, step + 1, session_log=start)

    def scalars(self, step: int, named: Mapping[str, float], *, seed: int) -> None:
        """Adds numbers."""
        for name, value in named.items():
            self._write(seed, step, summary=summary.scalar(name, value))

    def histogram(self, step: int, name: str, values: np.ndarray, *, seed: int) -> None:
        """Adds the distribution of some numbers."""
        within = np.clip(np.asarray(values, np.float64), -_LARGEST, _LARGEST)
        made = summary.histogram(name, within, _BINS)
        self._write(seed, step, summary=made)

    def picture(self, step: int, name: str, pixels: np.ndarray, *, seed: int) -> None:
        """Adds an image `[height, width, 3]`."""
        made = summary.image(name, pixels, dataformats="HWC")
        self._write(seed, step, summary=made)

    def flush(self) -> None:
        """Writes what is left, for a TensorBoard that is open."""
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Writes what is left and closes the files."""
        while self._writers:
            _, writer = self._writers.popitem()
            try:
                writer.close()
            except OSError:  # of a full disk, on which the file must be closed too
                with contextlib.suppress(OSError):
                    writer._py_recordio_writer.close()

    def _write(self, seed: int, step: int, **content: object) -> None:
        if writer := self._writers.get(seed):
            event = Event(step=step, wall_time=time.time(), **content)
            writer.write_event(event)
