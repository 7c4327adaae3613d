"""Equations 5 to 9: literals, slow loops, finite differences, limits, properties."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads

import ntm_jax

SIZES = [(1, 1, 0), (3, 1, 1), (5, 4, 2), (8, 3, 1)]  # N, M, R


def make_arguments(num_slots, slot_size, shift_range, leading=(), seed=0):
    """Random NumPy arguments of `address`, by name."""
    rng = np.random.default_rng(seed)

    def simplex(size):
        return rng.dirichlet(np.ones(size), size=leading)

    return {
        "memory": rng.normal(size=(*leading, num_slots, slot_size)),
        "previous": simplex(num_slots),
        "key": rng.normal(size=(*leading, slot_size)),
        "strength": np.array(rng.uniform(0, 8, size=leading)),
        "gate": np.array(rng.uniform(size=leading)),
        "shift": simplex(2 * shift_range + 1),
        "gamma": np.array(rng.uniform(1, 4, size=leading)),
    }


def primitive_calls(arguments):
    """The arguments of each addressing primitive."""
    a = arguments
    weights = a["previous"]
    return {
        "content_weights": (a["memory"], a["key"], a["strength"]),
        "interpolate": (weights, weights[..., ::-1], a["gate"]),
        "circular_shift": (weights, a["shift"]),
        "sharpen": (weights, a["gamma"]),
        "address": tuple(a.values()),
    }


PRIMITIVES = list(primitive_calls(make_arguments(3, 2, 1)))


JITTED = {name: jax.jit(getattr(ntm_jax, name)) for name in PRIMITIVES}
content_weights = JITTED["content_weights"]
interpolate = JITTED["interpolate"]
circular_shift = JITTED["circular_shift"]
sharpen = JITTED["sharpen"]
address = JITTED["address"]


def floats(*values):
    return np.array(values, np.float32)


def one_hot(slot, num_slots):
    return np.eye(num_slots, dtype=np.float32)[slot]


class TestLiterals:
    def test_content_weights_are_the_softmax_of_strength_times_cosine(self):
        memory = np.array([[3.0, 4.0], [0.0, 2.0], [-6.0, -8.0]])
        key = floats(6.0, 8.0)
        cosines = [1.0, 0.8, -1.0]
        powers = [math.exp(2.0 * cosine) for cosine in cosines]
        expected = [power / sum(powers) for power in powers]
        weights = content_weights(memory, key, np.float32(2.0))
        np.testing.assert_allclose(weights, expected, rtol=1e-6)

    def test_content_weights_ignore_the_length_of_key_and_slots(self):
        memory = np.array([[1.0, 0.0], [0.0, 1e-3]])
        strength = np.float32(math.log(4.0))
        for key in (floats(5.0, 0.0), floats(1e-4, 0.0)):
            weights = content_weights(memory, key, strength)
            np.testing.assert_allclose(weights, [0.8, 0.2], rtol=1e-5)

    def test_a_gate_of_a_quarter_takes_a_quarter_of_the_content(self):
        weights = interpolate(floats(1, 0, 0), floats(0, 0.5, 0.5), np.float32(0.25))
        np.testing.assert_array_equal(weights, [0.25, 0.375, 0.375])

    @pytest.mark.parametrize(
        ("shift", "expected"),
        [
            ([0, 0, 1], [0, 0, 0, 1, 0]),
            ([0, 1, 0], [0, 0, 1, 0, 0]),
            ([1, 0, 0], [0, 1, 0, 0, 0]),
            ([0, 0, 0, 0, 1], [0, 0, 0, 0, 1]),
            ([1, 0, 0, 0, 0], [1, 0, 0, 0, 0]),
            ([0.5, 0.25, 0.25], [0, 0.5, 0.25, 0.25, 0]),
            ([1], [0, 0, 1, 0, 0]),
        ],
    )
    def test_a_shift_moves_the_weight_of_slot_2_of_5(self, shift, expected):
        weights = circular_shift(floats(0, 0, 1, 0, 0), floats(*shift))
        np.testing.assert_array_equal(weights, expected)

    @pytest.mark.parametrize(
        ("slot", "shift", "expected"),
        [
            (4, [0, 0, 1], [1, 0, 0, 0, 0]),
            (0, [1, 0, 0], [0, 0, 0, 0, 1]),
            (3, [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]),
            (1, [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]),
        ],
    )
    def test_a_shift_beyond_the_last_slot_wraps_around(self, slot, shift, expected):
        weights = circular_shift(one_hot(slot, 5), floats(*shift))
        np.testing.assert_array_equal(weights, expected)

    def test_shifts_by_more_than_half_the_slots_overlap(self):
        weights = circular_shift(floats(1, 0), floats(0.125, 0.25, 0.0, 0.5, 0.125))
        np.testing.assert_array_equal(weights, [0.25, 0.75])

    def test_sharpening_raises_to_a_power_and_normalises(self):
        weights = sharpen(floats(0.5, 0.25, 0.25), np.float32(2.0))
        np.testing.assert_allclose(weights, [2 / 3, 1 / 6, 1 / 6], rtol=1e-6)

    def test_addressing_shifts_before_it_sharpens(self):
        weights = address(
            memory=np.eye(3),
            previous=floats(0, 1, 0),
            key=floats(1, 0, 0),
            strength=np.float32(0.0),
            gate=np.float32(0.0),
            shift=floats(0, 0.75, 0.25),
            gamma=np.float32(2.0),
        )
        np.testing.assert_allclose(weights, [0, 0.9, 0.1], rtol=1e-6, atol=1e-29)

    def test_an_open_gate_takes_the_content_then_shifts_it(self):
        weights = address(
            memory=np.eye(4),
            previous=floats(0, 0, 1, 0),
            key=floats(1, 0, 0, 0),
            strength=np.float32(1e3),
            gate=np.float32(1.0),
            shift=floats(0, 0, 1),
            gamma=np.float32(1.0),
        )
        np.testing.assert_allclose(weights, [0, 1, 0, 0], rtol=1e-6, atol=1e-29)


@pytest.mark.usefixtures("x64")
class TestAgainstLoops:
    @pytest.mark.parametrize("sizes", SIZES)
    @pytest.mark.parametrize("name", PRIMITIVES)
    def test_equals_the_reference(self, name, sizes):
        for seed in range(3):
            call = primitive_calls(make_arguments(*sizes, seed=seed))[name]
            result = JITTED[name](*call)
            expected = getattr(reference, name)(*call)
            assert result.dtype == jnp.float64
            np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-12)

    def test_cosine_is_the_paper_s_wherever_nothing_is_zero(self):
        rng = np.random.default_rng(0)
        memory, key = rng.normal(size=(6, 4)), rng.normal(size=4)
        cosine = memory @ key / np.linalg.norm(memory, axis=1) / np.linalg.norm(key)
        expected = np.exp(3 * cosine) / np.exp(3 * cosine).sum()
        weights = content_weights(memory, key, np.array(3.0))
        np.testing.assert_allclose(weights, expected, rtol=1e-12)

    @pytest.mark.parametrize("reach", [1, 2, 3])
    def test_shift_may_go_a_full_turn_each_way(self, reach):
        rng = np.random.default_rng(0)
        weights, shift = rng.uniform(size=3), rng.uniform(size=2 * reach + 1)
        np.testing.assert_allclose(
            circular_shift(weights, shift),
            reference.circular_shift(weights, shift),
            rtol=1e-12,
        )


@pytest.mark.parametrize("leading", [(), (2,), (2, 1, 3)])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_leading_axes_equal_vmap_and_loop(name, leading):
    call = primitive_calls(make_arguments(5, 3, 1, leading))[name]
    batched = JITTED[name](*call)
    mapped = getattr(ntm_jax, name)
    for _ in leading:
        mapped = jax.vmap(mapped)
    np.testing.assert_allclose(jax.jit(mapped)(*call), batched, rtol=1e-5, atol=1e-9)
    for index in np.ndindex(*leading):
        single = JITTED[name](*(x[index] for x in call))
        np.testing.assert_allclose(single, batched[index], rtol=1e-5, atol=1e-9)


def test_jit_changes_nothing():
    arguments = tuple(jnp.asarray(x) for x in make_arguments(5, 3, 1).values())
    np.testing.assert_allclose(
        ntm_jax.address(*arguments), address(*arguments), rtol=1e-5
    )


@pytest.mark.parametrize("leading", [(), (1, 3)])
def test_heads_at_one_memory_equal_one_head_at_a_time(leading):
    num_heads = 2
    one = make_arguments(5, 3, 1, leading)
    many = make_arguments(5, 3, 1, (*leading, num_heads))
    many["memory"] = one["memory"]
    together = np.asarray(address(**many))
    content = content_weights(many["memory"], many["key"], many["strength"])
    for h in range(num_heads):
        at_head = (*(slice(None),) * len(leading), h)
        own = {name: value[at_head] for name, value in many.items()}
        own["memory"] = many["memory"]
        np.testing.assert_allclose(
            together[at_head], address(**own), rtol=1e-5, atol=1e-9
        )
        np.testing.assert_allclose(
            content[at_head],
            content_weights(own["memory"], own["key"], own["strength"]),
            rtol=1e-6,
        )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_keeps_the_dtype(name, dtype, x64):
    arguments = make_arguments(5, 3, 1)
    arguments = {
        name: value.astype(jnp.dtype(dtype)) for name, value in arguments.items()
    }
    result = JITTED[name](*primitive_calls(arguments)[name])
    assert result.dtype == dtype
    assert np.isfinite(result).all()


class TestGradients:
    @pytest.mark.parametrize("name", PRIMITIVES)
    def test_equal_finite_differences(self, name, x64):
        call = primitive_calls(make_arguments(5, 3, 1))[name]
        check_grads(JITTED[name], call, order=1, modes=["rev"], rtol=1e-6, atol=1e-6)

    def test_forward_mode_equals_finite_differences(self, x64):
        arguments = tuple(make_arguments(5, 3, 1).values())
        check_grads(address, arguments, order=1, modes=["fwd"], rtol=1e-6, atol=1e-6)


COTANGENT = floats(0.5, -1.0, 2.0, 0.25, -0.75)


@functools.cache
def gradients(name):
    """Gradient of the dot product of the result with COTANGENT, compiled once."""
    function = getattr(ntm_jax, name)

    def loss(arguments):
        return jnp.sum(function(*arguments) * COTANGENT)

    return jax.jit(jax.grad(loss))


class TestLimits:
    """Inputs where an equation is 0 / 0, and the ends of every range, in float32."""

    MEMORY = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    KEY = floats(1.0, -2.0, 0.5)
    ONE_HOT = floats(0, 0, 1, 0, 0)
    UNIFORM = np.full(5, 0.2, np.float32)

    def test_a_zero_key_weighs_all_slots_the_same(self):
        call = (self.MEMORY, np.zeros(3), np.float32(5.0))
        np.testing.assert_array_equal(content_weights(*call), self.UNIFORM)
        to_memory, to_key, to_strength = gradients("content_weights")(call)
        np.testing.assert_array_equal(to_memory, np.zeros((5, 3)))
        assert np.isfinite(to_key).all()
        assert to_strength == 0

    def test_a_zero_memory_weighs_all_slots_the_same(self):
        call = (np.zeros((5, 3)), self.KEY, np.float32(5.0))
        np.testing.assert_array_equal(content_weights(*call), self.UNIFORM)
        to_memory, to_key, to_strength = gradients("content_weights")(call)
        assert np.isfinite(to_memory).all()
        np.testing.assert_array_equal(to_key, np.zeros(3))
        assert to_strength == 0

    def test_a_zero_slot_counts_as_orthogonal_to_every_key(self):
        memory = np.outer(one_hot(1, 5), self.KEY)
        call = (memory, self.KEY, np.float32(math.log(4.0)))
        expected = np.array([1, 4, 1, 1, 1]) / 8
        np.testing.assert_allclose(content_weights(*call), expected, rtol=1e-6)
        for gradient in gradients("content_weights")(call):
            assert np.isfinite(gradient).all()

    @pytest.mark.parametrize("memory_size", [1e-4, 1e18, 1e37])
    @pytest.mark.parametrize("key_size", [1e-4, 1e18, 1e37])
    def test_the_cosine_does_not_depend_on_the_lengths(self, memory_size, key_size):
        expected = content_weights(self.MEMORY, self.KEY, np.float32(2.0))
        memory = np.float32(memory_size) * self.MEMORY
        call = (memory, np.float32(key_size) * self.KEY, np.float32(2.0))
        np.testing.assert_allclose(content_weights(*call), expected, rtol=1e-5)
        for gradient in gradients("content_weights")(call):
            assert np.isfinite(gradient).all()

    @pytest.mark.parametrize("size", [1e-45, 1e-38, 3e38])
    def test_is_finite_at_the_ends_of_float32(self, size):
        signs = np.sign(self.MEMORY) * np.float32(size)
        for memory in (signs, self.MEMORY):
            for key in (signs[0], self.KEY):
                call = (memory, key, np.float32(2.0))
                np.testing.assert_allclose(content_weights(*call).sum(), 1, rtol=1e-5)
                for gradient in gradients("content_weights")(call):
                    assert np.isfinite(gradient).all()

    def test_strength_0_weighs_all_slots_the_same(self):
        call = (self.MEMORY, self.KEY, np.float32(0.0))
        np.testing.assert_array_equal(content_weights(*call), self.UNIFORM)
        to_memory, to_key, to_strength = gradients("content_weights")(call)
        np.testing.assert_array_equal(to_memory, np.zeros((5, 3)))
        np.testing.assert_array_equal(to_key, np.zeros(3))
        lengths = np.linalg.norm(self.MEMORY, axis=1) * np.linalg.norm(self.KEY)
        cosine = np.asarray(self.MEMORY @ self.KEY) / lengths
        expected = np.sum(np.asarray(COTANGENT) * (cosine - cosine.mean())) / 5
        np.testing.assert_allclose(to_strength, expected, rtol=1e-5)

    def test_strength_1e4_picks_the_most_similar_slot(self):
        call = (self.MEMORY, self.MEMORY[2], np.float32(1e4))
        np.testing.assert_array_equal(content_weights(*call), self.ONE_HOT)
        for gradient in gradients("content_weights")(call):
            np.testing.assert_array_equal(gradient, np.zeros_like(gradient))

    def test_strength_1e4_splits_between_equal_slots(self):
        memory = np.tile(self.KEY, (5, 1))
        call = (memory, self.KEY, np.float32(1e4))
        np.testing.assert_allclose(content_weights(*call), self.UNIFORM, rtol=1e-6)
        for gradient in gradients("content_weights")(call):
            assert np.isfinite(gradient).all()

    def test_gamma_1_at_a_one_hot_is_the_identity_with_its_gradient(self):
        call = (self.ONE_HOT, np.float32(1.0))
        np.testing.assert_allclose(sharpen(*call), self.ONE_HOT, rtol=1e-6, atol=1e-29)
        to_weights, to_gamma = gradients("sharpen")(call)
        np.testing.assert_allclose(
            to_weights, COTANGENT - COTANGENT[2], rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(to_gamma, 0, atol=1e-6)

    @pytest.mark.parametrize("gamma", [20.0, 1e3])
    def test_sharpening_a_one_hot_keeps_it_and_gives_no_gradient(self, gamma):
        call = (self.ONE_HOT, np.float32(gamma))
        np.testing.assert_array_equal(sharpen(*call), self.ONE_HOT)
        to_weights, to_gamma = gradients("sharpen")(call)
        np.testing.assert_array_equal(to_weights, np.zeros(5))
        assert to_gamma == 0

    @pytest.mark.parametrize("gamma", [1.0, 21.0, 1e3])
    @pytest.mark.parametrize("num_slots", [5, 128, 4096])
    def test_sharpening_a_uniform_weighting_keeps_it(self, gamma, num_slots):
        uniform = np.full(num_slots, 1 / num_slots)
        weights = sharpen(uniform, np.float32(gamma))
        np.testing.assert_allclose(weights, uniform, rtol=1e-5)

    def test_gamma_1e3_at_a_uniform_weighting_multiplies_the_gradient(self):
        to_weights, to_gamma = gradients("sharpen")((self.UNIFORM, np.float32(1e3)))
        expected = 1e3 * (COTANGENT - COTANGENT.mean())
        np.testing.assert_allclose(to_weights, expected, rtol=1e-5)
        np.testing.assert_allclose(to_gamma, 0, atol=1e-5)

    def test_gamma_1e3_picks_the_largest(self):
        weights = sharpen(floats(0.2, 0.1, 0.3, 0.2, 0.2), np.float32(1e3))
        np.testing.assert_array_equal(weights, self.ONE_HOT)

    def test_zero_weights_give_the_uniform_weighting(self):
        call = (np.zeros(5), np.float32(2.0))
        np.testing.assert_allclose(sharpen(*call), self.UNIFORM, rtol=1e-6)
        for gradient in gradients("sharpen")(call):
            assert np.isfinite(gradient).all()

    def test_a_negative_weight_counts_as_zero(self):
        call = (floats(-3e38, 0.25, 0.75, -1e-30, 0.0), np.float32(2.0))
        expected = floats(0, 0.1, 0.9, 0, 0)
        np.testing.assert_allclose(sharpen(*call), expected, rtol=1e-6, atol=1e-29)
        to_weights, to_gamma = gradients("sharpen")(call)
        np.testing.assert_array_equal(to_weights[np.array([0, 3])], [0, 0])
        assert np.isfinite(to_weights).all()
        assert np.isfinite(to_gamma)

    def test_weights_of_a_tiny_sum_are_nearly_uniform(self, x64):
        smallest_sum = 2.0**-32
        call = (smallest_sum * np.array([0.25, 0.25, 0.0]), np.array(2.0))
        np.testing.assert_allclose(sharpen(*call), [9 / 22, 9 / 22, 4 / 22], rtol=1e-9)
        # In units of the smallest sum, so that finite differences can resolve a step.
        check_grads(
            lambda weights: sharpen(smallest_sum * weights, call[1]),
            (np.array([0.25, 0.25, 0.125]),),
            order=1,
            modes=["rev"],
            rtol=1e-6,
        )

    @pytest.mark.parametrize("memory", ["zero", "random"])
    @pytest.mark.parametrize("key", ["zero", "random"])
    @pytest.mark.parametrize("previous", ["one_hot", "uniform", "zero"])
    def test_address_is_finite_at_every_corner(self, memory, key, previous):
        memory = {"zero": np.zeros((5, 3)), "random": self.MEMORY}[memory]
        key = {"zero": np.zeros(3), "random": self.KEY}[key]
        previous = {
            "one_hot": self.ONE_HOT,
            "uniform": self.UNIFORM,
            "zero": np.zeros(5),
        }[previous]
        for strength in (0.0, 1e4):
            for gate in (0.0, 1.0):
                for gamma in (1.0, 20.0, 1e3):
                    call = (
                        memory,
                        previous,
                        key,
                        np.float32(strength),
                        np.float32(gate),
                        floats(0, 1, 0),
                        np.float32(gamma),
                    )
                    np.testing.assert_allclose(address(*call).sum(), 1, rtol=1e-5)
                    for gradient in gradients("address")(call):
                        assert np.isfinite(gradient).all()


class TestProperties:
    def test_a_shut_gate_keeps_the_previous_weighting_exactly(self):
        arguments = make_arguments(6, 3, 1)
        previous = floats(*arguments["previous"])
        content = content_weights(
            arguments["memory"], arguments["key"], arguments["strength"]
        )
        kept = interpolate(content, previous, np.float32(0.0))
        taken = interpolate(content, previous, np.float32(1.0))
        np.testing.assert_array_equal(kept, previous)
        np.testing.assert_array_equal(taken, content)

    @pytest.mark.parametrize("reach", [0, 1, 2, 3])
    def test_a_sure_shift_rotates_by_exactly_that_much(self, reach):
        weights = floats(*make_arguments(7, 1, 0)["previous"])
        for index, offset in enumerate(range(-reach, reach + 1)):
            shift = one_hot(index, 2 * reach + 1)
            np.testing.assert_array_equal(
                circular_shift(weights, shift), np.roll(weights, offset)
            )

    def test_shifts_there_and_back_cancel(self):
        weights = floats(*make_arguments(5, 1, 0)["previous"])
        there = circular_shift(weights, floats(0, 0, 1))
        back = circular_shift(there, floats(1, 0, 0))
        np.testing.assert_array_equal(back, weights)

    def test_gamma_1_changes_nothing(self):
        weights = make_arguments(9, 1, 0)["previous"]
        np.testing.assert_allclose(
            sharpen(weights, np.float32(1.0)), weights, rtol=1e-5
        )

    def test_sharpening_keeps_the_order_of_the_slots(self):
        weights = make_arguments(9, 1, 0)["previous"]
        sharper = sharpen(weights, np.float32(3.0))
        np.testing.assert_array_equal(np.argsort(sharper), np.argsort(weights))
        assert sharper.max() > weights.max()

    def test_permuting_the_slots_permutes_the_content_weights(self):
        arguments = make_arguments(6, 3, 1)
        memory, key, strength = (
            arguments[name] for name in ("memory", "key", "strength")
        )
        order = np.array([3, 0, 5, 1, 4, 2])
        np.testing.assert_allclose(
            content_weights(memory[order], key, strength),
            content_weights(memory, key, strength)[order],
            rtol=1e-6,
        )

    def test_the_key_of_a_slot_picks_that_slot(self):
        memory = make_arguments(6, 4, 1)["memory"]
        for slot in range(6):
            weights = content_weights(memory, memory[slot], np.float32(1e3))
            np.testing.assert_allclose(weights, one_hot(slot, 6), atol=1e-6)
