"""The derived backward pass against what JAX derives of a scan of `step`."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import (
    MACHINES,
    make_config,
    random_inputs,
    random_params,
    random_state,
    slow_unless,
    values_and_gradients,
)

import ntm_jax
from ntm_jax import fast
from ntm_jax.fast import equations, layout, xla


class OnTheSphere(nn.RNNCellBase):
    """A cell that divides by the length of its carry, and so cannot bear zeros."""

    features: int = 3

    @nn.compact
    def __call__(self, carry, inputs):
        unit = carry / jnp.sqrt(jnp.sum(carry**2, axis=-1, keepdims=True))
        both = jnp.concatenate([unit, inputs], axis=-1)
        carry = unit + nn.Dense(self.features, param_dtype=inputs.dtype)(both)
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
    and "previous_weighting" not in fields
} | {
    "on_the_sphere": {"controller": OnTheSphere()},
    "in_a_dtype_of_its_own": {"controller": nn.Dense(4, dtype=jnp.float32)},
    "with_a_carry_in_a_dtype_of_its_own": {
        "controller": nn.SimpleCell(4, dtype=jnp.float32)
    },
    "wide_slots": {"slot_size": xla.WIDEST_UNROLLED + 1},
}
COVERING = {"read_first_2_3"}
# Holes, ends of padding, a sequence without a step, and two steps that none makes.
MASK = np.array(
    [[1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0] * 6], bool
).T


def scan_of_step(params, xs, *, config, state, mask, reset=None, save_every=None):
    """What `unroll` computes, in the plainest way."""
    del save_every
    fresh = ntm_jax.initial_state(
        params, config, num_slots=state.memory.shape[-2], batch_shape=xs.shape[1:-1]
    )

    def choose(where, a, b):
        return jax.tree.map(
            lambda a, b: jnp.where(
                where.reshape(*where.shape, *(1,) * (a.ndim - where.ndim)), a, b
            ),
            a,
            b,
        )

    def body(state, inputs):
        x, keep, afresh = inputs
        state = choose(afresh, fresh, state)
        new, y = ntm_jax.step(params, state, x, config=config)
        return choose(keep, new, state), jnp.where(keep[..., None], y, 0)

    if reset is None:
        reset = np.zeros_like(mask)
    return jax.lax.scan(body, state, (xs, mask, reset))


def as_elsewhere(run):
    """`run` in the form for other platforms, which a CPU can compute with too."""

    @functools.wraps(run)
    def in_plain_form(*args, **arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(xla, "by_platform", lambda form, *args: form(False)(*args))
            return run(*args, **arguments)

    return in_plain_form


def assert_close(tolerance, result, expected):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance),
        result,
        expected,
    )


@pytest.mark.usefixtures("x64", "quick_compilations")
@pytest.mark.parametrize("name", slow_unless(COVERING, FAST_MACHINES))
def test_values_and_gradients_are_those_of_a_scan_of_step(name):
    config = make_config(**FAST_MACHINES[name])
    params = random_params(config, dtype=jnp.float64)
    xs = random_inputs(*MASK.shape, dtype=jnp.float64)
    state = random_state(params, config, batch_shape=xs.shape[1:-1])
    assert fast.obstacle(config, state) is None

    tolerance = 1e-5 if "dtype" in name else 1e-8
    expected, *results = (
        values_and_gradients(run, params, xs, state, config=config, mask=MASK)
        for run in (scan_of_step, ntm_jax.unroll, as_elsewhere(ntm_jax.unroll))
    )
    for result in results:
        assert_close(tolerance, result, expected)


def with_bias(params, entry, value):
    """The parameters, but every head's emission at that place has this bias."""
    heads = {
        kind: {**params[kind], "bias": params[kind]["bias"].at[:, entry].set(value)}
        for kind in ("read_heads", "write_heads")
    }
    return {**params, **heads}


