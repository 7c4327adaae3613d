"""`weight_decay_mask`: which parameters are decayed, in any model with a machine."""

import dataclasses
import functools

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import ntm_jax
import ntm_jax.linen
import ntm_jax.nnx

CONFIG = ntm_jax.NTMConfig(
    output_size=4,
    num_slots=5,
    slot_size=3,
    num_read_heads=2,
    controller=ntm_jax.lstm(6),
    initial_memory="learned",
    initial_weighting="learned",
    initial_read="learned",
    initial_carry="learned",
)
mask_of = ntm_jax.weight_decay_mask


@pytest.fixture(scope="module")
def params():
    return ntm_jax.init(jax.random.key(0), CONFIG, 3)


def decayed(params):
    """The paths of the parameters that are decayed."""
    mask = mask_of(params)
    assert jax.tree.structure(mask) == jax.tree.structure(params)
    leaves = jax.tree_util.tree_leaves_with_path(mask)
    assert all(type(leaf) is bool for _, leaf in leaves)
    return {jax.tree_util.keystr(path) for path, leaf in leaves if leaf}


def kernels(params):
    paths = [
        jax.tree_util.keystr(path)
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
    return {path for path in paths if path.endswith("['kernel']")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "controller",
    [ntm_jax.lstm(6, 2), ntm_jax.gru(6), ntm_jax.feed_forward(6), nn.LSTMCell(6)],
)
def test_the_kernels_of_a_machine_are_decayed_and_nothing_else(controller):
    config = dataclasses.replace(CONFIG, controller=controller)
    params = ntm_jax.init(jax.random.key(0), config, 3)
    assert params["read_heads"]["bias"].ndim == 2
    assert decayed(params) == kernels(params)
    assert {"['output']['kernel']", "['read_heads']['kernel']"} <= decayed(params)


@pytest.mark.slow
def test_the_axes_of_a_stack_change_nothing():
    keys = jax.random.split(jax.random.key(0), 2)
    stack = jax.vmap(lambda key: ntm_jax.init(key, CONFIG, 3))(keys)
    assert decayed(stack) == kernels(stack)

    class Layers(nn.Module):
        @nn.compact
        def __call__(self, x):
            stacked = functools.partial(
                nn.vmap, variable_axes={"params": 0}, split_rngs={"params": True}
            )
            return stacked(nn.LayerNorm)()(stacked(nn.Dense)(4)(x))

    stacked = Layers().init(jax.random.key(0), jnp.ones((3, 4)))
    assert decayed(stacked) == kernels(stacked)


class Block(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        xs = nn.Embed(5, 4)(tokens)
        xs = nn.MultiHeadDotProductAttention(2)(nn.LayerNorm()(xs))
        xs = nn.RNN(ntm_jax.linen.NTMCell(CONFIG), name="machine")(xs)
        xs = nn.Dense(4, name="initial")(xs)
        gain = self.param("gain", nn.initializers.ones, (4,))
        mixing = self.param("mixing", nn.initializers.ones, (4, 4))
        return (gain[None, None] * xs) @ mixing


def test_a_whole_linen_model():
    variables = jax.eval_shape(
        Block().init, jax.random.key(0), jnp.zeros((2, 3), jnp.int32)
    )
    attention = variables["params"]["MultiHeadDotProductAttention_0"]
    assert attention["query"]["bias"].ndim == 2
    assert decayed(variables) == {
        *kernels(variables),
        "['params']['Embed_0']['embedding']",
        "['params']['mixing']",
    }
    assert "['params']['initial']['kernel']" in decayed(variables)


@pytest.mark.slow
def test_a_whole_nnx_model(params):
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.memory = ntm_jax.nnx.NTMCell(3, CONFIG, rngs=rngs)
            self.norm = nnx.LayerNorm(4, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(2, 4, rngs=rngs, decode=False)

    model = Model(nnx.Rngs(0))
    for tree in (nnx.state(model, nnx.Param), nnx.to_pure_dict(nnx.state(model))):
        names = [path.replace(".value", "") for path in decayed(tree)]
        assert names
        assert all(path.endswith("['kernel']") for path in names)
        assert len(names) == 4 + len(kernels(params))
    before = jax.tree.map(jnp.copy, model.memory.params)
    optimizer = nnx.Optimizer(
        model, optax.adamw(0.1, weight_decay=0.5, mask=mask_of), wrt=nnx.Param
    )
    gradient = jax.tree.map(jnp.zeros_like, nnx.state(model, nnx.Param))
    with jax.numpy_dtype_promotion("standard"):  # Optax's Adam needs it
        optimizer.update(model, gradient)
    assert_decayed(before, model.memory.params, 0.95)


def assert_decayed(before, after, factor):
    def check(old, new, is_decayed):
        want = factor * old if is_decayed else old
        np.testing.assert_allclose(new, want, rtol=1e-6)

    jax.tree.map(check, before, after, mask_of(before))


@pytest.mark.slow
def test_adamw_keeps_the_biases_and_the_initial_state(params):
    optimizer = optax.adamw(0.1, weight_decay=0.5, mask=mask_of)
    gradient = jax.tree.map(jnp.zeros_like, params)
    with jax.numpy_dtype_promotion("standard"):  # Optax's Adam needs it
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    assert_decayed(params, optax.apply_updates(params, updates), 0.95)


@pytest.mark.slow
def test_haiku_and_equinox_models(params):
    def model(x):
        init = functools.partial(ntm_jax.init, config=CONFIG, input_size=3)
        hk.lift(init, name="memory")(hk.next_rng_key())
        return hk.LayerNorm(-1, True, True)(hk.Linear(4)(x))

    weights = hk.transform(model).init(jax.random.key(0), jnp.ones((2, 3)))
    assert decayed(weights) == {*kernels(weights), "['linear']['w']"}

    class Model(eqx.Module):
        memory: dict
        linear: eqx.nn.Linear
        activation: object = jnp.tanh

    whole = Model(params, eqx.nn.Linear(3, 4, key=jax.random.key(0)))
    assert decayed(whole) == {
        *(f".memory{path}" for path in kernels(params)),
        ".linear.weight",
    }


def test_one_array_is_decayed_by_its_axes():
    assert mask_of(jnp.ones((2, 3)))
    assert not mask_of(jnp.ones(3))
