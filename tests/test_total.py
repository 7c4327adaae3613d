"""No finite input gives NaN or infinity: a search for counterexamples.

Every primitive and the step, on zeros, ties, the smallest and the huge: values,
gradients and what weights sum to. Each search makes 200 examples of eight calls under
`vmap`; `pytest tests/test_total.py --hypothesis-profile=thorough` makes 20,000.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import INPUT_SIZE, make_config, param_shapes

import ntm_jax
from ntm_jax import heads

pytestmark = [pytest.mark.slow, pytest.mark.optimized]
DTYPES = ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)]
SIZES = [(1, 1, 1), (4, 3, 4)]  # N, M, R: a full turn each way
BATCH = 8
# How far from 1 weights may sum; a bfloat16 is rounded by up to 2^-8 of itself.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2.0**-8 + 1e-5}

seeds = st.integers(0, 2**64 - 1)


def numbers(rng, *shape, largest=1e18):
    """Of either sign: zeros, ties, all of one size or of any, down to denormal ones."""
    top = np.log10(largest)
    size = 10.0 ** rng.choice([-45, -30, 0, top, rng.uniform(-45, top)])
    some = rng.integers(0, 2, shape)
    sizes = rng.choice(6)
    if sizes < 4:
        values = size * [0, 1, some, rng.uniform(size=shape)][sizes]
    else:
        values = 10.0 ** rng.uniform(-45, top, shape) * [some, 1][sizes - 4]
    return values * rng.choice(rng.choice([-1, 1], 2), shape)


def units(rng, *shape):
    """From 0 to 1, many of them one of the two or next to them."""
    ends = rng.choice([0, 1, 1e-45, 1e-30, 1e-6, 1 - 1e-7], shape)
    return np.where(rng.uniform(size=shape) < 0.6, ends, rng.uniform(size=shape))


def weighting(rng, *shape):
    """One-hot, uniform and all between, with weights down to denormal and zero."""
    spread = rng.choice([0, 1e-3, 1, 45, 1e3])
    weights = 10.0 ** -np.minimum(spread * rng.uniform(size=shape), 300)
    weights[..., rng.integers(shape[-1])] = 10.0 ** -rng.uniform(0, min(spread, 40))
    return weights / weights.sum(-1, keepdims=True)


def weights(rng, *shape, largest=1e18):
    """A weighting, or whatever is none."""
    return (
        weighting(rng, *shape)
        if rng.integers(2)
        else numbers(rng, *shape, largest=largest)
    )


def focus(rng, *shape):
    """A weighting, or none anywhere as a machine may start with."""
    return weighting(rng, *shape) if rng.integers(4) else np.zeros(shape)


def factor(rng, smallest, usual):
    """β or γ: at the ends of its usual range, within it, and far beyond."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.choice([smallest, smallest + 1e-6, usual, 1e18])
    return rng.uniform(smallest, usual) if kind == 1 else 10 ** rng.uniform(0, 18)


def emit_and_cut(params, hidden):
    emitted = heads.emit(params, hidden)
    return (
        heads.addressing(emitted, 3, 1, "identity"),
        heads.writing(emitted, 3, "identity"),
    )