def assert_same_gradients(tolerance, gradients, expected):
    """Within so much of the largest number of each."""
    for result, leaf in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected)):
        largest = np.max(np.abs(leaf), initial=0)
        np.testing.assert_allclose(result, leaf, rtol=0, atol=tolerance * largest)


@pytest.mark.usefixtures("x64", "quick_compilations")
@pytest.mark.parametrize(
    "focus_of",
    [
        lambda focus: 1e-12 * focus,
        lambda focus: 1e-12 * (focus - focus.mean(axis=-1, keepdims=True)),
        lambda focus: jnp.where(focus < focus.max(axis=-1, keepdims=True), 0, 0.25),
    ],
    ids=["nearly_empty", "negative_in_part", "on_one_slot"],
)
@pytest.mark.slow
def test_foci_that_are_no_usual_weighting_have_their_gradient(focus_of):
    config = make_config()
    params = random_params(config, dtype=jnp.float64)
    # Gates of zero, so that nothing but the focus before counts.
    params = with_bias(params, config.slot_size + 1, -800.0)
    xs = random_inputs(*MASK.shape, dtype=jnp.float64)
    state = random_state(params, config, batch_shape=xs.shape[1:-1])
    state = state.replace(
        read_weights=focus_of(state.read_weights),
        write_weights=focus_of(state.write_weights),
    )
    (_, ended), gradients = values_and_gradients(
        ntm_jax.unroll, params, xs, state, config=config, mask=MASK
    )
    (_, expected_ended), expected = values_and_gradients(
        scan_of_step, params, xs, state, config=config, mask=MASK
    )
    assert_close(1e-8, ended, expected_ended)
    assert_same_gradients(1e-8, gradients, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("x64", "quick_compilations")
def test_gradients_in_float32_of_strong_keys_are_those_in_float64():
    config = make_config(num_slots=64)
    strong = with_bias(random_params(config, dtype=jnp.float64), config.slot_size, 1e4)

    xs = random_inputs(*MASK.shape, dtype=jnp.float64)
    state = random_state(strong, config, batch_shape=xs.shape[1:-1])

    def gradients(run, dtype):
        inputs = jax.tree.map(lambda leaf: leaf.astype(dtype), (strong, xs, state))
        return values_and_gradients(run, *inputs, config=config, mask=MASK)[1][0]

    assert_same_gradients(
        0.05,
        gradients(ntm_jax.unroll, jnp.float32),
        gradients(scan_of_step, jnp.float64),
    )


CONTROLLERS = (
    ntm_jax.lstm(3),
    ntm_jax.lstm(3, 2),
    ntm_jax.gru(3),
    ntm_jax.feed_forward(4),
)


@st.composite
def sequences(draw):
    """A machine, a batch with its mask and flags, and how it is to be unrolled."""
    choice = functools.partial(draw_of, draw)
    reach = draw(st.integers(0, 2))
    config = make_config(
        num_slots=draw(st.integers(2 * reach + 1, 9)),
        slot_size=draw(st.integers(1, 4)),
        num_read_heads=draw(st.integers(1, 3)),
        num_write_heads=draw(st.integers(1, 3)),
        shift_range=reach,
        controller=choice(CONTROLLERS),
        key_activation=choice(("tanh", "identity", "sigmoid")),
        add_activation=choice(("tanh", "identity", "sigmoid")),
        sharpening=choice(("learned", "none")),
        head_clip=choice((None, 0.7)),
        initial_memory=choice(("constant", "random", "learned")),
        initial_weighting=choice(("first_slot", "uniform", "learned", "none")),
        initial_read=choice(("zeros", "learned")),
        initial_carry=choice(("cell", "learned")),
    )
    length = draw(st.integers(1, 9))
    batch = choice(((), (1,), (3,), (2, 4), (16,)))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    mask = rng.random((length, *batch)) < choice((0.0, 0.6, 1.0))
    reset = rng.random((length, *batch)) < choice((0.0, 0.3))
    return config, mask, reset, choice((None, 1, 2, length, length + 3))


def draw_of(draw, choices):
    return draw(st.sampled_from(choices))


@pytest.mark.usefixtures("x64", "quick_compilations")
@settings(max_examples=8)
@given(sequences(), st.sampled_from(["for a CPU", "in groups", "elsewhere"]))
@pytest.mark.slow
def test_any_machine_on_any_sequences(sequences, form):
    config, mask, reset, save_every = sequences
    params = random_params(config, dtype=jnp.float64)
    xs = random_inputs(*mask.shape, dtype=jnp.float64)
    state = random_state(params, config, batch_shape=mask.shape[1:])
    with pytest.MonkeyPatch.context() as patch:
        if form == "in groups":
            patch.setattr(jax, "local_device_count", lambda: 2)
            patch.setattr(layout, "LEAST_TILE", 2)
            patch.setattr(xla, "CACHED_NUMBERS", 1)
        result, expected = (
            values_and_gradients(
                run,
                params,
                xs,
                state,
                config=config,
                mask=mask,
                reset=reset,
                save_every=save_every,
            )
            for run in (
                as_elsewhere(ntm_jax.unroll) if form == "elsewhere" else ntm_jax.unroll,
                scan_of_step,
            )
        )
    assert_close(1e-9, result, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilations")
@pytest.mark.parametrize(
    "order", slow_unless(["read_first"], ["read_first", "write_first"])
)
def test_memories_that_are_not_kept_are_made_again(order):
    config = make_config(order=order)
    params, xs = random_params(config), random_inputs(7, 2)
    state = random_state(params, config, batch_shape=(2,))
    results = [
        values_and_gradients(
            ntm_jax.unroll, params, xs, state, config=config, save_every=save_every
        )
        for save_every in (1, 3, 7, None)
    ]
    for result in results[1:]:
        assert_close(1e-4, result, results[0])


@pytest.mark.slow
@pytest.mark.optimized
def test_optimized_programs_have_the_gradients_of_a_scan_of_step():
    length, batch = 12, 16
    config = ntm_jax.NTMConfig(output_size=8, num_write_heads=2)
    xs = random_inputs(length, batch)
    params = ntm_jax.init(jax.random.key(0), config, xs.shape[-1])
    rng = np.random.default_rng(0)
    arguments: Any = {
        "config": config,
        "mask": rng.random((length, batch)) < 0.8,
        "reset": rng.random((length, batch)) < 0.2,
    }
    state = random_state(params, config, batch_shape=(batch,))
    (_, ended), gradients = values_and_gradients(
        ntm_jax.unroll, params, xs, state, **arguments
    )
    (_, expected), true = values_and_gradients(
        scan_of_step, params, xs, state, **arguments
    )
    assert_close(1e-5, ended, expected)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(true))
    assert_close(1e-5, *jax.tree.map(lambda leaf: leaf / largest, (gradients, true)))


@pytest.mark.slow
@pytest.mark.optimized
def test_memories_kept_decide_how_much_a_gradient_holds():
    config = ntm_jax.NTMConfig(output_size=2, controller=ntm_jax.lstm(2))
    params = random_params(config)

    def held(length, save_every):
        def loss(params, xs):
            return jnp.sum(
                ntm_jax.unroll(params, xs, config=config, save_every=save_every)[1]
            )

        xs = jnp.zeros((length, 1, random_inputs(1, 1).shape[-1]))
        compiled = jax.jit(jax.grad(loss)).lower(params, xs).compile()
        analysis = compiled.memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes / 1e6

    memory = 4 * config.num_slots * config.slot_size / 1e6
    assert held(400, None) < held(400, 1) - 300 * memory
    assert held(400, 10_000) < held(400, 400) + memory


def unrolled_output(run, save_every=None):
    """A function of one number, through a sequence with a mask and resets."""
    config = make_config(controller=ntm_jax.feed_forward(3))
    params, xs = random_params(config), random_inputs(3, 2)
    state = random_state(params, config, batch_shape=(2,))
    mask = jnp.array([[1, 1], [1, 0], [1, 1]], bool)
    reset = jnp.array([[0, 0], [0, 1], [0, 1]], bool)
    params, xs, state = jax.tree.map(
        lambda leaf: leaf.astype(jnp.zeros(()).dtype), (params, xs, state)
    )

    def output(x):
        _, ys = run(
            params,
            x * xs,
            config=config,
            state=state,
            mask=mask,
            reset=reset,
            save_every=save_every,
        )
        return jnp.sum(jnp.sin(ys))

    return output


def unroll_with(implementation) -> Any:
    return functools.partial(ntm_jax.unroll, implementation=implementation)


@pytest.mark.slow
def test_fast_has_no_forward_derivative():
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(unrolled_output(unroll_with("fast")), (1.0,), (1.0,))


@pytest.mark.rare
@pytest.mark.parametrize("derivative", [jax.grad, jax.jacrev])
def test_a_second_derivative_of_fast_names_what_to_take(derivative):
    output = unrolled_output(unroll_with("fast"))
    with pytest.raises(NotImplementedError, match='implementation="autodiff"'):
        jax.eval_shape(derivative(derivative(output)), 1.0)


@pytest.mark.usefixtures("x64", "quick_compilations")
@pytest.mark.parametrize(
    ("derivative", "order"),
    [
        (lambda f: lambda x: jax.jvp(f, (x,), (1.0,))[1], 1),
        pytest.param(lambda f: jax.grad(jax.grad(f)), 2, marks=pytest.mark.slow),
        pytest.param(jax.hessian, 2, marks=pytest.mark.rare),
    ],
    ids=["forward", "gradient_of_gradient", "hessian"],
)
def test_autodiff_has_every_derivative(derivative, order):
    save_every = {1: None, 2: 2}[order]
    output = unrolled_output(unroll_with("autodiff"), save_every)
    lower = unrolled_output(unroll_with("fast"))
    if order == 2:
        lower = jax.grad(lower)
    lower, step = jax.jit(lower), 1e-5
    expected = (lower(1.0 + step) - lower(1.0 - step)) / (2 * step)
    np.testing.assert_allclose(jax.jit(derivative(output))(1.0), expected, rtol=1e-5)


@pytest.mark.rare
@pytest.mark.usefixtures("x64", "quick_compilations")
def test_hessian_of_fast_and_a_step_of_maml_by_autodiff():
    fast_output = unrolled_output(unroll_with("fast"))
    output = unrolled_output(unroll_with("autodiff"))
    slope, curvature = jax.jit(jax.grad(fast_output)), jax.jit(jax.hessian(fast_output))
    expected = jax.jit(jax.grad(jax.grad(output)))(1.0)
    np.testing.assert_allclose(curvature(1.0), expected, rtol=1e-9)
    adapted = jax.jit(jax.grad(lambda x: output(x - 0.1 * jax.grad(output)(x))))
    there = 1.0 - 0.1 * slope(1.0)
    np.testing.assert_allclose(
        adapted(1.0), slope(there) * (1 - 0.1 * curvature(1.0)), rtol=1e-8
    )


@pytest.mark.usefixtures("quick_compilations")
@pytest.mark.slow
def test_implementations_agree_and_auto_is_fast_where_that_applies():
    gradients = {
        kind: jax.jit(jax.value_and_grad(unrolled_output(unroll_with(kind))))(1.0)
        for kind in ("auto", "fast", "autodiff")
    }
    assert_close(0, gradients["auto"], gradients["fast"])
    assert_close(1e-4, gradients["auto"], gradients["autodiff"])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"order": "write_first"}, "needs order='read_first'"),
        ({"previous_weighting": "read"}, "needs previous_weighting='own'"),
    ],
)
def test_fast_where_it_does_not_apply_is_an_error_that_says_why(fields, reason):
    config = make_config(**fields)
    params, xs = random_params(config), random_inputs(3, 1)
    with pytest.raises(ValueError, match=reason) as error:
        ntm_jax.unroll(params, xs, config=config, implementation="fast")
    assert "pass implementation='auto' or 'autodiff'" in str(error.value)
    with pytest.raises(ValueError, match="implementation: got 'quick', want one of"):
        ntm_jax.unroll(params, xs, config=config, implementation="quick")  # type: ignore[arg-type]


