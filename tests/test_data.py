"""Tasks on data: order, shares, padding, prefetch and what is refused."""

import dataclasses
import itertools
import re
import threading
from types import SimpleNamespace
from typing import Any, cast

import grain
import jax
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter
from tiny import TINY

import tasks
from tasks import data, registry
from train import learn, library
from train.training import feed as feeding
from train.training import measure
from train.training.population import member
from train.training.state import init_states, without_arrays
from train.validation import validate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbered(tasks.DatasetTask):
    """Sequence i has its number as every target, and i % 3 + 1 steps."""

    size: int = 10

    @property
    def inputs(self):
        return tasks.Vectors(1)

    @property
    def targets(self):
        return tasks.Reals(1)

    def data(self, split) -> Any:
        return [self.example(i) for i in range(self.size)]

    def example(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        values = np.full((i % 3 + 1, 1), float(i))
        return values, values


class Endless(tasks.StreamTask):
    """Batches with their number as every target."""

    @property
    def inputs(self):
        return tasks.Vectors(1)

    @property
    def targets(self):
        return tasks.Reals(1)

    def batches(self, split, seed, batch_size):
        for number in itertools.count():
            values = (
                np.full((2, batch_size, 1), number) + np.arange(batch_size)[:, None]
            )
            due: Any = np.ones(values.shape[:2], bool)
            yield tasks.Batch(cast(Any, values), cast(Any, values), due)


def numbers(batches, count: int) -> list[list[int]]:
    """The first target of each sequence of some batches."""
    return [
        batch.targets[0, :, 0].astype(int).tolist()
        for batch in itertools.islice(batches, count)
    ]


def test_every_sequence_is_seen_once_in_an_epoch_in_an_order_of_the_seed():
    seen = np.ravel(numbers(Numbered().stream(0, 4), 10)).tolist()
    for epoch in range(4):
        assert sorted(seen[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert len({tuple(seen[10 * e : 10 * e + 10]) for e in range(4)}) == 4
    assert np.ravel(numbers(Numbered().stream(1, 4), 10)).tolist() != seen


@pytest.mark.parametrize("task", [Numbered(), Endless()])
def test_a_stream_goes_on_at_any_update_and_is_shared_by_processes(task):
    whole = numbers(task.stream(0, 6), 9)
    assert numbers(task.stream(0, 6, start=5), 4) == whole[5:]
    parts = [numbers(task.stream(0, 6, 0, tasks.Share(i, 3)), 9) for i in range(3)]
    assert [[*itertools.chain(*rows)] for rows in zip(*parts)] == whole


def test_shorter_sequences_are_padded_where_nothing_is_due():
    batch = Numbered(size=3).held_out("evaluation", 99)
    assert batch.mask.T.astype(int).tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert batch.inputs.dtype == np.float32
    assert batch.inputs[:, 1, 0].tolist() == [1, 1, 0]
    longer = data.padded(batch, 5)
    assert longer.mask.sum() == 6
    assert len(longer.inputs) == len(longer.targets) == 5


def test_lengths_and_masks_of_arrays():
    xs = np.zeros((3, 4, 1))
    arrays = tasks.Arrays(xs, xs, lengths=[1, 4, 2], mask=np.arange(4) > 0 * xs[..., 0])
    assert arrays.mask.astype(int).tolist() == [
        [0, 0, 0, 0],
        [0, 1, 1, 1],
        [0, 1, 0, 0],
    ]
    whole = tasks.Arrays(np.arange(400).reshape(100, 4, 1), np.zeros((100, 4, 1)))
    parts = [whole.part(split).xs[:, 0, 0] for split in tasks.SPLITS]
    assert [len(part) for part in parts] == [80, 10, 10]
    assert len({*np.concatenate(parts)}) == 100


def test_what_is_after_the_lengths_of_arrays_can_be_anything():
    xs = np.where(np.arange(4) < np.arange(1, 4)[:, None], 1.0, np.nan)[..., None]

    class Padded(Numbered):
        def data(self, split):
            return tasks.Arrays(xs, xs, lengths=[1, 2, 3])

    batch = Padded().held_out("evaluation", 3)
    assert batch.inputs[..., 0].T.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]
    assert np.isnan(xs[0, 1:]).all()  # the arrays of the task stay as they are
    tokens = tasks.Arrays(np.full((2, 3), -1), np.full((2, 3), -1), lengths=[1, 2])
    assert tokens.xs.tolist() == [[-1, 0, 0], [-1, -1, 0]]


def test_sequences_of_whole_numbers_and_of_fractions_keep_both():
    batch = Numbered().collated([([[1]], [[1]]), ([[0.5], [2]], [[0.5], [2]])])
    assert batch.inputs[..., 0].T.tolist() == [[1, 0], [0.5, 2]]
    assert batch.targets[..., 0].T.tolist() == [[1, 0], [0.5, 2]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ys": np.zeros((3, 5, 1))}, "ys: got shape [3, 5] for xs [3, 4, 1]"),
        ({"xs": np.zeros(3)}, "ys: got shape [3, 4] for xs [3]"),
        ({"mask": np.ones(3, bool)}, "mask: got shape [3] for"),
        ({"lengths": [4, 4]}, "lengths: got int64[2], want integers [3]"),
        ({"lengths": [1.0, 2, 3]}, "lengths: got float64[3], want integers"),
        ({"lengths": [0, 4, 4]}, "lengths: got 0 to 4, want from 1 to 4"),
        ({"mask": np.ones((3, 4))}, "mask: got float64, want bool"),
        ({"lengths": [5, 4, 4]}, "lengths: got 4 to 5, want from 1 to 4"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        tasks.Arrays(**{"xs": np.zeros((3, 4, 1)), "ys": np.zeros((3, 4, 1)), **arrays})


def test_sequences_of_different_widths_are_refused():
    with pytest.raises(
        tasks.DataError, match=r"inputs: got the shapes \[1, 1\], \[1, 2"
    ):
        Numbered().collated([(np.zeros((1, n)), np.zeros((1, 1))) for n in (1, 2)])
    with pytest.raises(tasks.DataError, match=r"Numbered: data: got tuple of 1 for"):
        Numbered().collated([(np.zeros((1, 1)),)])


def test_a_task_of_data_has_no_sample():
    with pytest.raises(TypeError, match="sample: got Numbered, whose sequences are da"):
        Numbered().sample(jax.random.key(0), 2)


def test_a_feed_reads_one_call_ahead_and_stops_where_the_run_does(monkeypatch):
    config = dataclasses.replace(TINY, steps=5, num_seeds=2, batch_size=3)
    monkeypatch.setattr(type(config), "make_task", lambda self: Numbered())
    read: list[tuple[int, str]] = []
    stack = feeding.Feed._stack

    def stacked(feed, num_steps):
        read.append((num_steps, threading.current_thread().name))
        return stack(feed, num_steps)

    monkeypatch.setattr(feeding.Feed, "_stack", stacked)
    feed = feeding.Feed(config, 0)
    calls = [feed.next() for _ in range(3)]
    feed.close()
    assert [count for count, _ in read] == [2, 2, 1]
    assert threading.current_thread().name not in {name for _, name in read}
    assert [call.mask.shape for call in calls] == [
        (2, 2, 3, 3),
        (2, 2, 3, 3),
        (2, 1, 3, 3),
    ]
    for place, seed in enumerate(config.seeds()):
        own = np.concatenate([call.targets[place, :, 0, :, 0] for call in calls])
        assert own.astype(int).tolist() == numbers(Numbered().stream(seed, 3), 5)
    resumed = feeding.Feed(config, 2)
    np.testing.assert_array_equal(resumed.next().targets, calls[1].targets)
    resumed.close()


@pytest.mark.parametrize("error", [KeyError("gone"), SystemExit(3)])
def test_what_reading_held_out_data_raises_is_named(error):
    class Failing(list):
        def __getitem__(self, index):
            if index == 1:
                raise error
            return super().__getitem__(index)

    class Late(Numbered):
        def data(self, split):
            return Failing(super().data(split))

    with pytest.raises(tasks.DataError, match=f"Late: {type(error).__name__}: "):
        feeding.held_out(Late(), "validation", 2)


def test_a_stream_is_asked_for_its_split_seed_and_batch_size():
    asked: list[tuple[Any, ...]] = []

    class Asked(Endless):
        def batches(self, split, seed, batch_size):
            asked.append((split, seed, batch_size))
            return super().batches(split, seed, batch_size)

    next(Asked().stream(seed=7, batch_size=3))
    Asked().held_out("validation", 5)
    assert asked == [("train", 7, 3), ("validation", 0, 5)]


def test_a_part_of_held_out_data_goes_on_with_the_first_after_the_last():
    batch = Numbered(size=5).held_out("evaluation", 5)
    for first, wanted in ((0, [0, 1, 2]), (3, [3, 4, 0])):
        part = measure.part_of_data(batch, first, 3, num_seeds=2)
        assert part.targets[:, 0, :, 0].astype(int).tolist() == [wanted, wanted]
        assert part.mask.shape == (2, 3, 3)


def test_the_last_batch_of_held_out_data_can_be_smaller():
    class Ending(Endless):
        def batches(self, split, seed, batch_size):
            first, second, *_ = itertools.islice(
                super().batches(split, seed, batch_size), 2
            )
            yield first
            yield data._select(second, slice(0, 1))

    assert Ending().held_out("validation", 3).mask.shape[1] == 3
    assert Ending().held_out("validation", 200).mask.shape[1] == 101


@pytest.mark.slow
def test_validation_and_evaluation_ask_for_data_of_their_own(monkeypatch):
    config = dataclasses.replace(TINY, task=registry.name_of(Numbered))
    states, run = init_states(config), cast(Any, SimpleNamespace(config=config))

    def asked(task, split, count):
        raise LookupError(split)

    monkeypatch.setattr(measure, "held_out", asked)
    with pytest.raises(LookupError, match=r"^validation$"):
        validate(states, without_arrays(states), run, np.array([True]))
    with pytest.raises(LookupError, match=r"^evaluation$"):
        learn.evaluate_at(states, run, {})
    with pytest.raises(LookupError, match=r"^evaluation$"):
        library.evaluate(member(states.params, 0), Numbered, config)


def test_a_file_that_grain_reads_is_a_dataset(tmp_path):
    path = str(tmp_path / "numbers.arrayrecord")
    writer = ArrayRecordWriter(path, "group_size:1")
    for i in range(10):
        writer.write(bytes([i]))
    writer.close()
    files: Any = grain.sources.ArrayRecordDataSource(path)
    records = grain.MapDataset.source(files)

    class OfGrain(Numbered):
        def data(self, split):
            return records.map(lambda record: Numbered().example(record[0]))

    assert numbers(OfGrain().stream(0, 4), 5) == numbers(Numbered().stream(0, 4), 5)
