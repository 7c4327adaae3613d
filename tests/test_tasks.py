"""The tasks: what they make follows from the paper, and answers are judged right."""

import functools
import itertools
from typing import Any, cast

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from machines import slow_unless

import tasks

pytestmark = pytest.mark.usefixtures("quick_compilations")
# The tasks that make their sequences; those of the others are data.
MADE = [
    name
    for name in tasks.names()
    if not issubclass(tasks.class_of(name), tasks.DataTask)
]


def draw(task: tasks.Task, seed: int, batch_size: int, **difficulty) -> tasks.Batch:
    """A batch, compiled as one program: op by op it takes ten times as long."""
    sample = functools.partial(task.sample, batch_size=batch_size, **difficulty)
    return jax.jit(sample)(jax.random.key(seed))


def sequences(batch: tasks.Batch) -> list[tuple[np.ndarray, ...]]:
    """Inputs, targets and mask of each sequence, in NumPy."""
    arrays = [np.asarray(leaf) for leaf in (batch.inputs, batch.targets, batch.mask)]
    return [tuple(leaf[:, b] for leaf in arrays) for b in range(arrays[0].shape[1])]


def copied(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets and mask that an input asks for, by the paper's words."""
    delimiters = np.flatnonzero(inputs[:, -1])
    assert len(delimiters) == 1
    length = delimiters[0]
    targets = np.zeros_like(inputs[:, :-1])
    mask = np.zeros(len(inputs), bool)
    for step in range(length):
        targets[length + 1 + step] = inputs[step, :-1]
        mask[length + 1 + step] = True
    return targets, mask


@pytest.mark.parametrize("length", [1, 3, (1, 20), (4, 5)])
def test_copy_asks_for_what_it_presented(length):
    batch = draw(tasks.get("copy"), 0, 32, length=length)
    lowest, highest = (length, length) if isinstance(length, int) else length
    assert batch.inputs.shape == (2 * highest + 1, 32, 9)
    for inputs, targets, mask in sequences(batch):
        expected_targets, expected_mask = copied(inputs)
        np.testing.assert_array_equal(targets, expected_targets)
        np.testing.assert_array_equal(mask, expected_mask)
        assert lowest <= mask.sum() <= highest
        after = np.flatnonzero(inputs[:, -1])[0]
        assert not inputs[after, :-1].any()
        assert not inputs[after + 1 :].any()


def test_copy_draws_every_length_and_fair_bits():
    batch = draw(tasks.get("copy"), 1, 4000, length=(1, 20))
    lengths = np.asarray(batch.mask).sum(0)
    counts = np.bincount(lengths, minlength=21)[1:]
    # 200 expected of each; five standard deviations of a binomial.
    assert np.all(np.abs(counts - 200) < 70)
    bits = np.asarray(batch.targets)[np.asarray(batch.mask)]
    assert abs(bits.mean() - 0.5) < 0.005


def test_a_traced_range_keeps_the_shape_of_its_limit():
    @jax.jit
    def sample(highest):
        length = tasks.Range(1, highest, 20)
        return draw(tasks.get("copy"), 0, 64, length=length)

    for highest in (1, 7, 20):
        batch = sample(jnp.int32(highest))
        assert batch.inputs.shape[0] == 41
        assert batch.mask.sum(0).max() == highest


def test_the_width_of_copy_is_a_choice():
    task = tasks.Copy(num_bits=3)
    batch = draw(task, 0, 2, length=2)
    assert (task.input_size, task.output_size) == (4, 3)
    assert batch.inputs.shape == (5, 2, 4)
    assert batch.targets.shape == (5, 2, 3)


def repeated(inputs: np.ndarray, code: str) -> tuple[np.ndarray, np.ndarray]:
    """Targets and mask of repeat copy that an input asks for."""
    bits, delimiter, number = inputs[:, :-2], inputs[:, -2], inputs[:, -1]
    (length,) = np.flatnonzero(delimiter)
    if code == "scalar":
        numbers = np.arange(1, 11)
        repeats = round(number[length] * numbers.std() + numbers.mean())
        start = length + 1
        assert not np.delete(number, length).any()
    else:
        repeats = int(number.sum())
        start = length + 1 + repeats
        assert number[length + 1 : start].all()
    assert not bits[length:].any()
    targets = np.zeros((len(inputs), bits.shape[1] + 1))
    mask = np.zeros(len(inputs), bool)
    end = start + length * repeats
    targets[start:end, :-1] = np.tile(bits[:length], (repeats, 1))
    targets[end, -1] = 1
    mask[start : end + 1] = True
    return targets, mask


@pytest.mark.parametrize("code", ["scalar", "pulses"])
@pytest.mark.parametrize("size", [(1, 1), (3, 2), ((1, 10), (1, 10)), (4, (18, 20))])
def test_repeat_copy_asks_for_what_it_presented(code, size):
    length, repeats = size
    task = tasks.RepeatCopy(num_bits=3, repeat_code=code)
    batch = draw(task, 0, 32, length=length, repeats=repeats)
    for inputs, targets, mask in sequences(batch):
        expected_targets, expected_mask = repeated(inputs, code)
        np.testing.assert_array_equal(targets, expected_targets)
        np.testing.assert_array_equal(mask, expected_mask)
    longest = np.max(length) * np.max(repeats) + 1
    asked = np.max(length) + 1 + (np.max(repeats) if code == "pulses" else 0)
    assert len(batch.mask) == asked + longest


def test_repeat_copy_draws_every_length_and_number_alike():
    batch = draw(tasks.get("repeat_copy"), 1, 5000)
    lengths = np.asarray(batch.inputs[:, :, -2]).argmax(0)
    numbers = (np.asarray(batch.mask).sum(0) - 1) // lengths
    counts = np.histogram2d(lengths, numbers, bins=[np.arange(0.5, 11)] * 2)[0]
    # 50 expected of each; five standard deviations of a binomial.
    assert np.all(np.abs(counts - 50) < 36)


def recalled(inputs: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Targets and mask of recall that an input asks for, and the number of items."""
    bits, item, query = inputs[:, :-2], inputs[:, -2], inputs[:, -1]
    starts = np.flatnonzero(item)
    first, last = np.flatnonzero(query)
    items = [bits[start + 1 : start + 1 + width] for start in starts]
    assert np.diff([*starts, first]).tolist() == [width + 1] * len(items)
    assert last - first == width + 1
    assert not bits[np.flatnonzero(item + query)].any()
    assert not bits[last:].any()
    asked = bits[first + 1 : last]
    targets, mask = np.zeros_like(bits), np.zeros(len(bits), bool)
    answer = slice(last + 1, last + 1 + width)
    mask[answer] = True
    following = [
        after for one, after in itertools.pairwise(items) if np.array_equal(one, asked)
    ]
    assert following  # the last item is never asked for
    targets[answer] = following[0]
    return targets, mask, len(items)


def test_the_paper_s_numbers_of_repeats_have_mean_0_and_variance_1():
    task = tasks.get("repeat_copy")
    batch = draw(task, 0, 200, length=1)
    said = np.unique(np.asarray(batch.inputs[1, :, -1]))
    assert len(said) == 10
    np.testing.assert_allclose([np.mean(said), np.var(said)], [0, 1], atol=1e-6)
    np.testing.assert_allclose(np.diff(said), np.diff(said)[0], rtol=1e-5)


@pytest.mark.parametrize("items", [2, 5, (2, 6), (10, 20)])
def test_recall_asks_for_the_item_after_the_query(items):
    task = tasks.AssociativeRecall(num_bits=12)  # no two items alike
    batch = draw(task, 0, 64, items=items)
    found = []
    for inputs, targets, mask in sequences(batch):
        expected_targets, expected_mask, count = recalled(inputs, 3)
        np.testing.assert_array_equal(targets, expected_targets)
        np.testing.assert_array_equal(mask, expected_mask)
        found.append(count)
    assert np.min(items) <= min(found) <= max(found) <= np.max(items)
    assert len(batch.mask) == 4 * np.max(items) + 5 + 3


def test_recall_asks_for_every_item_but_the_last_alike():
    task = tasks.AssociativeRecall(num_bits=16, item_length=1)
    batch = draw(task, 2, 4000, items=5)
    asked = []
    for inputs, _, _ in sequences(batch):
        items, query = inputs[1:10:2, :-2], inputs[11, :-2]
        asked.append(np.flatnonzero((items == query).all(1))[0])
    # 1,000 expected of each of four.
    assert np.all(np.abs(np.bincount(asked, minlength=5)[:4] - 1000) < 140)
    assert max(asked) == 3


@pytest.mark.parametrize("order", [1, 2, 6])
def test_ngrams_predict_the_next_bit(order):
    task = tasks.DynamicNGrams(order=order)
    batch = draw(task, 0, 16, length=(8, 30))
    assert batch.inputs.shape == (29, 16, 1)
    for inputs, targets, mask in sequences(batch):
        steps = np.flatnonzero(mask)
        # From the first whole context on, without a gap.
        first = max(order - 2, 0)
        np.testing.assert_array_equal(steps, np.arange(first, steps[-1] + 1))
        np.testing.assert_array_equal(targets[steps[:-1]], inputs[steps[1:]])
        assert 7 <= steps[-1] + 1 <= 29
        assert not targets[~mask].any()


def test_ngrams_follow_a_table_of_beta_one_half():
    task = tasks.DynamicNGrams(order=1)  # one context: the table is one probability
    batch = draw(task, 1, 2000, length=400)
    rates = np.asarray(batch.targets).mean((0, 2))
    # The arcsine distribution: quartiles at sin^2(pi/8) and sin^2(3 pi/8).
    quartiles = np.quantile(rates, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, [0.146, 0.5, 0.854], atol=0.06)


def test_the_optimal_prediction_is_brute_force_counting():
    task = tasks.DynamicNGrams(order=4)
    batch = draw(task, 3, 8, length=(5, 60))
    logits = np.asarray(task.optimal_logits(batch))[:, :, 0]
    for b, (inputs, targets, mask) in enumerate(sequences(batch)):
        for step in np.flatnonzero(mask):
            bits = inputs[: step + 1, 0]
            context = bits[-3:]
            ones = zeros = 0
            for at in range(3, step + 1):
                if np.array_equal(bits[at - 3 : at], context):
                    ones += bits[at] == 1
                    zeros += bits[at] == 0
            probability = (ones + 0.5) / (ones + zeros + 1)
            expected = np.log(probability / (1 - probability))
            np.testing.assert_allclose(logits[step, b], expected, atol=1e-5)
        assert targets.shape == (59, 1)


def test_ngrams_cost_what_the_optimum_does_not():
    task = tasks.DynamicNGrams(order=3)
    batch = draw(task, 5, 8, length=30)
    best = task.optimal_logits(batch)
    np.testing.assert_allclose(task.errors(best, batch), np.zeros(8), atol=1e-5)
    coin = task.errors(jnp.zeros_like(best), batch)
    expected = np.asarray(batch.mask).sum(0) - np.asarray(tasks.loss_bits(best, batch))
    np.testing.assert_allclose(coin, expected, atol=1e-4)


@pytest.mark.parametrize("order", [3, 5])
def test_every_context_of_ngrams_has_a_chance_of_its_own(order):
    task = tasks.DynamicNGrams(order=order)
    batch = draw(task, 2, 40, length=1500)
    spreads = []
    for inputs, targets, mask in sequences(batch):
        bits = inputs[:, 0].astype(int)
        counts = np.zeros((2 ** (order - 1), 2))
        for step in np.flatnonzero(mask):
            context = int("".join(map(str, bits[step - order + 2 : step + 1])), 2)
            counts[context, int(targets[step, 0])] += 1
        seen = counts[counts.sum(1) > 50]
        spreads.append(np.ptp(seen[:, 1] / seen.sum(1)) if len(seen) > 1 else 0)
    # Chances of Beta(1/2, 1/2) lie far from each other.
    assert np.median(spreads) > 0.5


def test_the_first_context_of_ngrams_is_of_fair_bits():
    batch = draw(tasks.DynamicNGrams(order=6), 3, 4000, length=7)
    first = np.asarray(batch.inputs[:5, :, 0])
    # Ten standard deviations of the binomial, for each place and each pair of places.
    assert np.abs(first.mean(1) - 0.5).max() < 0.08
    assert np.abs(np.corrcoef(first) - np.eye(5)).max() < 0.16


def test_what_each_task_is_judged_by():
    expected = {
        "copy": (0, ({"length": 120},)),
        "repeat_copy": (
            0,
            ({"length": 20, "repeats": 10}, {"length": 10, "repeats": 20}),
        ),
        "associative_recall": (0, ({"items": 12}, {"items": 20})),
        "dynamic_ngrams": (0.5, ()),
        "priority_sort": (1, ({"length": 30, "answers": 24},)),
        "reverse_string": (0, ({"length": 60},)),
    }
    for name, told in expected.items():
        task = tasks.get(name)
        assert (task.tolerance, task.beyond) == told
    recall = tasks.get("associative_recall")
    assert recall.min_slots(recall.ranges(items=(2, 9))) == 9


def sorted_answer(inputs: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Targets and mask of priority sort that an input asks for."""
    bits, priority, delimiter = inputs[:, :-2], inputs[:, -2], inputs[:, -1]
    (length,) = np.flatnonzero(delimiter)
    assert not bits[length:].any()
    assert not priority[length:].any()
    order = sorted(range(length), key=lambda place: -priority[place])
    targets, mask = np.zeros_like(bits), np.zeros(len(bits), bool)
    targets[length + 1 : length + 1 + count] = bits[order[:count]]
    mask[length + 1 : length + 1 + count] = True
    return targets, mask


@pytest.mark.parametrize(("length", "answers"), [(20, 16), (1, 1), ((6, 9), (2, 6))])
def test_sort_asks_for_the_highest_in_order(length, answers):
    task = tasks.get("priority_sort")
    batch = draw(task, 0, 32, length=length, answers=answers)
    for inputs, targets, mask in sequences(batch):
        expected_targets, expected_mask = sorted_answer(inputs, mask.sum())
        np.testing.assert_array_equal(targets, expected_targets)
        np.testing.assert_array_equal(mask, expected_mask)
        assert np.min(answers) <= mask.sum() <= np.max(answers)
    assert len(batch.mask) == np.max(length) + 1 + np.max(answers)


def test_priorities_are_uniform():
    batch = draw(tasks.get("priority_sort"), 1, 500)
    priorities = np.asarray(batch.inputs[:20, :, -2]).ravel()
    quantiles = np.quantile(priorities, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quantiles, [-1, -0.5, 0, 0.5, 1], atol=0.04)


@pytest.mark.parametrize("length", [1, 2, 9, (1, 40), (5, 6)])
def test_a_string_is_reversed_symbol_by_symbol(length):
    batch = draw(tasks.get("reverse_string"), 0, 32, length=length)
    found = []
    for inputs, targets, mask in sequences(batch):
        # One-hot: a symbol, or the empty token, and nothing more once that is over.
        tokens = ["".join(map(str, step.astype(int))) for step in inputs]
        string = [{"100": 0, "010": 1}[token] for token in tokens if token[:2] != "00"]
        answer = string[::-1]
        shown = ["100" if symbol == 0 else "010" for symbol in string]
        after = ["001"] * len(answer)
        padding = ["000"] * (len(tokens) - len(shown) - len(after))
        assert tokens == shown + after + padding
        np.testing.assert_array_equal(mask, [token == "001" for token in tokens])
        assert targets[mask, 0].tolist() == answer
        assert not targets[~mask].any()
        found.append(len(string))
    assert np.min(length) <= min(found) <= max(found) <= np.max(length)
    assert len(batch.mask) == 2 * np.max(length)


def test_strings_are_of_every_length_and_of_fair_symbols():
    batch = draw(tasks.get("reverse_string"), 1, 8000)
    lengths = np.asarray(batch.mask).sum(0)
    counts = np.bincount(lengths, minlength=41)[1:]
    # 200 expected of each; five standard deviations of a binomial.
    assert np.all(np.abs(counts - 200) < 70)
    symbols = np.asarray(batch.targets)[np.asarray(batch.mask)]
    assert abs(symbols.mean() - 0.5) < 0.01


def test_strings_are_judged_as_by_a_softmax_over_the_symbols():
    """The benchmark's loss and accuracy, of two outputs that differ by our one."""
    task = tasks.get("reverse_string")
    batch = draw(task, 2, 8, length=(1, 6))
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, *batch.mask.shape))
    outputs = np.stack([first, second], axis=-1)
    chances = np.exp(outputs) / np.exp(outputs).sum(-1, keepdims=True)
    logits = jnp.asarray(second - first, jnp.float32)[:, :, None]
    loss, errors = tasks.loss_bits(logits, batch), task.errors(logits, batch)
    for b, (_, targets, mask) in enumerate(sequences(batch)):
        answer = targets[mask, 0].astype(int)
        own = chances[mask, b]
        entropy = -np.log2(own[np.arange(len(answer)), answer]).sum()
        np.testing.assert_allclose(loss[b], entropy, rtol=1e-5)
        accuracy = np.mean(own.argmax(-1) == answer)
        np.testing.assert_allclose(1 - errors[b], accuracy, rtol=1e-6)
    best = jnp.where(batch.targets > 0, 1.0, -1.0)
    assert task.errors(best, batch).tolist() == [0] * 8
    with pytest.raises(ValueError, match="logits: got shape"):
        task.errors(jnp.zeros((*batch.mask.shape, 2)), batch)


