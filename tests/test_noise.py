"""Noise in a controller's carry: where it comes in, and where it does not."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TINY, short_of_time  # noqa: F401 (a fixture)

from ntm_jax import controllers
from train.runs.config import TrainConfig
from train.training.loop import train
from train.training.noise import NoisyCell, noisy_batch, noisy_model
from train.training.state import init_states

INPUT_SIZE, NUM_READS = 3, 4
RECURRENT = [("lstm", 2), ("gru", 1)]


def config_of(controller="lstm", layers=1, noise=0.5) -> TrainConfig:
    return dataclasses.replace(
        TINY, controller=controller, controller_layers=layers, carry_noise=noise
    )


@pytest.mark.slow
@pytest.mark.parametrize(("controller", "layers"), RECURRENT)
def test_the_cell_steps_from_the_carry_with_noise(controller, layers):
    cell: Any = config_of(controller, layers).make_controller()
    noisy = NoisyCell(cell=cell, input_size=INPUT_SIZE)
    keys = iter(jax.random.split(jax.random.key(0), 9))
    params, _ = controllers.init(next(keys), cell, INPUT_SIZE + NUM_READS)

    carry = controllers.initial_carry(cell, INPUT_SIZE, (2,))
    noise = jax.tree.map(lambda leaf: jax.random.normal(next(keys), leaf.shape), carry)
    x = jax.random.normal(next(keys), (2, INPUT_SIZE))
    reads = jax.random.normal(next(keys), (2, NUM_READS))
    expected = controllers.apply(
        cell,
        params,
        jax.tree.map(jnp.add, carry, noise),
        jnp.concatenate([x, reads], axis=-1),
    )
    inputs = jnp.concatenate([x, *jax.tree.leaves(noise), reads], axis=-1)
    stepped = controllers.apply(noisy, params, carry, inputs)
    jax.tree.map(np.testing.assert_array_equal, stepped, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("controller", "layers"), RECURRENT)
def test_noise_comes_after_the_inputs_as_strong_as_asked(controller, layers):
    config = config_of(controller, layers)
    batch = config.make_task().sample(jax.random.key(0), 400)
    noisy = noisy_batch(batch, config, jax.random.key(1))
    width = batch.inputs.shape[-1]
    np.testing.assert_array_equal(noisy.inputs[..., :width], batch.inputs)
    noise = noisy.inputs[..., width:]
    numbers_of_the_carry = 8 * layers * (2 if controller == "lstm" else 1)
    assert noise.shape[-1] == numbers_of_the_carry
    assert np.std(noise) == pytest.approx(0.5, rel=0.05)
    assert np.mean(noise) == pytest.approx(0, abs=0.02)
    for name in ("targets", "mask"):
        np.testing.assert_array_equal(getattr(noisy, name), getattr(batch, name))

    model, own = noisy_model(config), config.make_model()
    params = own.init(jax.random.key(2), width)
    silent = noisy.replace(inputs=noisy.inputs.at[..., width:].set(0))
    np.testing.assert_allclose(
        model.logits(params, silent.inputs), own.logits(params, batch.inputs), atol=1e-5
    )
    assert not np.allclose(
        model.logits(params, noisy.inputs), own.logits(params, batch.inputs), rtol=1e-2
    )


def test_noise_is_the_same_in_double_precision():
    config = config_of()
    batch = config.make_task().sample(jax.random.key(0), 2)
    noisy = noisy_batch(batch, config, jax.random.key(1))
    with jax.enable_x64(True):
        again = noisy_batch(batch, config, jax.random.key(1))
    np.testing.assert_array_equal(again.inputs, noisy.inputs)


def test_without_noise_all_is_as_it_was():
    config = config_of(noise=0.0)
    batch = config.make_task().sample(jax.random.key(0), 2)
    assert noisy_batch(batch, config, jax.random.key(1)) is batch
    assert noisy_model(config) == config.make_model()


@pytest.mark.slow
def test_each_update_and_seed_has_noise_of_its_own_and_the_loss_feels_it():
    losses = []
    for noise in (0.0, 0.5):
        config = dataclasses.replace(
            config_of(noise=noise), num_seeds=2, learning_rate=1e-30, momentum=0.0
        )
        _, metrics, _ = train(init_states(config), config=config, num_steps=2)
        losses.append(np.asarray(metrics.loss))
    differences = (losses[1] - losses[0]).ravel()
    assert (differences != 0).all()
    assert len(set(differences.tolist())) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"controller": "feed_forward"}, "with controller feed_forward"),
        ({"model": "lstm"}, "with model lstm"),
        ({"carry_noise": -0.1}, "carry_noise: got -0.1, want a positive number"),
    ],
)
def test_noise_where_there_is_nothing_to_disturb_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"carry_noise": 0.1} | changes)
