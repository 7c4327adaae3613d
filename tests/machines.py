"""Small machines with random numbers in them, for the tests."""

import jax
import jax.numpy as jnp
import numpy as np

import ntm_jax

INPUT_SIZE = 2


def make_config(**fields) -> ntm_jax.NTMConfig:
    small = {
        "output_size": 2,
        "num_slots": 5,
        "slot_size": 3,
        "controller": ntm_jax.lstm(4),
    }
    return ntm_jax.NTMConfig(**(small | fields))


def random_like(tree, seed=0, dtype=None):
    """Normal numbers in the shapes of `tree`, and its dtypes if none is given."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), dtype or leaf.dtype), tree
    )


def param_shapes(config, input_size=INPUT_SIZE):
    return jax.eval_shape(
        lambda key: ntm_jax.init(key, config, input_size), jax.random.key(0)
    )


def random_params(config, seed=0, dtype=jnp.float32):
    with jax.enable_x64(False):
        shapes = param_shapes(config)
    return random_like(shapes, seed, dtype=dtype)


def random_inputs(*leading, seed=1, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(*leading, INPUT_SIZE)), dtype)


def random_state(params, config, seed=2, batch_shape=()):
    """A state in the middle of things: every leaf another number."""
    state = ntm_jax.initial_state(params, config, batch_shape=batch_shape)
    state = random_like(state, seed)
    return ntm_jax.NTMState(
        memory=state.memory,
        read_weights=jax.nn.softmax(state.read_weights),
        write_weights=jax.nn.softmax(state.write_weights),
        reads=state.reads,
        controller=state.controller,
    )


def as_numpy(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def take(tree, index):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)
