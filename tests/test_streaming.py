"""One step at a time: a state that goes from call to call, and to a file and back."""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization
from machines import LEARNED, make_config, random_inputs, random_params, random_state
from orbax import checkpoint

import ntm_jax

pytestmark = pytest.mark.usefixtures("quick_compilations")
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
CONFIG = make_config(num_read_heads=2, controller=ntm_jax.lstm(3, num_layers=2))
PARAMS = random_params(CONFIG)


def with_flax(state, like, path):
    path.write_bytes(serialization.to_bytes(state))
    return serialization.from_bytes(like, path.read_bytes())


def with_numpy(state, like, path):
    leaves, treedef = jax.tree.flatten(state)
    file = io.BytesIO()
    np.savez(file, *leaves)
    file.seek(0)
    return jax.tree.unflatten(treedef, np.load(file).values())


def with_orbax(state, like, path):
    with checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(path, like)


@functools.cache
def whole():
    """A batch of sequences unrolled at once."""
    xs = random_inputs(5, 2)
    return xs, *jax.jit(functools.partial(ntm_jax.unroll, config=CONFIG))(PARAMS, xs)


@functools.cache
def donating_step():
    return jax.jit(functools.partial(ntm_jax.step, config=CONFIG), donate_argnums=1)


@pytest.mark.parametrize("save_and_restore", [with_flax, with_numpy, with_orbax])
def test_a_state_from_a_file_goes_on_as_if_never_stopped(save_and_restore, tmp_path):
    xs, end, ys = whole()
    state = ntm_jax.initial_state(PARAMS, CONFIG, batch_shape=(2,))
    like, outputs = state, []
    for t, x in enumerate(xs):
        if t in (0, 3):
            state = save_and_restore(state, like, tmp_path / str(t))
            assert isinstance(state, ntm_jax.NTMState)
            like = jax.tree.map(jnp.zeros_like, state)
        state, y = donating_step()(PARAMS, state, x)
        outputs.append(y)
    close(jnp.stack(outputs), ys)
    jax.tree.map(close, state, end)


def test_a_donated_state_is_used_up_and_nothing_else():
    config = make_config(**LEARNED)
    params = random_params(config)
    step = jax.jit(functools.partial(ntm_jax.step, config=config), donate_argnums=1)
    first = state = ntm_jax.initial_state(params, config)
    for _ in range(3):
        state, _ = step(params, state, random_inputs())
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(params))
    # The parameters start the next stream.
    ntm_jax.initial_state(params, config)


def test_a_state_of_bfloat16_survives_a_file(tmp_path):
    params = random_params(CONFIG, dtype=jnp.bfloat16)
    state = random_state(params, CONFIG)
    again = with_flax(state, jax.tree.map(jnp.zeros_like, state), tmp_path / "state")
    assert {leaf.dtype for leaf in jax.tree.leaves(again)} == {jnp.dtype("bfloat16")}
    jax.tree.map(np.testing.assert_array_equal, again, state)