@pytest.mark.parametrize("name", slow_unless(["copy"], MADE))
def test_every_task_is_a_function_of_its_key_inside_jit(name):
    task = tasks.get(name)
    sample = jax.jit(functools.partial(task.sample, batch_size=4))
    here, there = sample(jax.random.key(3)), task.sample(jax.random.key(3), 4)
    chex.assert_trees_all_close(here, there, rtol=1e-6)
    assert here.inputs.shape[-1] == task.input_size
    assert here.targets.shape[-1] == task.output_size
    assert here.inputs.dtype == here.targets.dtype == jnp.float32
    assert here.mask.any(0).all()
    assert not bool((here.inputs == sample(jax.random.key(4)).inputs).all())
    for difficulty in task.beyond:
        task.ranges(**difficulty)


def make_batch(targets, mask):
    targets = jnp.asarray(targets, jnp.float32)
    return tasks.Batch(inputs=targets, targets=targets, mask=jnp.asarray(mask))


@pytest.mark.parametrize("name", slow_unless({"copy"}, MADE))
def test_the_same_key_gives_the_same_sequences_in_double_precision(name):
    task = tasks.get(name)
    batch = draw(task, 3, 4)
    with jax.enable_x64(True):
        jax.tree.map(np.testing.assert_array_equal, draw(task, 3, 4), batch)


