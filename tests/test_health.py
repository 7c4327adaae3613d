"""What is watched inside a machine."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TINY

import ntm_jax
import tasks
from train.training import loop
from train.training.batches import batch_of
from train.training.health import entropy_bits, watch
from train.training.optimizer import clipped_fraction, none_if_overflowed
from train.training.population import member
from train.training.state import NEVER, init_states


@pytest.fixture(scope="module")
def params():
    """Of a tiny machine, as it starts."""
    return member(init_states(TINY).params, 0)


@pytest.fixture(scope="module")
def batch() -> tasks.Batch:
    """Sequences of different lengths."""
    return TINY.make_task().sample(jax.random.key(3), 4, length=(1, 3))


def by_steps(params, batch):
    """Entropies `[T, B]` and memory norms of a plain loop over time, in NumPy."""
    machine = TINY.make_ntm_config()
    state = ntm_jax.initial_state(params, machine, batch_shape=(4,))
    entropies, norms = [], []
    for x in batch.inputs:
        state, _ = ntm_jax.step(params, state, x, config=machine)
        w = np.stack([state.read_weights[:, 0], state.write_weights[:, 0]], axis=1)
        w = w.astype(np.float64)
        entropies.append(-(w * np.log2(np.maximum(w, 1e-300))).sum(-1))
        norms.append(np.sqrt((np.asarray(state.memory) ** 2).sum((1, 2))))
    return np.stack(entropies), np.stack(norms)


def test_entropy_counts_bits():
    weights = jnp.asarray([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4])
    np.testing.assert_allclose(entropy_bits(weights), [0, 1, 2])


@pytest.mark.slow
def test_health_is_what_a_loop_over_the_steps_finds(params, batch):
    health = watch(params, batch, TINY.make_ntm_config())
    entropies, norms = by_steps(params, batch)
    counts = np.asarray(batch.steps)
    for head, kind in enumerate(("read", "write")):
        np.testing.assert_allclose(
            health[f"{kind}_focus_entropy"], entropies[:, :, head][counts].mean(), 1e-4
        )
    np.testing.assert_allclose(health["memory_norm"], norms[counts].mean(), 1e-4)
    assert health["read_gate_saturation"] == 0
    assert 1 < health["write_gamma"] <= health["write_gamma_max"]
    assert 0 < health["write_strength"] <= health["write_strength_max"]


@pytest.mark.slow
def test_health_sees_a_saturated_gate(params, batch):
    shut = jax.tree.map(lambda leaf: leaf, params)
    gate = TINY.slot_size + 1
    shut["read_heads"]["bias"] = params["read_heads"]["bias"].at[:, gate].set(-30)
    health = watch(shut, batch, TINY.make_ntm_config())
    assert health["read_gate_saturation"] == 1
    assert health["read_gate"] < 1e-6
    assert health["write_gate_saturation"] == 0
    shut["read_heads"]["bias"] = params["read_heads"]["bias"].at[:, gate].set(30)
    assert watch(shut, batch, TINY.make_ntm_config())["read_gate_saturation"] == 1


@pytest.mark.parametrize(
    ("clip", "at", "expected"),
    [("value", 2.5, 0.5), ("norm", 5.0, 1), ("norm", 6.0, 0), ("none", 1.0, 0)],
)
def test_the_clipped_fraction(clip, at, expected):
    config = dataclasses.replace(TINY, clip=clip, clip_at=at)
    gradient = {"a": jnp.asarray([3.0, 1.0]), "b": jnp.asarray([[-4.0], [2.0]])}
    assert clipped_fraction(config, gradient) == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_gradient_beyond_all_numbers_counts_as_none(bad):
    gradient = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([0.5])}
    same, norm, overflowed = none_if_overflowed(gradient)
    assert not overflowed
    assert norm == pytest.approx(np.sqrt(1 + 4 + 0.25))
    chex.assert_trees_all_equal(same, gradient)
    none, norm, overflowed = none_if_overflowed({**gradient, "b": jnp.array([bad])})
    assert overflowed
    assert norm == 0
    chex.assert_trees_all_equal(none, jax.tree.map(jnp.zeros_like, gradient))


@pytest.mark.slow
def test_one_overflow_does_not_end_a_run(monkeypatch):
    """The second update has a gradient, and nothing else, that overflows."""
    config = dataclasses.replace(TINY, clip_at=0.875)  # of no other test
    second = batch_of(config, jnp.int32(0), jnp.int32(1)).inputs
    own_loss = loop._loss

    def loss(params, batch, config):
        value, logits = own_loss(params, batch, config)
        bias = jnp.sum(params["output"]["bias"])
        # Every device has a part of the batch.
        part = batch.inputs
        parts = jnp.split(second, second.shape[1] // part.shape[1], axis=1)
        is_second = jnp.any(jnp.stack([jnp.all(part == own) for own in parts]))
        steep = jnp.where(is_second, 1e38, 0.0)
        return value + 1e10 * (steep * (bias - jax.lax.stop_gradient(bias))), logits

    monkeypatch.setattr(loop, "_loss", loss)
    states, metrics, _ = loop.train(init_states(config), config=config, num_steps=3)
    assert metrics.overflowed.tolist() == [[0, 1, 0]]
    assert metrics.gradient_norm[0, 1] == 0
    assert states.step.tolist() == [3]
    assert states.diverged_at.tolist() == [NEVER]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states))