def lowered(platforms):
    """The gradient of `unroll`, as text, lowered for those platforms here."""
    config = ntm_jax.NTMConfig(output_size=8)
    params = ntm_jax.init(jax.random.key(0), config, 9)

    def loss(params, xs):
        return jnp.sum(ntm_jax.unroll(params, xs, config=config)[1])

    xs = jax.ShapeDtypeStruct((41, 64, 9), jnp.float32)
    traced = jax.jit(jax.value_and_grad(loss)).trace(params, xs)
    text = traced.lower(lowering_platforms=platforms).as_text()
    return re.sub(r"%[\w#]+", "%ARG", text)


# What marks the CPU's forms: calls that are not inlined, sums as products with ones,
# four tiles of 16, two buffers for the memory's cotangent, padded kernels.
CPU_FORMS = {
    "noinline": 'inlineable = "false"',
    "sum_of_slots": "tensor<16x2x128xf32>, tensor<128xf32>",
    "tiles": "stablehlo.multiply %ARG, %ARG : tensor<16x20x128xf32>",
    "buffers": "tensor<2x16x20x128xf32>",
    "padding": "tensor<400x128xf32>",
}


@pytest.mark.parametrize(
    "platform", slow_unless(["cuda"], ["cuda", "rocm", "tpu", "cpu"])
)
def test_the_form_is_that_of_the_platform_that_is_lowered_for(platform):
    text = lowered((platform,))
    present = {name for name, mark in CPU_FORMS.items() if mark in text}
    assert present == (set(CPU_FORMS) if platform == "cpu" else set())
    whole_batch = "stablehlo.multiply %ARG, %ARG : tensor<64x20x128xf32>"
    assert (whole_batch in text) == (platform != "cpu")