def test_a_share_at_the_highest_is_the_same_in_double_precision():
    lengths = tasks.Range(1, 9, 9, at_highest=0.3)
    drawn = lengths.draw(jax.random.key(0), (50,))
    with jax.enable_x64(True):
        np.testing.assert_array_equal(lengths.draw(jax.random.key(0), (50,)), drawn)


def test_loss_is_cross_entropy_in_bits_over_the_mask():
    # One sequence, two steps of two bits; the first step does not count.
    batch = make_batch([[[1, 0]], [[1, 0]]], [[False], [True]])
    probability = np.array([0.25, 0.5])
    logits = jnp.asarray([[[9.0, 9.0]], [np.log(probability / (1 - probability))]])
    # -log2(1/4) - log2(1 - 1/2)
    np.testing.assert_allclose(tasks.loss_bits(logits, batch), [3.0], rtol=1e-6)


@pytest.mark.parametrize("target", [0, 1])
def test_loss_of_a_sure_answer_is_exact(target):
    batch = make_batch([[[target]]], [[True]])
    logit = jnp.asarray([[[20.0 if target else -20.0]]])
    np.testing.assert_allclose(
        tasks.loss_bits(logit, batch), np.log1p(np.exp(-20)) / np.log(2), rtol=1e-5
    )


