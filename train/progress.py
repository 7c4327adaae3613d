"""What a person sees while a machine learns: a live bar, or lines in a log file."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

_NUMBERS = (
    "loss {loss_bits:.4g} bits, {wrong_bits:.4g} wrong, per sequence; "
    "{rate:.0f} sequences/s"
)


class Progress:
    """A bar of updates on a terminal; elsewhere one line for every report."""

    def __init__(
        self, console: Console, total: int, done: int, title: str, seeds: int
    ) -> None:
        self._console = console
        self._seeds = seeds
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(
            title, total=total, completed=done, numbers="compiling"
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

    def report(self, step: int, total: int, solved: int, **numbers: float) -> None:
        """Shows how far the run is, with the numbers of its last report."""
        text = _NUMBERS.format(**numbers)
        if self._seeds > 1:
            text += f"; {solved} of {self._seeds} solved"
        self._bar.update(self._task, completed=step, total=total, numbers=text)
        if not self._console.is_terminal:
            self._console.print(f"step {step}/{total}: {text}")
