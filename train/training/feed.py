"""The batches of a task with data, read while the devices compute."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import jax
import numpy as np

from ntm_jax import tasks
from ntm_jax.tasks import outside, padded, round_up

from ..cluster.together import agreed, largest
from ..runs.config import TrainConfig
from .devices import joined, own_of
from .loop import updates_of_call
from .state import mesh_of


class Feed:
    """Batches for the calls of `train`; one call ahead, a thread reads them.

    They depend on the seeds and on the number of the update alone. Of several
    processes, each reads what its devices need.
    """

    def __init__(self, config: TrainConfig, step: int) -> None:
        task = config.make_task()
        assert isinstance(task, tasks.DataTask)
        self._mesh = mesh_of(config)
        own = own_of(self._mesh, config.num_seeds)
        share = tasks.Share(own.part, own.parts)
        self._streams = [
            task.stream(seed, config.batch_size, step, share)
            for seed in config.seeds()[own.seeds]
        ]
        self._config, self._step = config, step
        self._reader = ThreadPoolExecutor(max_workers=1)
        self._read: Future[tasks.Batch] = self._start()

    def next(self) -> tasks.Batch:
        """The batches of the next call, `[S, num_steps, T, B, ...]`.

        Raises:
          DataError: if there are none, they do not fit the task, or its code raises.
          ValueError: if that is so in another process.
        """
        batches = agreed(self._result)
        self._step += batches.mask.shape[1]
        if self._step < self._config.steps:
            self._read = self._start()
        longest = largest(batches.mask.shape[2])
        return joined(padded(batches, longest, axis=2), self._mesh)

    def close(self) -> None:
        """Ends the reading."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> "Future[tasks.Batch]":
        num_steps = updates_of_call(self._config, self._step)
        return self._reader.submit(self._stack, num_steps)

    def _result(self) -> tasks.Batch:
        with _in_words(self._config.make_task()):
            return self._read.result()

    def _stack(self, num_steps: int) -> tasks.Batch:
        of_all = [[next(one) for _ in range(num_steps)] for one in self._streams]
        return stacked(of_all)


def stacked(batches: Sequence[Sequence[tasks.Batch]]) -> tasks.Batch:
    """Batches of every seed as one, `[S, n, T, B, ...]`, padded to the longest."""
    longest = max(len(batch.mask) for of_one in batches for batch in of_one)
    same = [[padded(batch, round_up(longest)) for batch in row] for row in batches]
    rows = [jax.tree.map(lambda *leaves: np.stack(leaves), *row) for row in same]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def held_out(task: tasks.DataTask, split: tasks.Split, count: int) -> tasks.Batch:
    """As `task.held_out`, padded as the batches of training are.

    Raises:
      DataError: as `Feed.next` does.
    """
    with _in_words(task):
        batch = task.held_out(split, count)
    return padded(batch, round_up(len(batch.mask)))


@contextmanager
def _in_words(task: tasks.Task) -> Iterator[None]:
    """Raises what the code of a task raises as a `DataError`."""
    try:
        yield
    except tasks.DataError:
        raise
    except outside.ERRORS as error:
        name = type(task).__name__
        raise tasks.DataError(f"{name}: {outside.in_words(error)}") from error
