"""A masked step passes on the state and its cotangent, whatever is in the state."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from machines import LEARNED, make_config, random_inputs, random_params, random_state
from test_fast import OnTheSphere

import ntm_jax

pytestmark = pytest.mark.usefixtures("quick_compilations")
T, B = 4, 3
CONFIGS = {
    "lstm": make_config(num_write_heads=2),
    "gru": make_config(controller=ntm_jax.gru(3), **LEARNED),
    "feed_forward": make_config(
        controller=ntm_jax.feed_forward(4),
        key_activation="identity",
        add_activation="identity",
    ),
    "on_the_sphere": make_config(controller=OnTheSphere()),
}
FAST_AND_AUTODIFF = [
    (name, kind) if name == "lstm" else pytest.param(name, kind, marks=pytest.mark.slow)
    for name in CONFIGS
    for kind in ("fast", "autodiff")
]
# Sequence 1 makes no step, and sequence 2 has a hole.
NONE = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 1]], bool).T
# Sequence 1 makes its first step once it was reset.
LATER = np.array([[1, 1, 1, 1], [0, 0, 1, 1], [1, 0, 1, 1]], bool).T
RESET = np.array([[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]], bool).T
NEVER = np.zeros((T, B), bool)


def cotangents_of(ended):
    """Another one for every number, so that none makes up for another."""
    return jax.tree.map(
        lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(
            leaf.shape
        ),
        ended,
    )


@functools.cache
def compiled(name, implementation):
    """The results, and the gradients of params, state and inputs."""

    def run(params, state, xs, mask, reset):
        ended, pull = jax.vjp(
            lambda params, state, xs: ntm_jax.unroll(
                params,
                xs,
                config=CONFIGS[name],
                state=state,
                mask=mask,
                reset=reset,
                implementation=implementation,
            ),
            params,
            state,
            xs,
        )
        return ended, pull(cotangents_of(ended))

    return jax.jit(run)


def assert_equal(result, expected):
    jax.tree.map(np.testing.assert_array_equal, result, expected)


def assert_near(result, expected):
    """The norms of slots round otherwise where one of the batch overflows."""
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        result,
        expected,
    )


def take(tree, b):
    return jax.tree.map(lambda leaf: leaf[b], tree)


@pytest.mark.parametrize(("name", "implementation"), FAST_AND_AUTODIFF)
@pytest.mark.parametrize("mask", [NONE, LATER], ids=["no_step", "until_a_reset"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_the_state_of_a_masked_sequence_may_hold_anything(
    name, implementation, mask, value
):
    config = CONFIGS[name]
    params, xs = random_params(config), random_inputs(T, B)
    state = random_state(params, config, batch_shape=(B,))
    run = compiled(name, implementation)
    flags = mask, (NEVER if mask is NONE else RESET)
    (end, ys), (to_params, to_state, to_xs) = run(params, state, xs, *flags)
    # Each leaf by itself, and all of them.
    leaves, tree = jax.tree.flatten(state)
    spoilt = [
        [
            leaf.at[1].set(value) if i in (j, len(leaves)) else leaf
            for j, leaf in enumerate(leaves)
        ]
        for i in range(len(leaves) + 1)
    ]
    for leaves in spoilt:
        bad = jax.tree.unflatten(tree, leaves)
        (bad_end, bad_ys), gradients = run(params, bad, xs, *flags)
        assert_near(gradients, (to_params, to_state, to_xs))
        assert_near((bad_ys, take(bad_end, 0)), (ys, take(end, 0)))
        if mask is NONE:
            assert_equal(take(bad_end, 1), take(bad, 1))
        else:
            assert_near(take(bad_end, 1), take(end, 1))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(to_params))
    cotangents = take(cotangents_of(end), 1)
    passed = cotangents if mask is NONE else jax.tree.map(jnp.zeros_like, cotangents)
    assert_equal(take(to_state, 1), passed)