def test_loss_of_a_coin_is_one_bit_for_each_bit():
    batch = draw(tasks.get("copy"), 0, 8, length=(1, 6))
    loss = tasks.loss_bits(jnp.zeros_like(batch.targets), batch)
    np.testing.assert_allclose(loss, 8 * batch.mask.sum(0), rtol=1e-6)


def test_loss_is_finite_for_huge_logits():
    batch = make_batch([[[1, 0]]], [[True]])
    right, wrong = jnp.asarray([[[1e30, -1e30]]]), jnp.asarray([[[-1e30, 1e30]]])
    assert tasks.loss_bits(right, batch) == 0
    assert jnp.isfinite(tasks.loss_bits(wrong, batch)).all()


def test_wrong_bits_counts_the_wrong_side_of_one_half():
    batch = make_batch(
        [[[1, 0], [1, 0]], [[1, 1], [0, 0]]], [[True, True], [True, False]]
    )
    logits = jnp.asarray([[[2.0, -1.0], [-2.0, 1.0]], [[-0.1, 3.0], [9.0, 9.0]]])
    assert tasks.wrong_bits(logits, batch).tolist() == [1, 2]


def test_no_answer_at_all_is_wrong():
    batch = make_batch([[[1, 0, 1]]], [[True]])
    logits = jnp.asarray([[[0.0, 0.0, jnp.nan]]])
    assert tasks.wrong_bits(logits, batch).tolist() == [3]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: tasks.get("copi"), ValueError, "task: got 'copi', want one of copy"),
        (lambda t: tasks.get(cast(str, ["copy"])), ValueError, "task: got "),
        (lambda t: tasks.Copy(num_bits=0), ValueError, "num_bits: got 0"),
        (lambda t: tasks.Copy(num_bits=cast(int, 2.0)), TypeError, "num_bits: got 2.0"),
        (lambda t: t.sample(jax.random.key(0), 0), ValueError, "batch_size: got 0"),
        (lambda t: t.sample(jax.random.key(0), 1.5), TypeError, "batch_size: got 1.5"),
        (lambda t: t.ranges(length=0), ValueError, "length: got 0"),
        (lambda t: t.ranges(length=-3), ValueError, "length: got -3"),
        (lambda t: t.ranges(length=True), TypeError, "length: got True"),
        (lambda t: t.ranges(length="9"), TypeError, "length: got '9'"),
        (lambda t: t.ranges(length=(5, 2)), ValueError, r"length: got \(5, 2\)"),
        (lambda t: t.ranges(length=(1, 2, 3)), ValueError, r"length: got \(1, 2, 3\)"),
        *(
            (lambda t, bad=bad: t.ranges(length=bad), ValueError, message)
            for bad, message in (
                (tasks.Range(0, 2, 3), "length: got 0"),
                (tasks.Range(3, 2, 3), "length: got .*want lowest <= highest <= limit"),
                (tasks.Range(1, 4, 3), "length: got .*want lowest <= highest <= limit"),
                (tasks.Range(1, 2, 0), "length: got 0"),
                (
                    tasks.Range(1, 2, 3, 1.5),
                    "length: got .*want at_highest from 0 to 1",
                ),
                (tasks.Range(jnp.int32(0), 2, 3), "length: got 0"),
                (tasks.Range(1, jnp.int32(5), 3), "length: got .*<= highest <= limit"),
                (tasks.Range(1, 2, 3, cast(float, "x")), "length: got .*at_highest"),
                (
                    tasks.Range(4, jnp.int32(4), 3),
                    "length: got .*want lowest <= highest <= limit",
                ),
            )
        ),
        (
            lambda t: t.ranges(items=2),
            ValueError,
            "items: got 2, but Copy only has length",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(tasks.get("copy"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: tasks.RepeatCopy(repeat_code=cast("Any", "morse")),
            "repeat_code: got",
        ),
        (lambda: tasks.get("repeat_copy").ranges(repeats=0), "repeats: got 0"),
        (lambda: tasks.AssociativeRecall(item_length=0), "item_length: got 0"),
        (lambda: tasks.get("associative_recall").ranges(items=1), "items: got 1"),
        (lambda: tasks.get("associative_recall").ranges(items=(1, 6)), "items: got"),
        (lambda: tasks.DynamicNGrams(order=0), "order: got 0"),
        (lambda: tasks.DynamicNGrams(order=20), "order: got 20"),
        (lambda: tasks.get("dynamic_ngrams").ranges(length=5), "length: got 5"),
        (lambda: tasks.get("priority_sort").ranges(answers=21), "answers: got 21"),
        (lambda: tasks.get("reverse_string").ranges(length=0), "length: got 0"),
        (lambda: tasks.get("reverse_string").ranges(items=2), "ReverseString only has"),
    ],
)
def test_what_a_task_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("name", "difficulty"),
    [
        ("copy", {"length": 2**30}),
        ("copy", {"length": 2**31 - 1}),
        ("repeat_copy", {"length": 2**16, "repeats": 2**16}),
        ("associative_recall", {"items": 2**29}),
        ("dynamic_ngrams", {"length": 2**31 - 1}),
        ("priority_sort", {"length": 2**30, "answers": 2**30}),
        ("reverse_string", {"length": 2**30}),
    ],
)
def test_sequences_longer_than_any_array_are_refused(name, difficulty):
    sample = functools.partial(tasks.get(name).sample, batch_size=1, **difficulty)
    with pytest.raises(
        ValueError, match=f"{next(iter(difficulty))}.*: got .*2\\*\\*31"
    ):
        jax.eval_shape(sample, jax.random.key(0))


def test_a_task_wants_one_key():
    keys = jax.random.split(jax.random.key(0), 2)
    with pytest.raises(TypeError, match=r"key: got key<fry>\[2\], want one key"):
        tasks.get("copy").sample(keys, 1)


@pytest.mark.parametrize("judge", [tasks.loss_bits, tasks.wrong_bits])
def test_logits_of_another_shape_are_refused(judge):
    batch = make_batch([[[1, 0]]], [[True]])
    with pytest.raises(
        ValueError, match=r"logits: got shape \[1, 1, 3\], want \[1, 1, 2\]"
    ):
        judge(jnp.zeros((1, 1, 3)), batch)


def test_steps_go_up_to_the_last_answer():
    mask = jnp.asarray([[0, 0], [1, 0], [0, 1], [1, 0], [0, 0]], bool)
    batch = tasks.Batch(inputs=mask, targets=mask, mask=mask)
    assert batch.steps.T.astype(int).tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]]
