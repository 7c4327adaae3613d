"""Small machines with random numbers in them, for the tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntm_jax

INPUT_SIZE = 2
LEARNED = {
    "initial_memory": "learned",
    "initial_weighting": "learned",
    "initial_read": "learned",
    "initial_carry": "learned",
}
MACHINES = {
    "default": {},
    "read_first_2_3": {"num_read_heads": 2, "num_write_heads": 3},
    "write_first_2_2": {
        "order": "write_first",
        "num_read_heads": 2,
        "num_write_heads": 2,
    },
    "interleaved_3_2": {
        "order": "interleaved",
        "num_read_heads": 3,
        "num_write_heads": 2,
    },
    "interleaved_1_2": {"order": "interleaved", "num_write_heads": 2},
    "no_shift_sigmoid_key_identity_add": {
        "shift_range": 0,
        "key_activation": "sigmoid",
        "add_activation": "identity",
    },
    "wide_shift_identity_key_sigmoid_add": {
        "shift_range": 2,
        "key_activation": "identity",
        "add_activation": "sigmoid",
    },
    "clip": {"head_clip": 0.5, "num_write_heads": 2},
    "not_sharpened": {"sharpening": "none", "num_read_heads": 2},
    "random_memory_uniform_focus": {
        "initial_memory": "random",
        "initial_weighting": "uniform",
    },
    "read_focus_3_2": {
        "previous_weighting": "read",
        "num_read_heads": 3,
        "num_write_heads": 2,
    },
    "read_focus_write_first": {"previous_weighting": "read", "order": "write_first"},
    "no_focus": {"initial_weighting": "none", "num_read_heads": 2},
    "learned_lstm": LEARNED | {"num_read_heads": 2, "num_write_heads": 2},
    "learned_gru": LEARNED | {"controller": ntm_jax.gru(4)},
    "two_lstm_layers": {
        "controller": ntm_jax.lstm(3, num_layers=2),
        "initial_carry": "learned",
    },
    "learned_two_layers": LEARNED
    | {"controller": ntm_jax.feed_forward(4, num_layers=2)},
}
# Among them are every order, and every choice of each field but the controller.
COVERING = {
    "clip",
    "default",
    "interleaved_3_2",
    "learned_lstm",
    "no_focus",
    "no_shift_sigmoid_key_identity_add",
    "not_sharpened",
    "random_memory_uniform_focus",
    "read_first_2_3",
    "read_focus_3_2",
    "wide_shift_identity_key_sigmoid_add",
    "write_first_2_2",
}


def slow_unless(fast, names, rare=()) -> list:
    """The names to parametrize a test by; those that are not among `fast` are slow.

    Those in `rare` are rare, too.
    """

    def marks(name):
        if name in fast:
            return ()
        return pytest.mark.rare if name in rare else pytest.mark.slow

    return [pytest.param(name, marks=marks(name)) for name in names]


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


def values_and_gradients(run, params, xs, state, **arguments):
    """All that comes of a run, and the gradients of a sum that weighs all of it."""

    def loss(params, xs, state):
        ended = run(params, xs, state=state, **arguments)
        # Another weight for every number, so that none makes up for another.
        weighted = [
            jnp.sum(
                leaf
                * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape)
            )
            for leaf in jax.tree.leaves(ended)
        ]
        return sum(weighted), ended

    both = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    return jax.jit(both)(params, xs, state)
