"""Controllers: those of the library, those of Flax, and custom modules."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from machines import (
    as_numpy,
    make_config,
    param_shapes,
    random_inputs,
    random_like,
    random_params,
    slow_unless,
    take,
)

import ntm_jax
from ntm_jax import controllers

BUILT_IN = {
    "lstm": ntm_jax.lstm(4),
    "lstm_of_two_layers": ntm_jax.lstm(3, num_layers=2),
    "gru": ntm_jax.gru(4),
    "gru_of_two_layers": ntm_jax.gru(3, num_layers=2),
    "feed_forward": ntm_jax.feed_forward(4),
    "feed_forward_of_two_layers": ntm_jax.feed_forward(3, num_layers=2),
    "plain_lstm": nn.LSTMCell(4),
}


@pytest.mark.parametrize("name", BUILT_IN)
def test_one_step_equals_the_reference(name):
    module = BUILT_IN[name]
    params = random_params(make_config(controller=module))["controller"]
    carry = random_like(controllers.initial_carry(module, 5, (2,)))
    inputs = jnp.asarray(np.random.default_rng(3).normal(size=(2, 5)), jnp.float32)
    new_carry, hidden = jax.jit(functools.partial(controllers.apply, module))(
        params, carry, inputs
    )
    for b in range(2):
        expected_carry, expected = reference.controller(
            as_numpy(params), as_numpy(take(carry, b)), as_numpy(inputs)[b]
        )
        np.testing.assert_allclose(hidden[b], expected, rtol=1e-5, atol=1e-6)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
            take(new_carry, b),
            expected_carry,
        )


@pytest.mark.parametrize(
    "build",
    [ntm_jax.lstm, ntm_jax.gru, ntm_jax.feed_forward],
)
def test_controllers_of_equal_arguments_are_equal(build):
    assert build(7, num_layers=2) == build(7, num_layers=2)
    assert hash(build(7)) == hash(build(7))
    assert build(7) != build(8)
    assert build(7) != build(7, num_layers=2)
    assert build() == build(100, 1)


def test_the_activation_of_feed_forward_can_be_chosen():
    module = ntm_jax.feed_forward(3, activation=nn.relu)
    params = {"Dense_0": {"kernel": jnp.eye(3), "bias": jnp.zeros(3)}}
    _, hidden = controllers.apply(module, params, (), jnp.array([-1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(hidden, [0, 0, 2])


CUSTOM = {
    "simple_cell": nn.SimpleCell(4),
    "mgu_cell": nn.MGUCell(4),
    "dense": nn.Dense(4),
    "sequential": nn.Sequential((nn.Dense(6), nn.relu, nn.LayerNorm(), nn.Dense(4))),
}


@pytest.mark.parametrize("name", slow_unless(["simple_cell", "dense"], CUSTOM))
def test_any_flax_cell_or_stateless_module_works(name):
    config = make_config(controller=CUSTOM[name], initial_carry="learned")
    params = random_params(config)
    xs = random_inputs(3, 2)
    mask = jnp.array([[True, True], [True, False], [False, False]])
    unroll = jax.jit(functools.partial(ntm_jax.unroll, config=config))
    state, ys = unroll(params, xs, mask=mask)
    assert ys.shape == (3, 2, 2)
    assert np.isfinite(ys).all()
    alone, expected = unroll(params, xs[:, 0], mask=mask[:, 0])
    np.testing.assert_allclose(ys[:, 0], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.memory[0], alone.memory, rtol=1e-4, atol=1e-6)


def test_a_simple_cell_computes_what_its_equation_says():
    config = make_config(controller=nn.SimpleCell(4))
    params = random_params(config)
    state = ntm_jax.initial_state(params, config)
    x = random_inputs()
    new_state, _ = jax.jit(functools.partial(ntm_jax.step, config=config))(
        params, state, x
    )
    own = as_numpy(params["controller"])
    inputs = [*np.asarray(x), *np.zeros(3)]
    expected = np.tanh(reference.affine(own["i"], inputs))
    np.testing.assert_allclose(new_state.controller, expected, rtol=1e-5)


class WithBatchStatistics(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.BatchNorm(use_running_average=False)(nn.Dense(4)(inputs))


class WithTwoOutputs(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(4)(inputs), inputs


class WithAMatrixOutput(nn.Module):
    @nn.compact
    def __call__(self, inputs):
        return nn.Dense(4)(inputs)[None]


@pytest.mark.parametrize(
    ("module", "got"),
    [
        (WithBatchStatistics(), "batch_stats"),
        (WithTwoOutputs(), "tuple"),
        (WithAMatrixOutput(), r"\[1, 4\]"),
    ],
)
def test_a_module_that_does_not_fit_is_refused(module, got):
    with pytest.raises((TypeError, ValueError), match=f"controller: got.*{got}"):
        param_shapes(make_config(controller=module))


@pytest.mark.parametrize(
    ("build", "kernels"),
    [
        (ntm_jax.lstm, ("ii", "if", "ig", "io")),
        (ntm_jax.gru, ("ir", "iz", "in")),
        (ntm_jax.feed_forward, ("Dense_0",)),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_input_kernels_have_the_given_scale(build, kernels, scale):
    inputs = 40
    controller = build(200, input_scale=scale)
    params, _ = controllers.init(jax.random.key(0), controller, inputs)
    for name in kernels:
        width = float(jnp.std(params[name]["kernel"]))
        assert width == pytest.approx(scale / inputs**0.5, rel=0.05)


@pytest.mark.parametrize(
    "session",
    [
        lambda: jax.default_prng_impl("rbg"),
        lambda: jax.threefry_partitionable(False),
    ],
)
def test_a_cell_that_draws_its_carry_draws_the_same_in_every_session(session):
    cell = nn.GRUCell(4, carry_init=nn.initializers.normal())
    config = make_config(controller=cell)
    params = random_params(config)
    expected = ntm_jax.initial_state(params, config).controller
    assert len(np.unique(expected)) == 4
    with session():
        state = jax.jit(lambda: ntm_jax.initial_state(params, config))()
        np.testing.assert_array_equal(state.controller, expected)


@pytest.mark.parametrize("build", [ntm_jax.lstm, ntm_jax.gru, ntm_jax.feed_forward])
def test_numbers_of_numpy_are_numbers(build):
    built = build(np.int64(4), np.int32(2), input_scale=np.float32(3))
    assert built == build(4, 2, input_scale=3.0)
    assert hash(built) == hash(build(4, 2, input_scale=3.0))


@pytest.mark.parametrize("build", [ntm_jax.lstm, ntm_jax.gru, ntm_jax.feed_forward])
def test_a_bad_input_scale_is_named(build):
    for bad in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="input_scale: got"):
            build(5, input_scale=bad)
    with pytest.raises(TypeError, match="input_scale: got 'wide'"):
        build(5, input_scale="wide")
