"""NumPy's arrays and numbers mean outside of `jit` what they mean within."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from machines import LEARNED, make_config, random_inputs, random_params

import ntm_jax
from ntm_jax.linen import NTMCell
from ntm_jax.nnx import NTMCell as NNXCell

pytestmark = pytest.mark.usefixtures("quick_compilations")
CONFIG = make_config(**LEARNED)
PARAMS = random_params(CONFIG)
XS = random_inputs(3, 2)


def wide(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def states(params, xs):
    return ntm_jax.initial_state(params, CONFIG, batch_shape=xs.shape[1:-1])


def steps(params, xs):
    state = wide(states(params, xs)) if isinstance(xs, np.ndarray) else None
    return ntm_jax.step(params, state or states(params, xs), xs[0], config=CONFIG)


def through_linen(params, xs):
    layer = nn.RNN(NTMCell(CONFIG), time_major=True, return_carry=True)
    return layer.apply({"params": {"cell": params}}, xs)


def through_nnx(params, xs):
    cell = NNXCell.from_params(params, CONFIG)
    return nnx.RNN(cell, time_major=True, return_carry=True)(xs)


@pytest.mark.parametrize(
    "function",
    [
        states,
        pytest.param(steps, marks=pytest.mark.slow),
        pytest.param(
            functools.partial(ntm_jax.unroll, config=CONFIG), marks=pytest.mark.slow
        ),
        functools.partial(ntm_jax.trace, config=CONFIG),
        pytest.param(through_linen, marks=pytest.mark.slow),
        pytest.param(through_nnx, marks=pytest.mark.slow),
    ],
)
def test_double_precision_of_numpy_is_single_unless_jax_has_double(function):
    expected = function(PARAMS, XS)
    results = [function(wide(PARAMS), wide(XS))]
    if function is not steps:
        results += [function(PARAMS, wide(XS)), function(wide(PARAMS), XS)]
    for result in results:
        for leaf, want in zip(jax.tree.leaves(result), jax.tree.leaves(expected)):
            assert leaf.dtype == jnp.float32
            np.testing.assert_allclose(leaf, want, rtol=1e-4, atol=1e-6)


def test_the_equations_take_it_beside_single_precision():
    memory: Any = np.ones((4, 3))
    weights = jnp.full(4, 0.25)
    assert ntm_jax.read(memory, weights).dtype == jnp.float32
    strength: Any = np.float64(1)
    content = ntm_jax.content_weights(memory, jnp.ones(3), strength)
    assert content.dtype == jnp.float32
    np.testing.assert_allclose(content, weights, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int64])
def test_numbers_of_numpy_in_a_config_are_those_of_python(kind):
    fields = {"num_slots": 7, "head_scale": 2, "initial_strength": 3, "head_clip": 4}
    counts = {"num_slots": np.int32(7)}
    config = make_config(
        **{name: kind(value) for name, value in fields.items()} | counts
    )
    assert config == make_config(**fields)
    assert hash(config) == hash(make_config(**fields))
    for name in fields:
        assert type(getattr(config, name)) in (int, float)
    # A number of NumPy would widen what it meets.
    params = random_params(config, dtype=jnp.bfloat16)
    xs = random_inputs(2, dtype=jnp.bfloat16)
    _, ys = ntm_jax.unroll(params, xs, config=config)
    assert ys.dtype == jnp.bfloat16
