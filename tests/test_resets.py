"""Flags at which the state starts afresh: the same as each episode by itself."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from machines import (
    LEARNED,
    make_config,
    random_inputs,
    random_params,
    random_state,
    slow_unless,
)

import ntm_jax

pytestmark = pytest.mark.usefixtures("quick_compilations")
CONFIGS = {
    "plain": make_config(),
    "learned": make_config(num_read_heads=2, num_write_heads=2, **LEARNED),
    "interleaved": make_config(
        controller=ntm_jax.gru(3), order="interleaved", initial_memory="random"
    ),
    "stateless": make_config(controller=ntm_jax.feed_forward(4)),
}
T, B = 7, 4
# One flag in the middle, several, the first step, every step.
RESET = np.array(
    [[0, 0, 0, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0], [1] * T], bool
).T
# The flags fall on made and masked steps: between episodes, at their ends, and on all.
MASK = np.array(
    [[1, 1, 0, 0, 1, 1, 0], [1, 0, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 1, 1], [0] * T], bool
).T
close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)


def assert_same(result, expected):
    jax.tree.map(close, result, expected)


def each_episode_alone(params, xs, *, config, state, mask, reset):
    """Every piece between flags as a sequence of its own, masked but for its steps."""
    pieces = []
    for b in range(B):
        ends = [*np.flatnonzero(reset[:, b]), T]
        pieces.append((b, 0, ends[0]))
        pieces.extend((b, *piece) for piece in itertools.pairwise(ends))
    rows, starts, ends = np.array(pieces).T
    time = np.arange(T)[:, None]
    own = (starts <= time) & (time < ends)
    fresh = ntm_jax.initial_state(params, config, batch_shape=(len(pieces),))
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    state = jax.tree.map(lambda new, old: new.at[first].set(old), fresh, state)
    state, ys = ntm_jax.unroll(
        params,
        xs[:, rows],
        config=config,
        state=state,
        mask=own if mask is None else own & mask[:, rows],
    )
    last = np.flatnonzero(np.diff(rows, append=B))
    together = jnp.zeros((T, B, ys.shape[-1])).at[:, rows].add(ys)
    return jax.tree.map(lambda leaf: leaf[last], state), together


def value_and_gradients(run, config, mask, reset):
    """The end of a batch, the outputs, and what params, inputs and state get."""

    def loss(params, xs, state):
        ended = run(params, xs, config=config, state=state, mask=mask, reset=reset)
        # Another weight for every number, so that none makes up for another.
        weighted = [
            jnp.sum(leaf * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape))
            for leaf in jax.tree.leaves(ended)
        ]
        return sum(weighted), ended

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mask"), [*((name, MASK) for name in CONFIGS), ("learned", None)]
)
def test_values_and_gradients_are_those_of_each_episode_alone(name, mask):
    config = CONFIGS[name]
    params, xs = random_params(config), random_inputs(T, B)
    state = random_state(params, config, batch_shape=(B,))
    both = (
        value_and_gradients(run, config, mask, RESET)(params, xs, state)
        for run in (ntm_jax.unroll, each_episode_alone)
    )
    (result, gradients), (expected, expected_gradients) = both
    assert_same(result, expected)
    assert_same(gradients, expected_gradients)
    # A state that is never used gets nothing.
    to_state = gradients[2]
    assert not any(leaf[2:].any() for leaf in jax.tree.leaves(to_state))
    assert to_state.memory[0].any()
    if name == "learned":
        assert all(leaf.any() for leaf in jax.tree.leaves(gradients[0]["initial"]))


PARAMS = random_params(CONFIGS["plain"])
unroll = jax.jit(functools.partial(ntm_jax.unroll, PARAMS, config=CONFIGS["plain"]))


@pytest.mark.parametrize("mask", [None, np.zeros((T, B), bool)])
def test_flags_that_are_all_false_change_nothing(mask):
    xs, none = random_inputs(T, B), np.zeros((T, B), bool)
    state = random_state(PARAMS, CONFIGS["plain"], batch_shape=(B,))
    result = unroll(xs, state=state, reset=none, mask=mask)
    assert_same(result, unroll(xs, state=state, mask=mask))


def test_a_flag_at_a_masked_step_counts():
    """The end of an episode that falls into padding still ends it."""
    xs, masked = random_inputs(T, B), np.zeros((T, B), bool)
    state = random_state(PARAMS, CONFIGS["plain"], batch_shape=(B,))
    ended, ys = unroll(xs, state=state, reset=RESET, mask=masked)
    first = ntm_jax.initial_state(PARAMS, CONFIGS["plain"], batch_shape=(B,))
    jax.tree.map(np.testing.assert_array_equal, ended, first)
    assert not ys.any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "stateless"])
def test_a_state_that_is_never_used_may_hold_anything(name):
    """Nor does it reach a gradient by way of padding, before which it was replaced."""
    config = CONFIGS[name]
    params, xs = random_params(config), random_inputs(T, B)
    mask = np.arange(T)[:, None] < np.array([3, 4, 2, 4])
    reset = np.zeros((T, B), bool)
    reset[0] = True
    run = value_and_gradients(ntm_jax.unroll, config, mask, reset)
    state = random_state(params, config, batch_shape=(B,))
    expected = run(params, xs, state)
    nowhere = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), state)
    jax.tree.map(np.testing.assert_array_equal, run(params, xs, nowhere), expected)


@pytest.mark.parametrize("batch", [(), (2, 2), (2, 1, 2)])
def test_any_number_of_batch_axes(batch):
    xs, reset = random_inputs(T, B), RESET
    if not batch:
        state, ys = unroll(xs[:, 1], reset=reset[:, 1])
        close(ys, unroll(xs, reset=reset)[1][:, 1])
        assert state.memory.ndim == 2
    else:
        shaped = unroll(xs.reshape(T, *batch, -1), reset=reset.reshape(T, *batch))
        flat = jax.tree.map(
            lambda leaf, want: leaf.reshape(want.shape), shaped, unroll(xs, reset=reset)
        )
        assert_same(flat, unroll(xs, reset=reset))


def test_vmap_is_the_batch():
    xs = random_inputs(T, B)
    run = functools.partial(ntm_jax.unroll, PARAMS, config=CONFIGS["plain"])
    mapped = jax.vmap(
        lambda xs, reset, mask: run(xs, reset=reset, mask=mask),
        in_axes=1,
        out_axes=(0, 1),
    )
    expected = unroll(xs, reset=RESET, mask=MASK)
    assert_same(jax.jit(mapped)(xs, RESET, MASK), expected)


def test_a_sequence_in_chunks_is_the_whole():
    xs = random_inputs(T, B)
    state, first = unroll(xs[:3], reset=RESET[:3])
    state, rest = unroll(xs[3:], state=state, reset=RESET[3:])
    assert_same((state, jnp.concatenate([first, rest])), unroll(xs, reset=RESET))


def test_the_fresh_state_has_as_many_slots_as_the_one_before():
    config = CONFIGS["plain"]
    xs, reset = random_inputs(T), RESET[:, 0]
    state = ntm_jax.initial_state(PARAMS, config, num_slots=9)
    ended, ys = unroll(xs, state=state, reset=reset)
    again, expected = unroll(xs[3:], state=state)
    assert ended.memory.shape == (9, 3)
    assert_same((ended, ys[3:]), (again, expected))


def test_learned_slots_are_as_many_as_they_are():
    config = CONFIGS["learned"]
    params = random_params(config)
    state = random_state(params, config)
    more = state.replace(
        memory=jnp.ones((6, 3)),
        read_weights=jnp.ones((2, 6)) / 6,
        write_weights=jnp.ones((2, 6)) / 6,
    )
    reset = jnp.asarray(RESET[:, 0])
    with pytest.raises(ValueError, match=r"num_slots: got 6, want 5.*initial_memory"):
        ntm_jax.unroll(params, random_inputs(T), config=config, state=more, reset=reset)


@pytest.mark.parametrize("name", slow_unless(["learned"], CONFIGS))
def test_a_trace_starts_afresh_likewise(name):
    config = CONFIGS[name]
    params, xs = random_params(config), random_inputs(T, B)
    run = jax.jit(functools.partial(ntm_jax.trace, config=config))
    trace = run(params, xs, reset=RESET)
    run = jax.jit(functools.partial(ntm_jax.unroll, config=config))
    state, ys = run(params, xs, reset=RESET)
    close(trace.outputs, ys)
    assert_same(jax.tree.map(lambda leaf: leaf[-1], trace.states), state)


def test_the_second_call_with_other_flags_does_not_compile_again():
    traced = []

    @jax.jit
    def run(xs, reset):
        traced.append(reset)
        return ntm_jax.unroll(PARAMS, xs, config=CONFIGS["plain"], reset=reset)

    run(random_inputs(T, B), RESET)
    run(random_inputs(T, B), ~RESET)
    assert len(traced) == 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_dtype_in_is_dtype_out(dtype, x64):
    config = CONFIGS["learned"]
    params = random_params(config, dtype=dtype)
    result = jax.eval_shape(
        functools.partial(ntm_jax.unroll, config=config),
        params,
        random_inputs(T, B, dtype=dtype),
        reset=RESET,
        mask=MASK,
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(dtype)}
