"""The trace of a machine: what it did at every step, and why."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from machines import make_config, random_inputs, random_params

import ntm_jax


@pytest.mark.parametrize("order", ["read_first", "write_first", "interleaved"])
def test_a_trace_holds_what_unroll_goes_through(order):
    config = make_config(order=order)
    params, xs = random_params(config), random_inputs(5, 2)
    trace = jax.jit(functools.partial(ntm_jax.trace, config=config))(params, xs)
    state, ys = jax.jit(functools.partial(ntm_jax.unroll, config=config))(params, xs)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    close(trace.outputs, ys)
    last = jax.tree.map(lambda leaf: leaf[-1], trace.states)
    jax.tree.map(close, last, state)


def test_what_the_heads_emitted_leads_to_their_foci():
    config = make_config(order="read_first")
    params, xs = random_params(config), random_inputs(5, 2)
    trace = jax.jit(functools.partial(ntm_jax.trace, config=config))(params, xs)
    states = trace.states
    for t in range(1, 5):
        memory = states.memory[t - 1]
        read, write, writing = (
            jax.tree.map(lambda leaf, t=t: leaf[t], emitted)
            for emitted in (trace.read, trace.write, trace.writing)
        )
        focus = ntm_jax.address(memory, states.read_weights[t - 1], *read)
        np.testing.assert_allclose(focus, states.read_weights[t], rtol=1e-4, atol=1e-6)
        focus = ntm_jax.address(memory, states.write_weights[t - 1], *write)
        np.testing.assert_allclose(focus, states.write_weights[t], rtol=1e-4, atol=1e-6)
        written = ntm_jax.write(memory, focus, *writing)
        np.testing.assert_allclose(written, states.memory[t], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_trace_goes_on_from_a_state_and_names_what_does_not_fit():
    config = make_config()
    params, xs = random_params(config), random_inputs(4, 2)
    whole = ntm_jax.trace(params, xs, config=config)
    state, _ = ntm_jax.unroll(params, xs[:2], config=config)
    rest = ntm_jax.trace(params, xs[2:], config=config, state=state)
    np.testing.assert_allclose(rest.outputs, whole.outputs[2:], rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="xs: got shape"):
        ntm_jax.trace(params, xs[0, 0], config=config)


@pytest.mark.slow
def test_a_masked_step_changes_nothing_and_emits_nothing():
    config = make_config()
    params, xs = random_params(config), random_inputs(6, 2)
    mask = jnp.array([[1, 1], [0, 1], [1, 1], [1, 0], [0, 0], [0, 1]], bool)
    xs = jnp.where(mask[..., None], xs, jnp.nan)
    reset = jnp.zeros((6, 2), bool).at[2, 1].set(True)
    call = {"config": config, "mask": mask, "reset": reset}
    trace = jax.jit(functools.partial(ntm_jax.trace, **call))(params, xs)
    state, ys = jax.jit(functools.partial(ntm_jax.unroll, **call))(params, xs)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    close(trace.outputs, ys)
    jax.tree.map(lambda leaf, last: close(leaf[-1], last), trace.states, state)
    for t, b in ((3, 1), (4, 0), (4, 1)):
        emitted = jax.tree.map(
            lambda leaf, at=(t, b): leaf[at], (trace.read, trace.write, trace.writing)
        )
        assert not any(leaf.any() for leaf in jax.tree.leaves(emitted))
    jax.tree.map(
        lambda leaf: np.testing.assert_array_equal(leaf[4, 0], leaf[3, 0]), trace.states
    )
    with pytest.raises(ValueError, match="mask: got shape"):
        ntm_jax.trace(params, xs, config=config, mask=mask[:3])
