"""The thread that sees new checkpoints and has weights and pages made of them.

A run keeps its newest checkpoints only. The watcher reads each as it comes, so that
the page can show how the machine has changed.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from .kept import Kept
from .maker import Maker, MakerError
from .refused import RefusedError, missing, not_yet
from .runs import Run, Runs

# For so long after a request, pages of a run are made; in seconds.
_SHOWN_FOR = 30.0
# Between looks for new checkpoints.
_PAUSE = 0.5
# Of all that is kept.
_MOST_BYTES = 300_000_000

Job = Callable[[], None]


class Watcher:
    """Keeps the checkpoints of the runs that somebody looks at.

    A single run is watched from the start; its pages are made when they are looked at.
    """

    def __init__(self, runs: Runs, maker: Maker) -> None:
        self._runs = runs
        self._maker = maker
        self._kept: dict[str, Kept] = {}
        self._asked: dict[str, float] = {}
        self._wake = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begins to watch."""
        self._thread.start()

    def close(self) -> None:
        """Ends, with the worker."""
        self._ending = True
        self._wake.set()
        self._maker.close()

    def kept(self, run: Run) -> Kept:
        """What is kept of a run, which somebody looks at from now on."""
        if not self._is_shown(run.name):
            self._wake.set()
        self._asked[run.name] = time.monotonic()
        return self._kept.setdefault(run.name, Kept())

    def page(self, run: Run, step: int | None) -> bytes:
        """The page of a checkpoint, by default of the newest that has one.

        Raises:
          RefusedError: if there is no such checkpoint, or its page is being made.
        """
        kept = self.kept(run)
        step = kept.newest_page() if step is None else step
        page = None if step is None else kept.pages.get(step)
        return page if page is not None else self._refuse(run, kept, step)

    def weights(self, run: Run, step: int | None) -> tuple[int, bytes]:
        """The step and the weights of a checkpoint, by default the newest.

        Raises:
          RefusedError: if there is no such checkpoint, or it is being read.
        """
        kept = self.kept(run)
        if step is None:
            step = max([*kept.weights, *run.checkpoints()], default=None)
        weights = None if step is None else kept.weights.get(step)
        if step is None or weights is None:
            self._refuse(run, kept, step)
        return step, weights

    def sequence(self, run: Run) -> bytes:
        """The sequence of the kept answers, as JSON.

        Raises:
          RefusedError: if it cannot be made, or is being made.
        """
        kept = self.kept(run)
        if kept.sequence is None:
            run.check_there()
            if None in kept.problems:
                raise RefusedError(500, kept.problems[None])
            raise not_yet("sequence: is being made; ask again in a few seconds")
        return kept.sequence

    def _refuse(self, run: Run, kept: Kept, step: int | None) -> NoReturn:
        steps = sorted({*kept.weights, *run.checkpoints()})
        if not steps:
            run.check_there()
            raise missing("step: the run has no checkpoint yet")
        if step is not None and step not in steps:
            of = ", ".join(map(str, steps[-20:]))
            raise missing(f"step: got {step}, want one of {of}")
        if step in kept.problems:
            raise RefusedError(500, kept.problems[step])
        raise not_yet("step: is being made; ask again in a few seconds")

    def _is_shown(self, name: str) -> bool:
        asked = self._asked.get(name)
        return asked is not None and time.monotonic() - asked < _SHOWN_FOR

    def _work(self) -> None:
        while not self._ending:
            if (job := self._next_job()) is not None:
                job()
            else:
                self._wake.wait(_PAUSE)
                self._wake.clear()

    def _next_job(self) -> Job | None:
        """Checkpoints first, as they can vanish; then what is looked at."""
        for find in (self._to_read, self._to_make):
            for name, run in {**self._runs.all()}.items():
                shown = self._is_shown(name)
                if shown or (self._runs.single and find == self._to_read):
                    # A run can vanish meanwhile.
                    with contextlib.suppress(RefusedError, OSError):
                        kept = self._kept.setdefault(name, Kept())
                        if (job := find(run, kept)) is not None:
                            return job
        return None

    def _to_read(self, run: Run, kept: Kept) -> Job | None:
        kept.check_same(run.config())
        on_disk = run.checkpoints()
        if on_disk:
            kept.drop_after(on_disk[-1])
        for step in reversed(on_disk):
            if step not in kept.weights and step not in kept.problems:
                return functools.partial(self._read, run, kept, step)
        return None

    def _to_make(self, run: Run, kept: Kept) -> Job | None:
        if kept.sequence is None and None not in kept.problems and run.config():
            return functools.partial(self._make_sequence, run, kept)
        for step in kept.without_pages():
            return functools.partial(self._draw, run, kept, step)
        return None

    def _read(self, run: Run, kept: Kept, step: int) -> None:
        try:
            if not run.stays_inside(step):
                raise MakerError(f"step {step}: leads out of the folder that is served")
            kept.weights[step] = self._maker.do("weights", run.path, step=step)
        except MakerError as error:
            if step in run.checkpoints():  # or it was removed meanwhile
                kept.problems[step] = str(error)
        while len(kept.weights) > 2 and self._size() > _MOST_BYTES:
            kept.thin()

    def _draw(self, run: Run, kept: Kept, step: int) -> None:
        content = kept.weights[step]
        try:
            kept.pages[step] = self._maker.do("page", run.path, content, step=step)
        except MakerError as error:
            kept.problems[step] = str(error)

    def _make_sequence(self, run: Run, kept: Kept) -> None:
        try:
            kept.sequence = self._maker.do("sequence", run.path)
        except MakerError as error:
            kept.problems[None] = str(error)

    def _size(self) -> int:
        return sum(kept.size() for kept in self._kept.values())