@pytest.mark.slow
@pytest.mark.optimized
def test_one_program_for_several_platforms_holds_both_forms():
    text = lowered(("cpu", "cuda"))
    assert all(mark in text for mark in CPU_FORMS.values())
    assert "stablehlo.multiply %ARG, %ARG : tensor<64x20x128xf32>" in text


@pytest.mark.usefixtures("quick_compilations")
@pytest.mark.slow
def test_slots_whose_squares_are_beyond_float32_are_found_all_the_same():
    config = make_config(num_slots=7)
    params = random_params(config)
    state = random_state(params, config, batch_shape=(2,))
    sizes = jnp.asarray([1e20, 1e18, 1e17, 1e20, 1e16, 1e18, 1e20]).reshape(1, 7, 1)
    state = state.replace(memory=sizes * state.memory)
    squares = jnp.sum(state.memory**2, axis=-1)
    assert jnp.isinf(squares).any()
    assert (squares < equations.OVERFLOW).any()
    xs, mask = random_inputs(1, 2), np.ones((1, 2), bool)

    def foci(params, state, run):
        ended, _ = run(params, xs, config=config, state=state, mask=mask)
        return jnp.sum(jnp.sin(ended.read_weights)), (
            ended.read_weights,
            ended.write_weights,
        )

    both = jax.jit(jax.value_and_grad(foci, has_aux=True), static_argnums=2)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
        both(params, state, ntm_jax.unroll),
        both(params, state, scan_of_step),
    )
