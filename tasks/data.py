"""Tasks on data of your own: arrays, anything with indices, or a stream of batches.

The sequences come from the host. Their order depends on the seed and on the number of
the update alone, so that a run that was stopped goes on at the same place.
"""

import abc
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jax import Array

from . import fit
from .arrays import Arrays, Example, Split
from .inputs import Tokens
from .targets import Categories
from .task import Batch, Range, Task


class DataError(ValueError):
    """The data of a task ended, do not fit, or could not be read."""


@dataclasses.dataclass(frozen=True)
class Share:
    """What one of several processes has of a batch: one of `count` equal parts."""

    index: int = 0
    count: int = 1

    def of(self, batch_size: int) -> slice:
        """The places of its sequences in a batch.

        >>> Share(1, 4).of(12)
        slice(3, 6, None)
        """
        size = batch_size // self.count
        return slice(self.index * size, (self.index + 1) * size)


class DataTask(Task):
    """A task whose sequences come from the host. Its batches are arrays of NumPy."""

    @abc.abstractmethod
    def stream(
        self,
        seed: int,
        batch_size: int,
        start: int = 0,
        share: Share = Share(),
    ) -> Iterator[Batch]:
        """The training batches of a seed, from that of the update `start` on.

        Args:
          seed: decides the order.
          batch_size: B, of all processes together.
          start: the updates made so far.
          share: what this process has of each batch.

        Raises:
          DataError: when there are no more, or a batch does not fit the task.
        """

    @abc.abstractmethod
    def held_out(self, split: Split, count: int) -> Batch:
        """The first `count` sequences for validation or evaluation, or all there are.

        Raises:
          DataError: if there are none, or they do not fit the task.
        """

    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """Not for data.

        Raises:
          TypeError: always.
        """
        raise TypeError(
            f"sample: got {type(self).__name__}, whose sequences are data, want a task "
            "that makes them; use stream and held_out"
        )

    def collated(self, examples: Sequence[Any]) -> Batch:
        """A batch of sequences, each padded at its end to the longest.

        Raises:
          DataError: if they do not fit the task.
        """
        name = type(self).__name__
        try:
            examples = [_example(each) for each in examples]
            inputs = _padded("inputs", [example.inputs for example in examples])
            targets = _padded("targets", [example.targets for example in examples])
            masks = [
                np.ones(len(inputs_), bool) if mask is None else np.asarray(mask)
                for inputs_, _, mask in examples
            ]
            batch = _batch(inputs, targets, _padded("mask", masks))
            return self.fitted(batch, len(examples))
        except (TypeError, ValueError) as error:
            raise DataError(f"{name}: {error}") from None

    def fitted(self, batch: Any, batch_size: int) -> Batch:
        """A batch with the dtypes of the task.

        Raises:
          TypeError, ValueError: if it does not fit the task.
        """
        if isinstance(batch, Batch):
            batch = _batch(
                _cast(batch.inputs, isinstance(self.inputs, Tokens)),
                _cast(batch.targets, isinstance(self.targets, Categories)),
                np.asarray(batch.mask),
            )
        fit.check_batch(self, batch, batch_size)
        fit.check_values(self, batch)
        return batch


class DatasetTask(DataTask):
    """A task on sequences with indices: `Arrays`, a list, or a dataset of Grain."""

    @abc.abstractmethod
    def data(self, split: Split) -> Any:
        """The sequences for training, validation or evaluation.

        Returns:
          What has a length and, at each index, `(inputs, targets)` or `(inputs,
          targets, mask)` of one sequence, as `Example` describes them: `Arrays` or a
          part of it, a list, or a `grain.MapDataset`.
        """

    def stream(
        self,
        seed: int,
        batch_size: int,
        start: int = 0,
        share: Share = Share(),
    ) -> Iterator[Batch]:
        """Every sequence once, in random order, then again in another order."""
        data = dataset(self, "train")
        for update in itertools.count(start):
            places = range(update * batch_size, (update + 1) * batch_size)
            mine = places[share.of(batch_size)]
            yield self.collated(
                [data[shuffled(place, len(data), seed)] for place in mine]
            )

    def held_out(self, split: Split, count: int) -> Batch:
        """The first sequences of the split."""
        data = dataset(self, split)
        return self.collated([data[i] for i in range(min(count, len(data)))])


