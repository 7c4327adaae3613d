"""The progress of training: a live bar on a terminal, lines in a log file."""

from collections.abc import Sequence
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from ntm_jax import tasks

# With more seeds than these, there is one line for all.
MOST_SEEDS = 20


class Progress:
    """A bar of updates on a terminal; elsewhere one line for each report."""

    def __init__(
        self,
        console: Console,
        total: int,
        done: int,
        seeds: int,
        targets: tasks.Targets = tasks.Bits(),  # noqa: B008
    ) -> None:
        self._console = console
        self._seeds = seeds
        self._unit = targets.unit
        self._loss_unit = " bits" * targets.loss_name.endswith("_bits")
        # Fits a terminal of 80 columns, with a bar that can still be seen.
        self._bar = Bar(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(
            "", total=total, completed=done, numbers="compiling"
        )

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def report(
        self,
        step: int,
        total: int,
        *,
        solved: int,
        polishing: bool = False,
        losses: Sequence[float],
        wrong: Sequence[float],
        rate: float,
    ) -> None:
        """Shows the progress of the run.

        Args:
          step: updates made.
          total: updates to make in all, as far as it is known.
          solved: seeds that have solved the task.
          polishing: whether all seeds have, so that only polishing is left.
          losses: of the answer, per sequence, of each seed that learns.
          wrong: wrong answers per sequence, of each.
          rate: sequences per second, of all seeds together.
        """
        loss, mean = float(np.mean(losses)), float(np.mean(wrong))
        numbers = f"loss {_short(loss)} wrong {_short(mean)} {self._unit}"
        numbers += f" {rate:.0f} seq/s"
        if self._seeds > 1:
            numbers += f" {solved} solved"
        self._bar.update(self._task, completed=step, total=total, numbers=numbers)
        if not self._console.is_terminal:
            line = (
                f"{'polishing, ' if polishing else ''}update {step} of {total}: "
                f"loss {loss:.4g}{self._loss_unit}, {mean:.4g} wrong {self._unit} "
                "per sequence; "
                f"{rate:.0f} sequences/s"
            )
            if self._seeds > 1:
                line += f"; {solved} of {self._seeds} solved"
            if self._seeds > MOST_SEEDS:
                low, middle, high = np.quantile(wrong, (0.1, 0.5, 0.9))
                line += (
                    f"; of {len(wrong)} that learn, a tenth has at most {low:.3g} "
                    f"wrong {self._unit}, half {middle:.3g}, nine tenths {high:.3g}"
                )
            self._console.print(line)


def _short(number: float) -> str:
    """Three digits, or all digits before the decimal point."""
    return f"{number:.3g}" if number < 1000 else f"{number:.0f}"