# The function, and how to draw its arguments for N, M and S = 2R + 1.
CALLS = {
    "content_weights": (
        ntm_jax.content_weights,
        lambda rng, n, m, s: (
            numbers(rng, n, m, largest=3e38),
            numbers(rng, m, largest=3e38),
            factor(rng, 0, 1e4),
        ),
    ),
    "interpolate": (
        ntm_jax.interpolate,
        lambda rng, n, m, s: (weights(rng, n), weights(rng, n), units(rng)),
    ),
    "circular_shift": (
        ntm_jax.circular_shift,
        lambda rng, n, m, s: (weights(rng, n), weights(rng, s)),
    ),
    "sharpen": (
        ntm_jax.sharpen,
        lambda rng, n, m, s: (weights(rng, n, largest=3e38), factor(rng, 1, 1e3)),
    ),
    "address": (
        ntm_jax.address,
        lambda rng, n, m, s: (
            numbers(rng, n, m, largest=3e38),
            focus(rng, n),
            numbers(rng, m, largest=3e38),
            factor(rng, 0, 1e4),
            units(rng),
            weighting(rng, s),
            factor(rng, 1, 1e3),
        ),
    ),
    "read": (
        ntm_jax.read,
        lambda rng, n, m, s: (numbers(rng, n, m), weights(rng, n)),
    ),
    "write": (
        ntm_jax.write,
        lambda rng, n, m, s: (
            numbers(rng, n, m),
            weighting(rng, 2, n),
            units(rng, 2, m),
            numbers(rng, 2, m),
        ),
    ),
    "heads": (
        emit_and_cut,
        lambda rng, n, m, s: (
            {
                "kernel": numbers(rng, 4, 1, heads.writing_size(3, 1)),
                "bias": numbers(rng, 1, heads.writing_size(3, 1), largest=1e36),
            },
            numbers(rng, 4),
        ),
    ),
}


def batch(draw, seed, dtype):
    """Eight draws side by side; beyond the dtype's largest number stands that one."""
    rng = np.random.default_rng(seed)
    largest = float(jnp.finfo(dtype).max)
    return jax.tree.map(
        lambda *x: np.clip(np.stack(x), -largest, largest).astype(jnp.dtype(dtype)),
        *(draw(rng) for _ in range(BATCH)),
    )


def value_and_gradient(function):
    """The value, and the gradient of its entries' sum, each times another number."""

    def both(arguments):
        value, pull = jax.vjp(lambda arguments: function(*arguments), arguments)
        cotangent = jax.tree.map(
            lambda x: jnp.linspace(-1, 2, x.size, dtype=x.dtype).reshape(x.shape), value
        )
        return value, pull(cotangent)[0]

    return jax.jit(jax.vmap(both))


@functools.cache
def compiled(name):
    return value_and_gradient(CALLS[name][0])


def as_float64(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def assert_finite(tree):
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        assert np.isfinite(np.asarray(leaf, np.float32)).all(), (path, leaf)


def assert_weighting(weights, dtype):
    weights = np.asarray(weights, np.float64)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=0, atol=TOLERANCE[dtype])


def assert_sum(value, terms, dtype):
    """Of the entries: that of the terms, whatever of these is rounded or denormal."""
    error = np.abs(value.sum(-1) - terms.sum(-1))
    assert (error <= TOLERANCE[dtype] * np.abs(terms).sum(-1) + 1e-18).all()


def check(name, arguments, value, dtype):
    """What a primitive promises beside being finite."""
    match name:
        case "content_weights" | "sharpen" | "address":
            assert_weighting(value, dtype)
        case "interpolate":
            content, previous, gate = arguments
            parts = gate[:, None] * content, (1 - gate[:, None]) * previous
            assert_sum(value, np.concatenate(parts, axis=-1), dtype)
        case "circular_shift":
            terms = np.einsum("bi,bj->bij", *arguments)
            assert_sum(value, terms.reshape(BATCH, -1), dtype)
        case "read":
            bound = np.einsum("bnm,bn->bm", *map(np.abs, arguments))
            assert (np.abs(value) <= 1.01 * bound + 1e-18).all()
        case "write":
            memory, weights, _, add = arguments
            bound = np.abs(memory) + np.einsum("bhn,bhm->bnm", weights, np.abs(add))
            assert (np.abs(value) <= 1.02 * bound + 1e-18).all()
        case "heads":
            addressing, writing = value
            assert (addressing.strength >= 0).all()
            assert (addressing.gamma >= 1).all()
            assert_weighting(addressing.shift, dtype)
            for gate in (addressing.gate, writing.erase):
                assert ((gate >= 0) & (gate <= 1)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
@given(sizes=st.sampled_from(SIZES), seed=seeds)
def test_a_primitive_is_finite_with_a_finite_gradient(name, dtype, sizes, seed):
    n, m, r = sizes
    arguments = batch(lambda rng: CALLS[name][1](rng, n, m, 2 * r + 1), seed, dtype)
    value, gradient = compiled(name)(arguments)
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves((value, gradient)))
    assert_finite(value)
    assert_finite(gradient)
    arguments, value = as_float64((arguments, value))
    check(name, arguments, value, dtype)


