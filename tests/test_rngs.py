"""Controllers that draw random numbers: with dropout, or with noise."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntm_jax
from ntm_jax.linen import NTMCell

pytestmark = pytest.mark.usefixtures("quick_compilations")


class Noisy(nn.RNNCellBase):
    """A GRU with dropout on its output."""

    deterministic: bool = False

    @nn.compact
    def __call__(self, carry, inputs):
        """One step."""
        carry, hidden = nn.GRUCell(8, name="gru")(carry, inputs)
        dropped = nn.Dropout(0.5)(hidden, deterministic=self.deterministic)
        return carry, dropped

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        """Zeros."""
        return jnp.zeros((*input_shape[:-1], 8))

    @property
    def num_feature_axes(self):
        """One."""
        return 1


CONFIG = ntm_jax.NTMConfig(
    output_size=3, num_slots=6, slot_size=4, controller=Noisy(), order="read_first"
)
SURE = dataclasses.replace(CONFIG, controller=Noisy(deterministic=True))
RNGS = {"dropout": jax.random.key(7)}


@pytest.fixture(scope="module")
def params():
    return ntm_jax.init(jax.random.key(0), CONFIG, input_size=5)


def inputs(num_steps):
    return jax.random.normal(jax.random.key(1), (num_steps, 2, 5))


@functools.partial(jax.jit, static_argnames="config")
def unrolled(params, xs, rngs, config=CONFIG, mask=None):
    return ntm_jax.unroll(params, xs, config=config, rngs=rngs, mask=mask)


@pytest.mark.slow
def test_steps_draw_anew_and_the_same_key_draws_the_same(params):
    xs = inputs(4)
    _, ys = unrolled(params, xs, RNGS)
    np.testing.assert_array_equal(unrolled(params, xs, RNGS)[1], ys)
    other = {"dropout": jax.random.key(8)}
    assert not np.allclose(unrolled(params, xs, other)[1], ys)
    state = ntm_jax.initial_state(params, CONFIG, batch_shape=(2,))
    for t, x in enumerate(xs):
        rngs = {"dropout": jax.random.fold_in(RNGS["dropout"], t)}
        state, y = ntm_jax.step(params, state, x, config=CONFIG, rngs=rngs)
        np.testing.assert_allclose(y, ys[t], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_key_of_the_old_kind_does_too(params):
    xs = inputs(4)
    _, ys = unrolled(params, xs, {"dropout": jax.random.PRNGKey(7)})
    np.testing.assert_array_equal(ys, unrolled(params, xs, RNGS)[1])


@pytest.mark.slow
def test_the_backward_pass_draws_what_the_forward_pass_drew(params):
    xs = inputs(5)

    def loss(params, save_every):
        _, ys = ntm_jax.unroll(
            params, xs, config=CONFIG, rngs=RNGS, save_every=save_every
        )
        return (ys**2).sum()

    grads = [jax.jit(jax.grad(loss), static_argnums=1)(params, k) for k in (1, 2)]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *grads
    )


@pytest.mark.slow
def test_a_trace_draws_as_unroll_does(params):
    xs = inputs(4)
    traced = ntm_jax.trace(params, xs, config=CONFIG, rngs=RNGS)
    np.testing.assert_allclose(
        traced.outputs, unrolled(params, xs, RNGS)[1], rtol=1e-4, atol=1e-6
    )


def test_without_random_numbers_nothing_is_needed(params):
    xs = inputs(4)
    _, ys = unrolled(params, xs, None, config=SURE)
    np.testing.assert_allclose(unrolled(params, xs, RNGS, SURE)[1], ys, rtol=1e-5)


def test_what_is_missing_or_does_not_apply_is_named(params):
    xs = inputs(4)
    state = ntm_jax.initial_state(params, CONFIG, batch_shape=(2,))
    unroll = functools.partial(ntm_jax.unroll, params, xs, config=CONFIG)
    for call in (
        unroll,
        functools.partial(ntm_jax.trace, params, xs, config=CONFIG),
        functools.partial(ntm_jax.step, params, state, xs[0], config=CONFIG),
        functools.partial(unroll, rngs={"noise": jax.random.key(0)}),
    ):
        with pytest.raises(ValueError, match=r"rngs: got .*dropout.* pass rngs="):
            call()
    with pytest.raises(ValueError, match="implementation: got 'fast' with rngs"):
        unroll(rngs=RNGS, implementation="fast")
    with pytest.raises(TypeError, match=r"rngs: got .*, want a dict of names and keys"):
        unroll(rngs=jax.random.key(0))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"rngs\['dropout'\]: got int, want one key"):
        unroll(rngs={"dropout": 3})  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_linen_cell_takes_the_streams_of_its_module():
    layer = nn.RNN(
        NTMCell(CONFIG), time_major=True, split_rngs={"params": False, "dropout": True}
    )
    xs = inputs(4)
    variables = layer.init(jax.random.key(0), xs)
    apply = jax.jit(layer.apply)
    ys = apply(variables, xs, rngs=RNGS)
    np.testing.assert_array_equal(apply(variables, xs, rngs=RNGS), ys)
    other = {"dropout": jax.random.key(8)}
    assert not np.allclose(apply(variables, xs, rngs=other), ys)
    with pytest.raises(ValueError, match=r"rngs: got none, .*dropout"):
        layer.apply(variables, xs)
    alone = ntm_jax.init(jax.random.key(0), CONFIG, input_size=5)
    shapes = functools.partial(jax.tree.map, jnp.shape)
    assert shapes(variables["params"]["cell"]) == shapes(alone)
