"""Steps and sequences against the slow machine of `reference.py`; states and masks."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from machines import (
    COVERING,
    INPUT_SIZE,
    LEARNED,
    MACHINES,
    as_numpy,
    make_config,
    param_shapes,
    random_inputs,
    random_params,
    random_state,
    slow_unless,
    take,
)

import ntm_jax

GOLDEN = pathlib.Path(__file__).parent / "golden" / "unroll.json"


def reference_state(params, config, num_slots=None):
    n = config.num_slots if num_slots is None else num_slots
    random_memory = ntm_jax.initial_memory(n, config.slot_size, "random", jnp.float64)
    return reference.initial_state(
        as_numpy(params), config, num_slots, np.asarray(random_memory)
    )


def assert_states_equal(state, expected, **tolerance):
    for field in dataclasses.fields(expected):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, **tolerance),
            getattr(state, field.name),
            getattr(expected, field.name),
        )


@pytest.mark.usefixtures("x64")
class TestAgainstTheReference:
    @pytest.mark.parametrize("name", slow_unless(COVERING, MACHINES))
    def test_every_step_of_a_sequence(self, name):
        config = make_config(**MACHINES[name])
        params = random_params(config, dtype=jnp.float64)
        xs = random_inputs(4, dtype=jnp.float64)

        @jax.jit
        def run(params, xs):
            def body(state, x):
                state, y = ntm_jax.step(params, state, x, config=config)
                return state, (state, y)

            start = ntm_jax.initial_state(params, config)
            return start, jax.lax.scan(body, start, xs)[1]

        start, (states, ys) = run(params, xs)
        expected_start = reference_state(params, config)
        expected_ys, expected_states = reference.unroll(
            as_numpy(params), np.asarray(xs), config, expected_start
        )
        assert ys.dtype == jnp.float64
        assert_states_equal(start, expected_start, rtol=1e-12)
        np.testing.assert_allclose(ys, expected_ys, rtol=1e-9, atol=1e-9)
        for t, expected in enumerate(expected_states):
            assert_states_equal(take(states, t), expected, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("name", ["interleaved_3_2", "learned_gru"])
    def test_a_masked_sequence(self, name):
        config = make_config(**MACHINES[name])
        params = random_params(config, dtype=jnp.float64)
        xs = random_inputs(5, dtype=jnp.float64)
        mask = np.array([True, False, True, True, False])
        unroll = jax.jit(functools.partial(ntm_jax.unroll, config=config))
        state, ys = unroll(params, xs, mask=mask)
        expected_ys, expected_states = reference.unroll(
            as_numpy(params),
            np.asarray(xs),
            config,
            reference_state(params, config),
            mask,
        )
        np.testing.assert_allclose(ys, expected_ys, rtol=1e-9, atol=1e-9)
        assert_states_equal(state, expected_states[-1], rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize(
        ("name", "num_slots"), [("default", 9), ("random_memory_uniform_focus", 3)]
    )
    def test_a_memory_of_another_size(self, name, num_slots):
        config = make_config(**MACHINES[name])
        params = random_params(config, dtype=jnp.float64)
        xs = random_inputs(3, dtype=jnp.float64)

        @jax.jit
        def run(params, xs):
            state = ntm_jax.initial_state(params, config, num_slots=num_slots)
            return ntm_jax.unroll(params, xs, config=config, state=state)

        state, ys = run(params, xs)
        expected_ys, expected_states = reference.unroll(
            as_numpy(params),
            np.asarray(xs),
            config,
            reference_state(params, config, num_slots),
        )
        np.testing.assert_allclose(ys, expected_ys, rtol=1e-9, atol=1e-9)
        assert_states_equal(state, expected_states[-1], rtol=1e-9, atol=1e-9)

    def test_a_state_in_the_middle_of_things(self):
        config = make_config(num_read_heads=2, num_write_heads=2)
        params = random_params(config, dtype=jnp.float64)
        state = random_state(params, config)
        x = random_inputs(dtype=jnp.float64)
        new_state, y = jax.jit(functools.partial(ntm_jax.step, config=config))(
            params, state, x
        )
        numpy_state = reference.State(
            **{
                field.name: as_numpy(getattr(state, field.name))
                for field in dataclasses.fields(state)
            }
        )
        expected, expected_y = reference.step(
            as_numpy(params), numpy_state, np.asarray(x), config
        )
        np.testing.assert_allclose(y, expected_y, rtol=1e-9)
        assert_states_equal(new_state, expected, rtol=1e-9)


CONFIG = make_config(num_read_heads=2, initial_carry="learned")
PARAMS = random_params(CONFIG)
unroll = jax.jit(functools.partial(ntm_jax.unroll, PARAMS, config=CONFIG))
step = jax.jit(functools.partial(ntm_jax.step, config=CONFIG))


@functools.cache
def start(batch_shape=()):
    """A state with another number in every place."""
    return random_state(PARAMS, CONFIG, batch_shape=batch_shape)


def numpy_inputs(*leading):
    return np.asarray(random_inputs(*leading))


def run_steps(state, xs):
    """A Python loop over time."""
    ys = []
    for x in xs:
        state, y = step(PARAMS, state, x)
        ys.append(y)
    return state, np.array(ys)


class TestUnroll:
    def test_goes_on_from_a_state(self):
        xs = numpy_inputs(6)
        expected, expected_ys = run_steps(start(), xs)
        middle, first = unroll(xs[:3], state=start())
        end, second = unroll(xs[3:], state=middle)
        ys = np.concatenate([first, second])
        np.testing.assert_allclose(ys, expected_ys, rtol=1e-4, atol=1e-6)
        assert_states_equal(end, expected, rtol=1e-4, atol=1e-6)

    def test_starts_from_the_initial_state(self):
        xs = numpy_inputs(3)
        state, ys = unroll(xs)
        own = ntm_jax.initial_state(PARAMS, CONFIG)
        expected, expected_ys = unroll(xs, state=own)
        np.testing.assert_allclose(ys, expected_ys, rtol=1e-6)
        assert_states_equal(state, expected, rtol=1e-6)

    @pytest.mark.parametrize("mask", [None, np.zeros(0, bool)])
    def test_no_steps_leave_the_state_as_it_was_and_give_no_outputs(self, mask):
        state, ys = unroll(numpy_inputs(0), state=start(), mask=mask)
        assert ys.shape == (0, 2)
        assert_states_equal(state, start(), rtol=0)

    @pytest.mark.slow
    def test_a_batch_of_no_sequences_has_no_outputs_and_no_gradient(self):
        def loss(params):
            _, ys = ntm_jax.unroll(params, jnp.zeros((3, 2, 0, 2)), config=CONFIG)
            return jnp.sum(ys), ys

        gradient, ys = jax.grad(loss, has_aux=True)(PARAMS)
        assert ys.shape == (3, 2, 0, 2)
        assert not any(leaf.any() for leaf in jax.tree.leaves(gradient))

    def test_leaves_its_arguments_as_they_were(self):
        before = as_numpy(start())
        unroll(numpy_inputs(3), state=start())
        assert_states_equal(as_numpy(start()), before, rtol=0)


STATE_LEAVES = [
    jax.tree_util.keystr(path)
    for path, _ in jax.tree_util.tree_leaves_with_path(
        jax.eval_shape(lambda: ntm_jax.initial_state(PARAMS, CONFIG))
    )
]


@functools.cache
def half_masked():
    """States before and after a batch whose odd sequences are masked, and outputs."""
    before = start((4,))
    xs = numpy_inputs(3, 4)
    mask = np.tile([True, False, True, False], (3, 1))
    after, ys = unroll(xs, state=before, mask=mask)
    leaves = [dict(zip(STATE_LEAVES, jax.tree.leaves(s))) for s in (before, after)]
    return *leaves, np.asarray(ys)


class TestMask:
    @pytest.mark.parametrize("leaf", STATE_LEAVES)
    def test_a_masked_step_leaves_the_state_as_it_was_to_the_bit(self, leaf):
        before, after, _ = half_masked()
        old, new = np.asarray(before[leaf]), np.asarray(after[leaf])
        assert old[1::2].tobytes() == new[1::2].tobytes()
        assert (old[0::2] != new[0::2]).any()

    def test_a_masked_step_gives_zeros(self):
        _, _, ys = half_masked()
        np.testing.assert_array_equal(ys[:, 1::2], np.zeros((3, 2, 2)))
        assert (ys[:, 0::2] != 0).all()

    def test_a_padded_batch_equals_each_sequence_alone(self):
        lengths = [3, 1, 2, 0]
        xs = numpy_inputs(3, 4)
        mask = np.arange(3)[:, None] < np.array(lengths)
        state, ys = unroll(xs, state=start((4,)), mask=mask)
        ys = np.asarray(ys)
        for b, length in enumerate(lengths):
            alone, expected = run_steps(take(start((4,)), b), xs[:length, b])
            np.testing.assert_array_equal(ys[length:, b], np.zeros((3 - length, 2)))
            np.testing.assert_allclose(
                ys[:length, b], expected.reshape(length, 2), rtol=1e-4, atol=1e-6
            )
            assert_states_equal(take(state, b), alone, rtol=1e-4, atol=1e-6)

    @pytest.mark.slow
    def test_steps_that_no_sequence_makes_at_the_end_are_not_made(self):
        made = []
        config = make_config(controller=Counting(made.append))
        params = ntm_jax.init(jax.random.key(0), config, INPUT_SIZE)
        jax.effects_barrier()  # init makes a step too, whose report may come late
        mask = jnp.arange(9)[:, None] < jnp.array([[2, 4, 3]])
        run = functools.partial(ntm_jax.unroll, config=config)
        for run_padded in (run, jax.jit(run)):
            made.clear()
            jax.block_until_ready(run_padded(params, random_inputs(9, 3), mask=mask))
            jax.effects_barrier()
            assert len(made) == 4
        made.clear()

        def loss(xs):
            return jnp.sum(run(params, xs, mask=mask)[1])

        jax.block_until_ready(jax.jit(jax.grad(loss))(random_inputs(9, 3)))
        jax.effects_barrier()
        # Once more on the way back, and all of them together for the weights.
        assert len(made) == 4 + 4 + 1

    @pytest.mark.slow
    def test_garbage_in_masked_inputs_reaches_nothing(self):
        xs = numpy_inputs(4)
        mask = np.array([True, False, True, False])
        clean = masked_value_and_gradients(PARAMS, xs, start(), mask)
        for garbage in (np.nan, np.inf, 1e30):
            spoiled = np.where(mask[:, None], xs, np.float32(garbage))
            dirty = masked_value_and_gradients(PARAMS, spoiled, start(), mask)
            jax.tree.map(np.testing.assert_array_equal, dirty, clean)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))
        to_xs = np.asarray(clean[1][1])
        np.testing.assert_array_equal(to_xs[~mask], np.zeros((2, INPUT_SIZE)))
        assert (to_xs[mask] != 0).any()


class Counting(nn.Module):
    """A controller that reports every step it makes."""

    report: Callable

    @nn.compact
    def __call__(self, inputs):
        jax.debug.callback(self.report, inputs[..., 0])
        return nn.Dense(3)(inputs)


@jax.jit
def masked_value_and_gradients(params, xs, state, mask):
    def loss(params, xs, state):
        state, ys = ntm_jax.unroll(params, xs, config=CONFIG, state=state, mask=mask)
        return jnp.sum(ys**2) + jnp.sum(state.memory**2)

    return jax.value_and_grad(loss, argnums=(0, 1, 2))(params, xs, state)


class TestProperties:
    def test_weights_sum_to_1_and_reads_are_what_they_point_at(self):
        new, _ = step(PARAMS, start(), numpy_inputs())
        for weights in (new.read_weights, new.write_weights):
            assert (weights >= 0).all()
            np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
        seen = np.asarray(new.read_weights) @ np.asarray(start().memory)
        np.testing.assert_allclose(new.reads, seen, rtol=1e-5, atol=1e-6)

    def test_the_order_of_the_write_heads_does_not_matter(self, x64):
        config = make_config(num_write_heads=3, order="write_first")
        params = random_params(config, dtype=jnp.float64)
        swap = np.array([2, 0, 1])
        heads = params["write_heads"]
        swapped = params | {
            "write_heads": {
                "kernel": heads["kernel"][:, swap],
                "bias": heads["bias"][swap],
            }
        }
        xs = random_inputs(4, dtype=jnp.float64)
        run = jax.jit(functools.partial(ntm_jax.unroll, config=config))
        state, ys = run(params, xs)
        swapped_state, swapped_ys = run(swapped, xs)
        np.testing.assert_allclose(swapped_ys, ys, rtol=1e-10)
        np.testing.assert_allclose(swapped_state.memory, state.memory, rtol=1e-10)
        np.testing.assert_allclose(
            swapped_state.write_weights, state.write_weights[swap], rtol=1e-10
        )

    def test_rotating_the_memory_rotates_what_the_heads_do(self):
        def rotate(state, offset):
            return dataclasses.replace(
                state,
                memory=np.roll(state.memory, offset, axis=-2),
                read_weights=np.roll(state.read_weights, offset, axis=-1),
                write_weights=np.roll(state.write_weights, offset, axis=-1),
            )

        xs = numpy_inputs(3)
        state, ys = unroll(xs, state=start())
        rotated, rotated_ys = unroll(xs, state=rotate(start(), 2))
        np.testing.assert_allclose(rotated_ys, ys, rtol=1e-4, atol=1e-6)
        assert_states_equal(rotated, rotate(state, 2), rtol=1e-4, atol=1e-6)


class TestInit:
    CONFIG = make_config(num_read_heads=2, num_write_heads=3, output_size=7, **LEARNED)

    def shapes(self, config, input_size=6):
        return jax.tree.map(
            lambda leaf: leaf.shape,
            param_shapes(config, input_size),
        )

    def test_parameters_have_the_documented_names_and_shapes(self):
        shapes = self.shapes(self.CONFIG)
        assert shapes.pop("controller")["ii"]["kernel"] == (6 + 2 * 3, 4)
        assert shapes == {
            "read_heads": {"kernel": (4, 2, 9), "bias": (2, 9)},
            "write_heads": {"kernel": (4, 3, 15), "bias": (3, 15)},
            "output": {"kernel": (4 + 2 * 3, 7), "bias": (7,)},
            "initial": {
                "memory": (5, 3),
                "read_focus": (2, 5),
                "write_focus": (3, 5),
                "reads": (2, 3),
                "carry": ((4,), (4,)),
            },
        }

    def test_no_shape_depends_on_the_number_of_slots(self):
        for choice in ({}, {"initial_read": "learned", "initial_carry": "learned"}):
            few, many = (
                self.shapes(make_config(num_slots=n, **choice)) for n in (5, 64)
            )
            assert few == many

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_works_in_double_precision(self, dtype, x64):
        params = jax.eval_shape(
            lambda key: ntm_jax.init(key, self.CONFIG, INPUT_SIZE, dtype),
            jax.random.key(0),
        )
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}

    @pytest.mark.slow
    def test_draws_the_same_numbers_in_double_precision_and_casts_them(self):
        config = make_config(controller=ntm_jax.gru(4), **LEARNED)
        init = functools.partial(ntm_jax.init, jax.random.key(0), config, INPUT_SIZE)
        single = init()
        with jax.enable_x64(True):
            in_single, in_double = init(), init(dtype=jnp.float64)
        for params in (in_single, in_double):
            jax.tree.map(
                functools.partial(np.testing.assert_allclose, rtol=1e-6), params, single
            )

    @pytest.mark.parametrize("generator", ["rbg", "unsafe_rbg"])
    def test_takes_the_keys_of_every_generator(self, generator):
        own = jax.eval_shape(
            lambda key: ntm_jax.init(key, self.CONFIG, INPUT_SIZE),
            jax.random.key(0, impl=generator),
        )
        with jax.default_prng_impl(generator):
            params = jax.eval_shape(
                lambda key: ntm_jax.init(key, self.CONFIG, INPUT_SIZE),
                jax.random.PRNGKey(0),
            )
            with pytest.raises(TypeError, match=r"key: got uint32\[2\], want one key"):
                ntm_jax.init(jnp.zeros(2, jnp.uint32), self.CONFIG, INPUT_SIZE)
        assert params == own


class TestInitialState:
    def test_every_head_looks_at_the_first_slot(self):
        state = ntm_jax.initial_state(random_params(make_config()), make_config())
        np.testing.assert_array_equal(state.read_weights, [[1, 0, 0, 0, 0]])
        np.testing.assert_array_equal(state.write_weights, [[1, 0, 0, 0, 0]])
        np.testing.assert_array_equal(state.reads, [[0, 0, 0]])
        np.testing.assert_array_equal(state.memory, np.full((5, 3), 1e-6, np.float32))
        for leaf in jax.tree.leaves(state.controller):
            np.testing.assert_array_equal(leaf, np.zeros(4))

    @pytest.mark.parametrize(
        ("focus", "expected"), [("uniform", [0.2] * 5), ("none", [0] * 5)]
    )
    def test_focus_is_what_the_config_says(self, focus, expected):
        config = make_config(initial_weighting=focus, num_write_heads=2)
        state = ntm_jax.initial_state(random_params(config), config)
        np.testing.assert_allclose(state.read_weights, [expected])
        np.testing.assert_allclose(state.write_weights, [expected] * 2)

    def test_learned_values_are_the_parameters(self):
        config = make_config(**LEARNED)
        params = random_params(config)
        state = ntm_jax.initial_state(params, config)
        learned = params["initial"]
        np.testing.assert_array_equal(state.memory, learned["memory"])
        np.testing.assert_array_equal(state.reads, learned["reads"])
        jax.tree.map(np.testing.assert_array_equal, state.controller, learned["carry"])
        np.testing.assert_allclose(
            state.write_weights, jax.nn.softmax(learned["write_focus"]), rtol=1e-6
        )

    def test_batch_axes_repeat_the_state(self):
        config = make_config(num_read_heads=2, **LEARNED)
        params = random_params(config)
        single = ntm_jax.initial_state(params, config)
        batched = ntm_jax.initial_state(params, config, batch_shape=(3, 1))
        repeated = jax.tree.map(
            lambda leaf: np.broadcast_to(leaf, (3, 1, *leaf.shape)), single
        )
        assert_states_equal(batched, repeated, rtol=0)

    def test_a_stateless_controller_carries_nothing(self):
        config = make_config(
            controller=ntm_jax.feed_forward(4), initial_carry="learned"
        )
        state = ntm_jax.initial_state(random_params(config), config)
        assert state.controller == ()

    def test_the_state_is_a_frozen_pytree(self):
        state = start()
        with pytest.raises(dataclasses.FrozenInstanceError):
            state.memory = state.reads  # type: ignore[misc]
        assert len(jax.tree.leaves(state)) == 6


def golden_run():
    """A fixed machine, made without any random number, over six steps of a batch."""
    config = ntm_jax.NTMConfig(
        output_size=3,
        num_slots=8,
        slot_size=4,
        num_read_heads=2,
        num_write_heads=2,
        controller=ntm_jax.lstm(5),
    )
    leaves, treedef = jax.tree.flatten(param_shapes(config, input_size=4))
    waves = [
        np.float32(1.5 * np.sin(1 + i + 0.7 * np.arange(leaf.size)).reshape(leaf.shape))
        for i, leaf in enumerate(leaves)
    ]
    xs = np.float32(np.cos(1.3 * np.arange(6 * 2 * 4)).reshape(6, 2, 4))
    mask = np.arange(6)[:, None] < np.array([6, 4])
    params = jax.tree.unflatten(treedef, waves)
    run = jax.jit(functools.partial(ntm_jax.unroll, config=config))
    state, ys = run(params, xs, mask=mask)
    return {
        "outputs": ys,
        "memory": state.memory,
        "read_weights": state.read_weights,
        "write_weights": state.write_weights,
        "reads": state.reads,
    }


def write_golden():
    rows = [
        f'"{name}": {json.dumps(np.float64(value).round(7).tolist())}'
        for name, value in golden_run().items()
    ]
    GOLDEN.write_text("{\n" + ",\n".join(rows) + "\n}\n")


@pytest.mark.optimized
def test_a_whole_forward_pass_is_what_it_always_was():
    golden = json.loads(GOLDEN.read_text())
    run = golden_run()
    assert run.keys() == golden.keys()
    for name, value in run.items():
        np.testing.assert_allclose(value, golden[name], rtol=1e-5, atol=1e-5)


if __name__ == "__main__":
    write_golden()
