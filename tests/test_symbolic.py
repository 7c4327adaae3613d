"""Symbolic sizes: one exported program serves every batch, length and memory."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export
from machines import make_config, random_inputs, random_params

import ntm_jax
from ntm_jax.linen import NTMCell
from ntm_jax.nnx import NTMCell as NNXCell

pytestmark = pytest.mark.usefixtures("quick_compilations")
CONFIG = make_config()
PARAMS = random_params(CONFIG)
unroll = functools.partial(ntm_jax.unroll, PARAMS, config=CONFIG)


def exported(function, shape, constraints=()):
    sizes = export.symbolic_shape(shape, constraints=constraints)
    return export.export(jax.jit(function))(jax.ShapeDtypeStruct(sizes, jnp.float32))


def assert_exported(function, shape, *inputs, constraints=()):
    """One exported program returns what the function returns, for all the inputs."""
    program = exported(function, shape, constraints)
    for x in inputs:
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
            program.call(x),
            function(x),
        )


def flagged(x, **options):
    return unroll(x, mask=x[..., 0] > -1, reset=x[..., 1] > 1, **options)


def gradient(x):
    def loss(params):
        return jnp.sum(ntm_jax.unroll(params, x, config=CONFIG)[1] ** 2)

    return jax.grad(loss)(PARAMS)


def traced(x):
    return ntm_jax.trace(PARAMS, x, config=CONFIG, reset=x[..., 1] > 1)


def through_linen(x):
    layer = nn.RNN(NTMCell(CONFIG), time_major=True)
    return layer.apply({"params": {"cell": PARAMS}}, x)


def through_nnx(x):
    return nnx.RNN(NNXCell.from_params(PARAMS, CONFIG), time_major=True)(x)


@pytest.mark.parametrize(
    "function",
    [
        flagged,
        pytest.param(gradient, marks=pytest.mark.slow),
        pytest.param(traced, marks=pytest.mark.slow),
        pytest.param(through_linen, marks=pytest.mark.slow),
        pytest.param(through_nnx, marks=pytest.mark.slow),
    ],
)
def test_batch_and_time(function):
    assert_exported(function, "t, b, 2", random_inputs(5, 3))


@pytest.mark.slow
def test_a_batch_of_two_axes_and_a_batch_in_terms_of_another():
    assert_exported(unroll, "4, 2*b, c, 2", random_inputs(4, 6, 1))


@pytest.mark.slow
def test_states_are_saved_every_few_of_a_number_of_steps():
    saved = functools.partial(flagged, save_every=3)
    assert_exported(saved, "5, b, 2", random_inputs(5, 2))
    with pytest.raises(ValueError, match=r"save_every: got 3 .* steps t, want None"):
        exported(saved, "t, b, 2")


def test_a_batch_shape():
    def start(x):
        return ntm_jax.initial_state(PARAMS, CONFIG, batch_shape=x.shape)

    assert_exported(start, "b", jnp.zeros(3))


@pytest.mark.parametrize("memory", ["constant", "random"])
@pytest.mark.parametrize("weighting", ["first_slot", "uniform", "none"])
def test_a_number_of_slots(memory, weighting):
    fields = {"initial_memory": memory, "initial_weighting": weighting}
    config = dataclasses.replace(CONFIG, **fields)

    def start(x):
        return ntm_jax.initial_state(PARAMS, config, num_slots=x.shape[0])

    assert_exported(start, "n", jnp.zeros(7), constraints=["n >= 3"])


@pytest.mark.slow
def test_steps_with_a_number_of_slots():
    def run(x):
        state = ntm_jax.initial_state(PARAMS, CONFIG, num_slots=x.shape[0])
        return unroll(random_inputs(3), state=state)

    assert_exported(run, "n", jnp.zeros(7), constraints=["n >= 3"])


def test_what_is_not_known_to_be_large_enough_is_refused_with_a_remedy():
    def slots(x):
        return ntm_jax.initial_state(PARAMS, CONFIG, num_slots=x.shape[0])

    def batch(x):
        return ntm_jax.initial_state(PARAMS, CONFIG, batch_shape=(x.shape[0] - 3,))

    with pytest.raises(ValueError, match=r"num_slots: got .* n, .*\['n >= 3'\]"):
        exported(slots, "n")
    with pytest.raises(ValueError, match=r"batch_shape: got .* n - 3, .*at least 0"):
        exported(batch, "n")


def test_the_fast_path_needs_numbers():
    fast = functools.partial(unroll, implementation="fast")
    for shape, size in (("t, 3, 2", "t"), ("4, b, 2", "b")):
        with pytest.raises(
            ValueError, match=f"implementation: got .*size {size}, .*'a"
        ):
            exported(fast, shape)


def test_widths_are_numbers():
    with pytest.raises(ValueError, match="xs: got width i, want 2"):
        exported(unroll, "4, 3, i")
    with pytest.raises(TypeError, match="input_size: got i, want an integer"):
        exported(lambda x: ntm_jax.init(jax.random.key(0), CONFIG, x.shape[0]), "i")
