"""What a person sees while a machine learns: a live bar, or lines in a log file."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar


class Progress:
    """A bar of updates on a terminal; elsewhere one line for every report."""

    def __init__(self, console: Console, total: int, done: int, seeds: int) -> None:
        self._console = console
        self._seeds = seeds
        # No wider than the usual terminal of 80 columns, with a bar that can be seen.
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
        loss_bits: float,
        wrong_bits: float,
        rate: float,
    ) -> None:
        """Shows how far the run is.

        Args:
          step: updates made.
          total: updates to make in all, as far as is known.
          solved: seeds that have solved the task.
          loss_bits: what an answer costs, per sequence.
          wrong_bits: per sequence.
          rate: sequences per second, of all seeds together.
        """
        loss, wrong = (_short(bits) for bits in (loss_bits, wrong_bits))
        numbers = f"loss {loss} wrong {wrong} bits {rate:.0f} seq/s"
        if self._seeds > 1:
            numbers += f" {solved} solved"
        self._bar.update(self._task, completed=step, total=total, numbers=numbers)
        if not self._console.is_terminal:
            line = (
                f"step {step}/{total}: loss {loss_bits:.4g} bits, {wrong_bits:.4g} "
                f"wrong, per sequence; {rate:.0f} sequences/s"
            )
            if self._seeds > 1:
                line += f"; {solved} of {self._seeds} solved"
            self._console.print(line)


def _short(number: float) -> str:
    """Three digits, or all before the point."""
    return f"{number:.3g}" if number < 1000 else f"{number:.0f}"
