"""jit, vmap, scan, grad and several devices change the speed and nothing else."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from machines import (
    INPUT_SIZE,
    make_config,
    random_inputs,
    random_params,
    random_state,
    take,
)

import ntm_jax

CONFIG = make_config(num_read_heads=2, num_write_heads=2)
PARAMS = random_params(CONFIG)
body = functools.partial(ntm_jax.step, PARAMS, config=CONFIG)
step = jax.jit(body)
plain_unroll = functools.partial(ntm_jax.unroll, PARAMS, config=CONFIG)
unroll = jax.jit(plain_unroll)
close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)


def assert_close(result, expected):
    jax.tree.map(close, result, expected)


@functools.cache
def start(batch_shape=()):
    return random_state(PARAMS, CONFIG, batch_shape=batch_shape)


def numpy_inputs(*leading):
    return np.asarray(random_inputs(*leading))


class TestTime:
    def test_a_scan_of_step_and_a_python_loop_equal_unroll(self):
        xs = random_inputs(3)
        expected = unroll(xs, state=start())
        assert_close(jax.lax.scan(body, start(), xs), expected)
        state, ys = start(), []
        for x in np.asarray(xs):
            state, y = step(state, x)
            ys.append(y)
        assert_close((state, np.array(ys)), expected)

    @pytest.mark.slow
    def test_without_jit_it_is_the_same(self):
        x = random_inputs()
        assert_close(body(start(), x), step(start(), np.asarray(x)))


class TestBatches:
    @pytest.mark.parametrize("leading", [(2,), (2, 1, 3)])
    def test_a_step_of_a_batch_equals_vmap_and_loop(self, leading):
        state, x = start(leading), numpy_inputs(*leading)
        batched = step(state, x)
        mapped = body
        for _ in leading:
            mapped = jax.vmap(mapped)
        assert_close(jax.jit(mapped)(state, x), batched)
        for index in np.ndindex(*leading):
            assert_close(step(take(state, index), x[index]), take(batched, index))

    @pytest.mark.slow
    def test_unrolling_a_batch_equals_vmap_and_loop(self):
        xs, state = numpy_inputs(3, 2, 1), start((2, 1))
        batched_state, batched = unroll(xs, state=state)
        mapped = jax.vmap(
            jax.vmap(
                lambda xs, state: plain_unroll(xs, state=state),
                in_axes=(1, 0),
                out_axes=(0, 1),
            ),
            in_axes=(1, 0),
            out_axes=(0, 1),
        )
        assert_close(jax.jit(mapped)(xs, state), (batched_state, batched))
        for b in range(2):
            alone_state, alone = unroll(xs[:, b, 0], state=take(state, (b, 0)))
            close(alone, np.asarray(batched)[:, b, 0])
            assert_close(alone_state, take(batched_state, (b, 0)))

    @pytest.mark.slow
    def test_gradients_of_masked_sequences_equal_vmap_and_loop(self):
        xs, state = numpy_inputs(4, 3), start((3,))
        mask = np.arange(4)[:, None] < np.array([2, 3, 0])

        def loss(params, xs, state, mask):
            state, ys = ntm_jax.unroll(
                params, xs, config=CONFIG, state=state, mask=mask
            )
            return jnp.sum(ys**2) + jnp.sum(state.memory**2)

        gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
        to_params, to_xs, to_state = gradient(PARAMS, xs, state, mask)
        each = jax.jit(jax.vmap(gradient, in_axes=(None, 1, 0, 1), out_axes=(0, 1, 0)))(
            PARAMS, xs, state, mask
        )
        assert_close(each[1:], (to_xs, to_state))
        assert_close(
            jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), each[0]), to_params
        )
        for b in range(3):
            alone = gradient(PARAMS, xs[:, b], take(state, b), mask[:, b])
            assert_close(alone[0], take(each[0], b))
            close(alone[1], np.asarray(to_xs)[:, b])

    def test_initial_parameters_of_many_seeds_equal_each_seed_s(self):
        config = make_config(controller=ntm_jax.feed_forward(3))
        init = functools.partial(ntm_jax.init, config=config, input_size=INPUT_SIZE)
        seeds = np.array([0, 1, 0])
        keys = jax.jit(jax.vmap(jax.random.key))(seeds)
        many = jax.jit(jax.vmap(init))(keys)
        first, second, third = (take(many, i) for i in range(3))
        jax.tree.map(np.testing.assert_array_equal, first, third)
        assert_close(second, jax.jit(init)(jax.random.key(1)))
        for name in ("read_heads", "write_heads", "output"):
            assert (first[name]["kernel"] != second[name]["kernel"]).any()
            assert (first[name]["bias"] == second[name]["bias"]).all()
        reading, writing = (
            first[f"{kind}_heads"]["kernel"] for kind in ("read", "write")
        )
        assert (reading != writing[..., :9]).all()


def step_loss(step, state, x):
    state, y = step(state, x)
    return jnp.mean(y**2) + jnp.mean(state.memory**2)


step_gradients = jax.jit(jax.grad(functools.partial(step_loss, body), argnums=(0, 1)))


class TestDevices:
    def test_pmap_over_four_devices_equals_one_batch(self):
        state, x = start((4,)), numpy_inputs(4)
        assert jax.device_count() == 4
        parallel = jax.pmap(body)(state, x)
        assert len(parallel[1].sharding.device_set) == 4
        assert_close(parallel, step(state, x))

    @pytest.mark.slow
    def test_gradients_over_four_devices_equal_those_of_one(self):
        mesh = jax.make_mesh((4,), ("batch",), axis_types=(AxisType.Auto,))
        one = start((4,)), numpy_inputs(4)
        four = jax.device_put(one, NamedSharding(mesh, PartitionSpec("batch")))
        assert len(four[1].sharding.device_set) == 4
        assert_close(step_gradients(*four), step_gradients(*one))


class TestCompilation:
    def test_the_second_call_and_an_equal_config_do_not_compile_again(self):
        traced = []

        @functools.partial(jax.jit, static_argnames="config")
        def run(params, state, x, config):
            traced.append(config)
            return ntm_jax.step(params, state, x, config=config)

        fields = {"num_read_heads": 2, "num_write_heads": 2}
        for seed in range(3):
            config = make_config(controller=ntm_jax.lstm(4), **fields)
            assert config is not CONFIG
            run(PARAMS, start(), np.asarray(random_inputs(seed=seed)), config)
        assert len(traced) == 1
        changed = make_config(**fields, head_clip=1.0)
        run(PARAMS, start(), numpy_inputs(), changed)
        assert traced == [CONFIG, changed]

    def test_a_state_that_comes_back_fits_without_compiling_again(self):
        traced = []

        @jax.jit
        def run(state, x):
            traced.append(x)
            return body(state, x)

        state = ntm_jax.initial_state(PARAMS, CONFIG)
        for x in numpy_inputs(3):
            state, _ = run(state, x)
        assert len(traced) == 1


class TestDtypes:
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
    @pytest.mark.parametrize("initial_memory", ["constant", "random", "learned"])
    def test_dtype_in_is_dtype_out(self, dtype, initial_memory, x64):
        config = make_config(
            initial_memory=initial_memory, order="interleaved", head_clip=20.0
        )
        params = random_params(config, dtype=dtype)
        xs, mask = random_inputs(3, 2, dtype=dtype), np.ones((3, 2), bool)
        run = functools.partial(ntm_jax.unroll, config=config)
        result = jax.eval_shape(run, params, xs, mask=mask)
        assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(dtype)}

    def test_bfloat16_stays_near_float32(self):
        short = jax.tree.map(
            lambda leaf: leaf.astype(jnp.bfloat16), (PARAMS, start(), numpy_inputs())
        )
        _, y = jax.jit(functools.partial(ntm_jax.step, config=CONFIG))(*short)
        _, expected = step(start(), numpy_inputs())
        np.testing.assert_allclose(np.float32(y), expected, rtol=0.1, atol=0.1)

    def test_what_needs_no_x64_stays_32_bits_in_a_64_bit_session(self, x64):
        result = jax.eval_shape(plain_unroll, np.zeros((3, INPUT_SIZE), np.float32))
        assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {
            jnp.dtype("float32")
        }


class TestGradients:
    @pytest.mark.parametrize(
        ("mask", "fields"),
        [
            (None, {"num_read_heads": 2, "initial_memory": "random"}),
            pytest.param(
                [True, False, True, False],
                {"num_read_heads": 2, "num_write_heads": 2},
                marks=pytest.mark.slow,
            ),
            pytest.param(
                [False, True, False],
                {"controller": ntm_jax.gru(3)},
                marks=pytest.mark.slow,
            ),
            pytest.param(
                [True, False, True],
                {
                    "order": "interleaved",
                    "num_write_heads": 2,
                    "initial_memory": "learned",
                    "initial_weighting": "learned",
                    "initial_carry": "learned",
                    "initial_read": "learned",
                },
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_of_a_sequence_equal_finite_differences(self, mask, fields, x64):
        config = make_config(**fields)
        params = random_params(config, dtype=jnp.float64)
        xs = random_inputs(3 if mask is None else len(mask), dtype=jnp.float64)
        mask = None if mask is None else jnp.array(mask)

        @jax.jit
        @jax.value_and_grad
        def loss(arguments):
            params, xs, change = arguments
            state = ntm_jax.initial_state(params, config)
            state = jax.tree.map(jnp.add, state, change)
            state, ys = ntm_jax.unroll(
                params, xs, config=config, state=state, mask=mask
            )
            return jnp.sum(jnp.sin(ys)) + jnp.sum(state.memory**2)

        change = jax.tree.map(lambda leaf: 0.1 * leaf**2, random_state(params, config))
        assert_gradient_equals_finite_differences(loss, (params, xs, change))

    @pytest.mark.slow
    def test_through_a_jitted_step_equal_those_inside_one(self):
        outside = jax.grad(functools.partial(step_loss, step), argnums=(0, 1))
        call = start(), numpy_inputs()
        assert_close(outside(*call), step_gradients(*call))

    @pytest.mark.parametrize("memory", [0.0, 1e-6, 1.0])
    @pytest.mark.parametrize("focus", ["first_slot", "uniform", "none"])
    def test_are_finite_from_the_first_step_on(self, memory, focus):
        config = make_config(
            num_read_heads=2, num_write_heads=2, initial_weighting=focus
        )
        state = ntm_jax.initial_state(PARAMS, config)
        state = dataclasses.replace(
            state, memory=np.full_like(state.memory, np.float32(memory))
        )
        for scale in (0.0, 1.0, 1e2, 1e4):
            value, gradient = scaled_gradients(np.float32(scale), state)
            assert np.isfinite(value)
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@jax.jit
def scaled_gradients(scale, state):
    def loss(params):
        xs = random_inputs(3)
        _, ys = ntm_jax.unroll(params, xs, config=CONFIG, state=state)
        return jnp.mean(ys**2)

    return jax.value_and_grad(loss)(jax.tree.map(lambda leaf: scale * leaf, PARAMS))


def assert_gradient_equals_finite_differences(value_and_grad, point, size=1e-5):
    """Along one random direction for each leaf of `point`."""
    rng = np.random.default_rng(0)
    leaves, treedef = jax.tree.flatten(jax.tree.map(np.asarray, point))
    gradient = jax.tree.leaves(value_and_grad(point)[1])
    for i, leaf in enumerate(leaves):
        direction = rng.normal(size=leaf.shape)
        ahead, behind = (
            value_and_grad(
                jax.tree.unflatten(
                    treedef, [*leaves[:i], leaf + change, *leaves[i + 1 :]]
                )
            )[0]
            for change in (size * direction, -size * direction)
        )
        expected = (ahead - behind) / (2 * size)
        np.testing.assert_allclose(
            np.sum(gradient[i] * direction), expected, rtol=1e-6, atol=1e-8
        )