@given(seed=seeds)
def test_sharpening_multiplies_a_gradient_by_2_gamma_n_at_most(seed):
    n = 4
    call = batch(lambda rng: (weighting(rng, n), rng.uniform(1, 1e3)), seed, "float32")
    _, (to_weights, _) = compiled("sharpen")(call)
    largest_given = 2
    assert (np.abs(to_weights) <= 2.01 * call[1][:, None] * n * largest_given).all()


CONFIG = make_config(
    num_slots=3, num_write_heads=2, key_activation="identity", add_activation="identity"
)
PARAMS = param_shapes(CONFIG)
STATE = jax.eval_shape(lambda params: ntm_jax.initial_state(params, CONFIG), PARAMS)


def like(rng, tree, largest):
    """Numbers in the shapes of a tree, each leaf of another kind."""
    return jax.tree.map(lambda leaf: numbers(rng, *leaf.shape, largest=largest), tree)


@functools.cache
def compiled_step():
    def step(params, state, x):
        return ntm_jax.step(params, state, x, config=CONFIG)

    return value_and_gradient(step)


# Of the parameters, and of state and input. Products of numbers beyond the first two
# make a gradient that is itself beyond float32.
@pytest.mark.parametrize("largest", [(1e2, 1e9), (1e18, 1e18)])
@pytest.mark.parametrize("dtype", DTYPES)
@given(seed=seeds)
def test_a_step_is_finite_with_a_finite_gradient(dtype, largest, seed):
    def draw(rng):
        state = like(rng, STATE, largest[1]).replace(
            read_weights=focus(rng, *STATE.read_weights.shape),
            write_weights=focus(rng, *STATE.write_weights.shape),
        )
        x = numbers(rng, INPUT_SIZE, largest=largest[1])
        return like(rng, PARAMS, largest[0]), state, x

    (state, y), gradient = compiled_step()(batch(draw, seed, dtype))
    assert_finite((state, y))
    assert_weighting(state.read_weights, dtype)
    assert_weighting(state.write_weights, dtype)
    if largest == (1e2, 1e9):
        assert_finite(gradient)


NUM_STEPS = 1000
SMALL = make_config()


@functools.cache
def compiled_unroll():
    def unroll(params, xs):
        return ntm_jax.unroll(params, xs, config=SMALL)

    return value_and_gradient(unroll)


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_thousand_steps_are_finite(dtype, fresh):
    """Of any parameters; those that training starts from have a finite gradient too."""

    def draw(rng):
        params = init(rng.integers(2**32)) if fresh else like(rng, shapes, 1e18)
        return params, np.stack([numbers(rng, INPUT_SIZE) for _ in range(NUM_STEPS)])

    shapes = param_shapes(SMALL)
    init = jax.jit(lambda seed: ntm_jax.init(jax.random.key(seed), SMALL, INPUT_SIZE))
    (state, ys), gradient = compiled_unroll()(batch(draw, 0, dtype))
    assert_finite((state, ys))
    assert_weighting(state.read_weights, dtype)
    assert_weighting(state.write_weights, dtype)
    if fresh:
        assert_finite(gradient)


@pytest.mark.parametrize("dtype", DTYPES)
def test_thousands_of_weights_sum_to_1(dtype):
    def draw(rng):
        n = 4096
        memory, key, strength = rng.normal(size=(n, 2)), rng.normal(size=2), 1e3
        return (memory, key, np.array(strength)), (rng.dirichlet(np.ones(n)), 2.0)

    for name, call in zip(("content_weights", "sharpen"), batch(draw, 0, dtype)):
        assert_weighting(CALLS[name][0](*call), dtype)
