"""The derived backward pass against what JAX derives of a scan of `step`."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from machines import MACHINES, make_config, random_inputs, random_params, random_state

import ntm_jax
from ntm_jax import fast


class OnTheSphere(nn.RNNCellBase):
    """A cell that divides by the length of its carry, and so cannot bear zeros."""

    features: int = 3

    @nn.compact
    def __call__(self, carry, inputs):
        unit = carry / jnp.sqrt(jnp.sum(carry**2, axis=-1, keepdims=True))
        carry = unit + nn.Dense(self.features, param_dtype=inputs.dtype)(inputs)
        return carry, carry

    def initialize_carry(self, rng, input_shape):
        return jnp.ones((*input_shape[:-1], self.features))

    @property
    def num_feature_axes(self):
        return 1


FAST_MACHINES = {
    name: fields
    for name, fields in MACHINES.items()
    if fields.get("order", "read_first") == "read_first"
    and "previous_focus" not in fields
} | {
    "on_the_sphere": {"controller": OnTheSphere()},
    "in_a_dtype_of_its_own": {"controller": nn.Dense(4, dtype=jnp.float32)},
    "with_a_carry_in_a_dtype_of_its_own": {
        "controller": nn.SimpleCell(4, dtype=jnp.float32)
    },
    "wide_slots": {"slot_size": fast._WIDEST_WRITTEN_OUT + 1},
}
# Holes, ends of padding, a sequence without a step, and two steps that none makes.
MASK = np.array(
    [[1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0] * 6], bool
).T


def scan_of_step(params, xs, *, config, state, mask):
    """What `unroll` computes, in the plainest way."""

    def body(state, inputs):
        x, keep = inputs
        new, y = ntm_jax.step(params, state, x, config=config)
        new = jax.tree.map(
            lambda a, b: jnp.where(keep.reshape(-1, *(1,) * (a.ndim - 1)), a, b),
            new,
            state,
        )
        return new, jnp.where(keep[:, None], y, 0)

    return jax.lax.scan(body, state, (xs, mask))


@pytest.mark.usefixtures("x64", "quick_compilations")
@pytest.mark.parametrize("name", FAST_MACHINES)
def test_values_and_gradients_are_those_of_a_scan_of_step(name):
    config = make_config(**FAST_MACHINES[name])
    params = random_params(config, dtype=jnp.float64)
    xs = random_inputs(*MASK.shape, dtype=jnp.float64)
    state = random_state(params, config, batch_shape=xs.shape[1:-1])
    assert fast.applies(config, state)

    def loss(params, xs, state, run):
        ended = run(params, xs, config=config, state=state, mask=MASK)
        # Another weight for every number, so that none makes up for another.
        weighted = [
            jnp.sum(leaf * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape))
            for leaf in jax.tree.leaves(ended)
        ]
        return sum(weighted), ended

    both = jax.jit(
        jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True), static_argnums=3
    )
    tolerance = 1e-5 if "dtype" in name else 1e-8
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance),
        both(params, xs, state, ntm_jax.unroll),
        both(params, xs, state, scan_of_step),
    )


@pytest.mark.usefixtures("quick_compilations")
def test_slots_whose_squares_are_beyond_float32_are_found_all_the_same():
    config = make_config(num_slots=7)
    params = random_params(config)
    state = random_state(params, config, batch_shape=(2,))
    state = state.replace(memory=1e18 * state.memory)
    squares = jnp.sum(state.memory**2, axis=-1)
    assert (squares > fast._MANY).any()
    assert (squares < fast._MANY).any()
    xs, mask = random_inputs(1, 2), np.ones((1, 2), bool)

    def foci(params, run):
        ended, _ = run(params, xs, config=config, state=state, mask=mask)
        return jnp.sum(jnp.sin(ended.read_weights)), (
            ended.read_weights,
            ended.write_weights,
        )

    both = jax.jit(jax.value_and_grad(foci, has_aux=True), static_argnums=1)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        both(params, ntm_jax.unroll),
        both(params, scan_of_step),
    )
