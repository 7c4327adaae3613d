"""The tasks: what they make follows from the paper, and answers are judged right."""

import functools
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tasks


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
    batch = tasks.get("copy").sample(jax.random.key(0), 32, length=length)
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
    batch = tasks.get("copy").sample(jax.random.key(1), 4000, length=(1, 20))
    lengths = np.asarray(batch.mask).sum(0)
    counts = np.bincount(lengths, minlength=21)[1:]
    # 200 expected of each; five standard deviations of a binomial.
    assert np.all(np.abs(counts - 200) < 70)
    bits = np.asarray(batch.targets)[np.asarray(batch.mask)]
    assert abs(bits.mean() - 0.5) < 0.005


def test_copy_is_a_function_of_its_key_inside_jit():
    task = tasks.get("copy")
    sample = jax.jit(functools.partial(task.sample, batch_size=4, length=(1, 5)))
    here, there = (
        sample(jax.random.key(3)),
        task.sample(jax.random.key(3), 4, length=(1, 5)),
    )
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), here, there))
    other = sample(jax.random.key(4))
    assert not bool((here.inputs == other.inputs).all())


def test_a_traced_range_keeps_the_shape_of_its_limit():
    @jax.jit
    def sample(highest):
        length = tasks.Range(1, highest, 20)
        return tasks.get("copy").sample(jax.random.key(0), 64, length=length)

    for highest in (1, 7, 20):
        batch = sample(jnp.int32(highest))
        assert batch.inputs.shape[0] == 41
        assert batch.mask.sum(0).max() == highest


def test_the_width_of_copy_is_a_choice():
    task = tasks.Copy(num_bits=3)
    batch = task.sample(jax.random.key(0), 2, length=2)
    assert (task.input_size, task.output_size) == (4, 3)
    assert batch.inputs.shape == (5, 2, 4)
    assert batch.targets.shape == (5, 2, 3)


def make_batch(targets, mask):
    targets = jnp.asarray(targets, jnp.float32)
    return tasks.Batch(inputs=targets, targets=targets, mask=jnp.asarray(mask))


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
    batch = tasks.get("copy").sample(jax.random.key(0), 8, length=(1, 6))
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


@pytest.mark.parametrize("judge", [tasks.loss_bits, tasks.wrong_bits])
def test_logits_of_another_shape_are_refused(judge):
    batch = make_batch([[[1, 0]]], [[True]])
    with pytest.raises(
        ValueError, match=r"logits: got shape \[1, 1, 3\], want \[1, 1, 2\]"
    ):
        judge(jnp.zeros((1, 1, 3)), batch)
