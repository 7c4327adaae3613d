"""Equations 2 to 4, and the initial memory."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jax.test_util import check_grads

import ntm_jax

read = jax.jit(ntm_jax.read)
write = jax.jit(ntm_jax.write)
SIZES = [(1, 1, 1), (5, 3, 1), (4, 2, 3)]  # N, M, H


def make_arguments(num_slots, slot_size, num_heads=None, leading=(), seed=0):
    """Random memory, weights, erase and add; without heads if `num_heads` is None."""
    rng = np.random.default_rng(seed)
    heads = leading if num_heads is None else (*leading, num_heads)
    memory = rng.normal(size=(*leading, num_slots, slot_size))
    weights = rng.dirichlet(np.ones(num_slots), size=heads)
    erase = rng.uniform(size=(*heads, slot_size))
    add = rng.normal(size=(*heads, slot_size))
    return memory, weights, erase, add


def floats(values):
    return np.array(values, np.float32)


class TestLiterals:
    MEMORY = floats([[1, 2], [3, 4], [5, 6]])

    def test_read_is_the_weighted_sum_of_the_slots(self):
        result = read(self.MEMORY, floats([0.5, 0.25, 0.25]))
        np.testing.assert_array_equal(result, [2.5, 3.5])

    def test_write_erases_what_was_there_then_adds(self):
        result = write(
            self.MEMORY, floats([0, 0.5, 1]), floats([1, 0.5]), floats([10, -1])
        )
        expected = [[1, 2], [1.5 + 5, 3 - 0.5], [0 + 10, 3 - 1]]
        np.testing.assert_array_equal(result, expected)

    def test_an_erase_does_not_touch_what_the_same_step_adds(self):
        result = write(
            self.MEMORY,
            floats([[0, 1, 0], [0, 1, 0]]),
            floats([[0, 0], [1, 1]]),
            floats([[7, 8], [0, 0]]),
        )
        np.testing.assert_array_equal(result, [[1, 2], [7, 8], [5, 6]])

    def test_two_heads_erase_one_after_the_other_and_add_up(self):
        result = write(
            self.MEMORY,
            floats([[0.5, 0, 0], [0.5, 0, 0]]),
            floats([[1, 0], [1, 0.5]]),
            floats([[2, 4], [4, 8]]),
        )
        expected = [[1 * 0.5 * 0.5 + 1 + 2, 2 * 1 * 0.75 + 2 + 4], [3, 4], [5, 6]]
        np.testing.assert_array_equal(result, expected)


@pytest.mark.usefixtures("x64")
class TestAgainstLoops:
    @pytest.mark.parametrize("sizes", SIZES)
    def test_write_equals_the_reference(self, sizes):
        memory, weights, erase, add = make_arguments(*sizes)
        result = write(memory, weights, erase, add)
        expected = reference.write(memory, weights, erase, add)
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("sizes", SIZES)
    def test_read_equals_the_reference(self, sizes):
        memory, weights, _, _ = make_arguments(*sizes)
        result = read(memory, weights)
        expected = [reference.read(memory, head) for head in weights]
        assert result.dtype == jnp.float64
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-14)

    def test_one_head_needs_no_axis_of_heads(self):
        memory, weights, erase, add = make_arguments(5, 3)
        np.testing.assert_allclose(
            write(memory, weights, erase, add),
            reference.write(memory, [weights], [erase], [add]),
            rtol=1e-12,
        )
        np.testing.assert_allclose(
            read(memory, weights), reference.read(memory, weights), rtol=1e-12
        )


@pytest.mark.parametrize("num_heads", [None, 2])
@pytest.mark.parametrize("leading", [(), (2,), (2, 1, 3)])
def test_leading_axes_equal_vmap_and_loop(num_heads, leading):
    call = make_arguments(4, 3, num_heads, leading)
    written, seen = np.asarray(write(*call)), np.asarray(read(*call[:2]))

    def both(memory, weights, erase, add):
        return ntm_jax.write(memory, weights, erase, add), ntm_jax.read(memory, weights)

    for _ in leading:
        both = jax.vmap(both)
    mapped_written, mapped_seen = jax.jit(both)(*call)
    np.testing.assert_allclose(mapped_written, written, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(mapped_seen, seen, rtol=1e-5, atol=1e-7)
    for index in np.ndindex(*leading):
        one = tuple(x[index] for x in call)
        np.testing.assert_allclose(write(*one), written[index], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(read(*one[:2]), seen[index], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_keeps_the_dtype(dtype, x64):
    call = tuple(x.astype(jnp.dtype(dtype)) for x in make_arguments(4, 3, 2))
    assert read(*call[:2]).dtype == dtype
    assert write(*call).dtype == dtype


def test_gradients_equal_finite_differences(x64):
    call = make_arguments(4, 3, 2)
    check_grads(read, call[:2], order=1, modes=["rev"], rtol=1e-7)
    check_grads(write, call, order=1, modes=["rev"], rtol=1e-7)


class TestProperties:
    def test_reading_one_slot_gives_that_slot(self):
        memory = floats(make_arguments(5, 3)[0])
        for slot in range(5):
            weights = np.eye(5, dtype=np.float32)[slot]
            np.testing.assert_array_equal(read(memory, weights), memory[slot])

    def test_erasing_and_adding_nothing_leaves_the_memory_untouched(self):
        memory, weights, _, _ = (floats(x) for x in make_arguments(5, 3, 2))
        nothing = np.zeros((2, 3), np.float32)
        result = write(memory, weights, nothing, nothing)
        np.testing.assert_array_equal(result, memory)

    def test_zero_weights_leave_the_memory_untouched(self):
        memory, _, erase, add = (floats(x) for x in make_arguments(5, 3, 2))
        result = write(memory, np.zeros((2, 5), np.float32), erase, add)
        np.testing.assert_array_equal(result, memory)

    def test_erasing_all_of_one_slot_replaces_it(self):
        memory, _, _, add = (floats(x) for x in make_arguments(5, 3))
        result = write(memory, np.eye(5, dtype=np.float32)[3], np.ones(3), add)
        expected = memory.copy()
        expected[3] = add
        np.testing.assert_array_equal(result, expected)

    def test_the_order_of_the_heads_does_not_matter(self, x64):
        memory, *heads = make_arguments(5, 3, 3)
        order = [2, 0, 1]
        np.testing.assert_allclose(
            write(memory, *heads),
            write(memory, *(head[order] for head in heads)),
            rtol=1e-14,
            atol=1e-15,
        )


# What `initial_memory` has always returned in a session without flags.
RANDOM_MEMORY = np.array(
    [
        [0.51692134, 0.5526164, -0.19365311],
        [-0.0708611, 0.03897451, -0.06244814],
    ],
    np.float32,
)


@contextlib.contextmanager
def seeds_offset_by_seven():
    jax.config.update("jax_random_seed_offset", 7)
    try:
        yield
    finally:
        jax.config.update("jax_random_seed_offset", 0)


class TestInitialMemory:
    def test_constant_is_1e_6_everywhere(self):
        memory = ntm_jax.initial_memory(4, 3)
        np.testing.assert_array_equal(memory, np.full((4, 3), 1e-6, np.float32))

    def test_random_is_the_same_at_every_call_and_different_in_every_slot(self):
        memory = np.asarray(ntm_jax.initial_memory(6, 4, "random"))
        again = ntm_jax.initial_memory(6, 4, kind="random")
        np.testing.assert_array_equal(memory, again)
        assert len(np.unique(memory)) == 24
        assert np.abs(memory).max() <= 0.5
        assert memory.min() < 0 < memory.max()

    def test_random_slots_are_the_same_in_a_larger_memory(self):
        small = ntm_jax.initial_memory(4, 3, "random")
        large = ntm_jax.initial_memory(9, 3, "random")
        np.testing.assert_array_equal(small, np.asarray(large)[:4])

    @pytest.mark.parametrize("kind", ["constant", "random"])
    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
    def test_has_the_given_dtype(self, kind, dtype, x64):
        memory = ntm_jax.initial_memory(2, 3, kind, dtype)
        assert memory.dtype == dtype
        assert memory.shape == (2, 3)

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
    def test_random_slots_are_the_same_numbers_in_every_dtype(self, dtype, x64):
        memory = ntm_jax.initial_memory(2, 3, "random", dtype)
        drawn = ntm_jax.initial_memory(2, 3, "random", jnp.float32)
        np.testing.assert_array_equal(memory, drawn.astype(dtype))

    @pytest.mark.parametrize(
        "session",
        [
            lambda: jax.default_prng_impl("rbg"),
            lambda: jax.threefry_partitionable(False),
            lambda: jax.enable_x64(True),
            seeds_offset_by_seven,
        ],
    )
    @pytest.mark.parametrize("compiled", [False, True])
    def test_random_slots_are_the_same_numbers_in_every_session(
        self, session, compiled
    ):
        draw = functools.partial(ntm_jax.initial_memory, 2, 3, "random")
        with session():
            memory = jax.jit(draw)() if compiled else draw()
        assert memory.dtype == jnp.float32
        np.testing.assert_allclose(memory, RANDOM_MEMORY, rtol=1e-5)