class StreamTask(DataTask):
    """A task on an iterable of batches. To go on, a run skips those it has seen."""

    @abc.abstractmethod
    def batches(self, split: Split, seed: int, batch_size: int) -> Iterable[Batch]:
        """Batches, time first, of `batch_size` sequences.

        Those for training must not end before the run does. They must be the same for
        the same seed, or a run that is stopped goes on with others.
        """

    def stream(
        self,
        seed: int,
        batch_size: int,
        start: int = 0,
        share: Share = Share(),
    ) -> Iterator[Batch]:
        """The batches for training from that of the update `start` on."""
        batches = self._iterator("train", seed, batch_size)
        name = type(self).__name__
        for update in itertools.count():
            try:
                batch = next(batches)
            except StopIteration:
                raise DataError(
                    f"{name}.batches: got {update} batches for training, want one for "
                    "every update; repeat them in a loop, or use fewer --steps"
                ) from None
            if update < start:
                continue
            try:
                batch = self.fitted(batch, batch_size)
            except (TypeError, ValueError) as error:
                raise DataError(f"{name}.batches: batch {update}: {error}") from None
            yield _select(batch, share.of(batch_size))

    def held_out(self, split: Split, count: int) -> Batch:
        """The first sequences of the batches of the split."""
        found: list[Any] = []
        batch_size = min(count, 100)
        for number, batch in enumerate(self._iterator(split, 0, batch_size)):
            of_mask = np.shape(getattr(batch, "mask", 0))
            size = min(max(1, *of_mask[1:2], 1), batch_size)  # the last can be smaller
            try:
                batch = self.fitted(batch, size)
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"{type(self).__name__}.batches: batch {number} for {split}: "
                    f"{error}"
                ) from None
            found += [
                Example(batch.inputs[:, i], batch.targets[:, i], batch.mask[:, i])
                for i in range(size)
            ]
            if len(found) >= count:
                break
        if not found:
            raise DataError(
                f"{type(self).__name__}.batches: got none for {split}, want at least "
                "one"
            )
        return self.collated(found[:count])

    def _iterator(self, split: Split, seed: int, batch_size: int) -> Iterator[Any]:
        batches: Any = self.batches(split, seed, batch_size)
        if not isinstance(batches, Iterable):
            raise DataError(
                f"{type(self).__name__}.batches: got {type(batches).__name__} for "
                f"{split}, want an iterable of tasks.Batch; use yield"
            )
        return iter(batches)


@functools.lru_cache(maxsize=16)
def dataset(task: DatasetTask, split: Split) -> Any:
    """The sequences of a split, read once.

    Raises:
      DataError: if there are none, or arrays with numbers that do not fit the task.
    """
    name, data = type(task).__name__, task.data(split)
    try:
        size = len(data)
        data[0] if size else None
    except (TypeError, KeyError) as error:
        raise DataError(
            f"{name}.data: got {type(data).__name__} for {split}, want what has a "
            f"length and an index, such as tasks.Arrays(xs, ys): {error}"
        ) from None
    if not size:
        raise DataError(f"{name}.data: got no sequence for {split}, want at least one")
    if isinstance(data, Arrays):  # all at once: a wrong number is found at the start
        task.collated([*data])
    return data


def shuffled(place: int, size: int, seed: int) -> int:
    """The index at a place of all epochs in a row, each in an order of its own."""
    epoch, place = divmod(place, size)
    return int(_order(size, seed, epoch)[place])


@functools.lru_cache(maxsize=64)
def _order(size: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(size)


def padded(batch: Batch, num_steps: int, axis: int = 0) -> Batch:
    """The batch with steps added at the end of an axis, where nothing is due."""

    def longer(leaf: Any) -> np.ndarray:
        widths = [(0, 0)] * leaf.ndim
        widths[axis] = (0, num_steps - leaf.shape[axis])
        return np.pad(leaf, widths)

    return _batch(longer(batch.inputs), longer(batch.targets), longer(batch.mask))


def round_up(num_steps: int) -> int:
    """A number of steps of which there are few, so that few programs are compiled.

    >>> [round_up(steps) for steps in (5, 16, 17, 100)]
    [5, 16, 18, 104]
    """
    unit = 2 ** max(0, (num_steps - 1).bit_length() - 4)
    return -(-num_steps // unit) * unit


def _batch(inputs: Any, targets: Any, mask: Any) -> Batch:
    """A batch of arrays of NumPy."""
    return Batch(inputs=inputs, targets=targets, mask=mask)


def _example(given: Any) -> Example:
    """A sequence as the data of a task have it.

    Raises:
      TypeError: for anything else.
    """
    several = isinstance(given, tuple | list | np.ndarray | Array)
    size = len(given) if several and getattr(given, "ndim", 1) else None
    if size not in (2, 3):
        of = "" if size is None else f" of {size}"
        raise TypeError(
            f"data: got {type(given).__name__}{of} for a sequence, want (inputs, "
            "targets) or (inputs, targets, mask)"
        )
    return Example(*given)


def _padded(name: str, sequences: Sequence[Any]) -> np.ndarray:
    """Sequences `[t, ...]` of different lengths as one array `[T, B, ...]`."""
    arrays = [np.asarray(sequence) for sequence in sequences]
    if len({array.shape[1:] for array in arrays}) > 1 or arrays[0].ndim < 1:
        shapes = sorted({str(list(array.shape)) for array in arrays})
        raise ValueError(f"{name}: got the shapes {', '.join(shapes)}, want [t, ...]")
    longest, dtype = max(map(len, arrays)), np.result_type(*{a.dtype for a in arrays})
    result = np.zeros((longest, len(arrays), *arrays[0].shape[1:]), dtype)
    for i, array in enumerate(arrays):
        result[: len(array), i] = array
    return result


def _cast(values: Any, integers: bool) -> np.ndarray:
    """The array in the dtype of a batch, if it is of that kind."""
    array = np.asarray(values)
    if integers and array.dtype.kind in "iu":
        # One that int32 does not hold becomes the largest, which is out of range.
        own, new = np.iinfo(array.dtype), np.iinfo(np.int32)
        low, high = max(own.min, new.min), min(own.max, new.max)
        return np.clip(array, low, high).astype(np.int32)
    if not integers and array.dtype.kind in "fiub":
        with np.errstate(over="ignore"):  # infinity is reported as such
            return array.astype(np.float32)
    return array


def _select(batch: Batch, which: Any) -> Batch:
    """The batch with only some of its sequences."""
    return Batch(batch.inputs[:, which], batch.targets[:, which], batch.mask[:, which])
