"""What the server keeps of the checkpoints of a run, which itself keeps only a few."""

from collections.abc import Iterator
from typing import Any


class Kept:
    """Weights and pages of one run by their steps, and its sequence; all as bytes.

    Attributes:
      weights: files of safetensors.
      pages: made of these weights.
      sequence: that of the kept answers, as JSON, once it is known.
      problems: why there is none, by step; of the sequence, by None.
    """

    def __init__(self) -> None:
        self.weights: dict[int, bytes] = {}
        self.pages: dict[int, bytes] = {}
        self.sequence: bytes | None = None
        self.problems: dict[int | None, str] = {}
        self._config: dict[str, Any] | None = None

    def check_same(self, config: dict[str, Any]) -> None:
        """Drops everything if it is of another run, which was in the folder before."""
        config = {**config, "steps": None}  # which a run can raise
        if self._config not in (None, config):
            self.weights.clear()
            self.pages.clear()
            self.sequence = None
            self.problems.clear()
        self._config = config

    def size(self) -> int:
        """In bytes."""
        return sum(map(len, (*self.weights.values(), *self.pages.values())))

    def newest_page(self) -> int | None:
        """The step of the newest page; None if there is none."""
        return max(self.pages, default=None)

    def without_pages(self) -> Iterator[int]:
        """The steps whose page is still to be made, the newest first."""
        for step in sorted(self.weights, reverse=True):
            if step not in self.pages and step not in self.problems:
                yield step

    def drop_after(self, step: int) -> None:
        """Drops what a run made that has since gone back to that step."""
        for later in [kept for kept in self.weights if kept > step]:
            del self.weights[later]
            self.pages.pop(later, None)

    def thin(self) -> None:
        """Drops every other checkpoint, but neither the first nor the last."""
        for step in sorted(self.weights)[1:-1:2]:
            del self.weights[step]
            self.pages.pop(step, None)
