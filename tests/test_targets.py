"""Targets of any kind: losses, errors and predictions against plain formulas."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tasks
from tasks import fit

MASK = jnp.asarray([[1, 1], [1, 0], [0, 1]], bool)  # T = 3, B = 2


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def test_bits_have_the_loss_and_the_errors_that_they_always_had():
    bits, logits = (normal(3, 2, 4) > 0).astype(jnp.float32), normal(3, 2, 4, seed=1)
    batch = tasks.Batch(inputs=bits, targets=bits, mask=MASK)
    of = tasks.Bits(4)
    assert (of.loss(logits, bits, MASK) == tasks.loss_bits(logits, batch)).all()
    assert (of.wrong(logits, bits, MASK) == tasks.wrong_bits(logits, batch)).all()
    right = np.where(np.asarray(bits) > 0.5, logits, -logits)
    expected = np.log2(1 + np.exp(-right)).sum(2)
    np.testing.assert_allclose(
        of.loss(logits, bits, MASK), (expected * np.asarray(MASK)).sum(0), rtol=1e-5
    )
    assert of.count(MASK).tolist() == [8, 8]


def test_the_loss_of_categories_is_the_cross_entropy_of_a_softmax_in_bits():
    logits, targets = 3 * normal(3, 2, 5), jnp.asarray([[0, 4], [2, 99], [-7, 1]])
    of = tasks.Categories(5)
    loss = of.loss(logits, targets, MASK)
    probabilities = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    for b, due in ((0, [(0, 0), (1, 2)]), (1, [(0, 4), (2, 1)])):
        expected = sum(-np.log2(probabilities[t, b, c]) for t, c in due)
        np.testing.assert_allclose(loss[b], expected, rtol=1e-5)
        wrong = sum(int(np.argmax(logits[t, b]) != c) for t, c in due)
        assert of.wrong(logits, targets, MASK)[b] == wrong
    gradient = jax.grad(lambda x: of.loss(x, targets, MASK).sum())(logits)
    assert np.isfinite(gradient).all()
    assert not gradient[1, 1].any()  # not due, and no category


def test_a_category_is_right_only_if_it_is_more_probable_than_all_others():
    of, one = tasks.Categories(2), jnp.ones((1, 1), bool)
    zero = jnp.zeros((1, 1), int)
    for logits, wrong in (([1, 0], 0), ([0, 1], 1), ([0, 0], 1), ([np.nan, 0], 1)):
        assert of.wrong(jnp.asarray([[logits]], float), zero, one).item() == wrong
    huge = jnp.asarray([[[3e38, -3e38]]])
    assert of.loss(huge, zero, one).item() == 0


def test_real_numbers_have_squared_errors_and_are_right_within_a_distance():
    of = tasks.Reals(2, within=0.25)
    targets = jnp.zeros((3, 2, 2))
    outputs = targets.at[0, 0].set(jnp.asarray([0.25, 0.5])).at[2, 1, 0].set(3.0)
    outputs = outputs.at[1, 1].set(jnp.nan)  # not due
    assert of.loss(outputs, targets, MASK).tolist() == [0.3125, 9]
    assert of.wrong(outputs, targets, MASK).tolist() == [1, 1]
    np.testing.assert_allclose(
        of.errors(outputs, targets, MASK), [np.sqrt(0.3125 / 4), 1.5]
    )
    assert of.tolerance == 0.25


@pytest.mark.parametrize(
    "of", [tasks.Bits(3), tasks.Categories(3), tasks.Reals(3)], ids=str
)
def test_the_best_predictions_are_right_and_are_told_by_their_predictions(of):
    targets = jnp.asarray([[1, 0]] * 3)
    if of.step_shape:
        targets = jnp.broadcast_to(targets[..., None], (3, 2, 3)).astype(jnp.float32)
    best = of.as_predictions(targets)
    assert best.shape == (3, 2, 3)
    assert not of.wrong(of.as_logits(best), targets, MASK).any()
    logits = normal(3, 2, 3)
    again = of.as_logits(of.predictions(logits))
    assert (of.right(again, targets) == of.right(logits, targets)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tasks.Bits(0), "size: got 0, want an integer >= 1"),
        (lambda: tasks.Categories(-1), "size: got -1"),
        (lambda: tasks.Reals(1, within=0), "within: got 0, want a number above 0"),
        (lambda: tasks.Tokens(0), "size: got 0"),
        (
            lambda: tasks.Categories(3).loss(
                jnp.zeros((3, 2, 4)), jnp.zeros((3, 2), int), MASK
            ),
            r"logits: got shape \[3, 2, 4\], want \[3, 2, 3\], with targets \[T, B\]",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Plain(tasks.Task):
    @property
    def inputs(self):
        return tasks.Tokens(4)

    @property
    def targets(self):
        return tasks.Categories(3)

    def make(self, key, batch_size, ranges):
        raise NotImplementedError


def batch(**changed) -> tasks.Batch:
    integers: Any = np.zeros((3, 2), int)
    mask: Any = np.asarray(MASK)
    whole = tasks.Batch(inputs=integers, targets=integers, mask=mask)
    return whole.replace(**changed)


def check(given: tasks.Batch) -> None:
    fit.check_batch(Plain(), given, 2)
    fit.check_values(Plain(), given)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mask": np.zeros((3, 2), int)}, "mask: Plain makes int64, want bool for"),
        ({"inputs": np.zeros((3, 2))}, "inputs: Plain makes float64, want integer for"),
        ({"targets": np.zeros((3, 2, 3), int)}, r"shape [3, 2, 3], want [3, 2] for"),
        ({"targets": np.zeros((2, 2), int)}, r"makes the shape [2, 2], want [3, 2]"),
        ({"mask": np.ones((3, 5), bool)}, r"mask: Plain makes the shape [3, 5], want"),
        ({"inputs": [[0, 0]]}, "inputs: Plain makes list, want integer for Tokens"),
        ({"inputs": np.full((3, 2), 4)}, "inputs: in Plain, got 4, want from 0 to 3"),
        ({"targets": np.full((3, 2), -1)}, "targets: in Plain, got -1, want from 0 to"),
        ({"mask": np.zeros((3, 2), bool)}, "mask: Plain makes a sequence without a st"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(changed, message):
    check(batch())
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        check(batch(**changed))


def test_targets_that_are_not_due_can_be_anything():
    anything = np.where(MASK, 0, 99)
    fit.check_values(Plain(), batch(targets=anything))


@pytest.mark.parametrize("nothing", [np.nan, np.inf])
def test_real_numbers_that_are_not_due_have_no_gradient(nothing):
    of, logits = tasks.Reals(2), normal(3, 2, 2)
    targets = jnp.where(MASK[..., None], normal(3, 2, 2, seed=1), nothing)
    value_and_grad = jax.value_and_grad(lambda x, y: of.loss(x, y, MASK).sum())
    loss, gradient = value_and_grad(logits, targets)
    expected = value_and_grad(logits, jnp.where(MASK[..., None], targets, 5.0))
    assert loss == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])


def test_a_task_says_what_its_inputs_and_targets_are():
    class Silent(tasks.Task):
        make = Plain.make

    for name in ("inputs", "input_size", "targets", "output_size"):
        with pytest.raises(TypeError, match=r"puts: |targets: "):
            getattr(Silent(), name)
    assert (Plain().input_size, Plain().output_size) == (4, 3)
    assert (Plain().error_name, Plain().tolerance) == ("wrong symbols", 0.0)
    assert Plain().trials() == ({},)
