"""Heads: from the controller's output to k, β, g, s, γ, e and a."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from machines import make_config

import ntm_jax
from ntm_jax import heads

FIELDS = ("key", "strength", "gate", "shift", "gamma")


def cut(emitted, config):
    size, reach = config.slot_size, config.shift_range
    return (
        heads.addressing(emitted, size, reach, config.key_activation),
        heads.writing(emitted, size, config.add_activation),
    )


def random_emitted(config, *leading, scale=3.0):
    size = heads.writing_size(config.slot_size, config.shift_range)
    return scale * np.random.default_rng(0).normal(size=(*leading, size))


class TestLiterals:
    def test_a_head_that_emits_zeros_is_in_the_middle_of_every_range(self):
        addressing, writing = cut(jnp.zeros((1, 15)), make_config())
        np.testing.assert_array_equal(addressing.key, np.zeros((1, 3)))
        np.testing.assert_allclose(addressing.strength, [math.log(2)], rtol=1e-6)
        np.testing.assert_array_equal(addressing.gate, [0.5])
        np.testing.assert_allclose(addressing.shift, np.full((1, 3), 1 / 3), rtol=1e-6)
        np.testing.assert_allclose(addressing.gamma, [1 + math.log(2)], rtol=1e-6)
        np.testing.assert_array_equal(writing.erase, np.full((1, 3), 0.5))
        np.testing.assert_array_equal(writing.add, np.zeros((1, 3)))

    def test_each_piece_stands_in_its_place(self):
        key, strength, gate, shift, gamma = [0.5, -1, 2], [-3], [-2], [0, 1, 3], [-1]
        erase, add = [1, 0, -1], [0.25, -0.5, 4]
        emitted = [key + strength + gate + shift + gamma + erase + add]
        addressing, writing = cut(jnp.array(emitted, jnp.float32), make_config())
        powers = np.exp(shift)
        for value, expected in [
            (addressing.key, np.tanh([key])),
            (addressing.strength, [math.log1p(math.exp(-3))]),
            (addressing.gate, [1 / (1 + math.exp(2))]),
            (addressing.shift, [powers / powers.sum()]),
            (addressing.gamma, [1 + math.log1p(math.exp(-1))]),
            (writing.erase, [1 / (1 + np.exp(-np.array(erase)))]),
            (writing.add, np.tanh([add])),
        ]:
            np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("shift_range", [0, 1, 2])
@pytest.mark.parametrize(
    ("key_activation", "add_activation"),
    [("tanh", "identity"), ("identity", "sigmoid"), ("sigmoid", "tanh")],
)
def test_equals_the_reference(shift_range, key_activation, add_activation, x64):
    config = make_config(
        shift_range=shift_range,
        key_activation=key_activation,
        add_activation=add_activation,
    )
    emitted = random_emitted(config, 2)
    addressing, writing = jax.jit(lambda values: cut(values, config))(emitted)
    for h in range(2):
        expected = reference.head(emitted[h], config)
        for piece in (addressing, writing):
            for field in piece._fields:
                np.testing.assert_allclose(
                    getattr(piece, field)[h], getattr(expected, field), rtol=1e-12
                )


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e30])
def test_every_piece_is_in_its_range(scale):
    config = make_config()
    emitted = jnp.asarray(random_emitted(config, 4, scale=scale), jnp.float32)
    (_, strength, gate, shift, gamma), (erase, _) = cut(emitted, config)
    assert (strength >= 0).all()
    assert (gamma >= 1).all()
    assert ((gate >= 0) & (gate <= 1)).all()
    assert ((erase >= 0) & (erase <= 1)).all()
    np.testing.assert_allclose(shift.sum(-1), np.ones(4), rtol=1e-6)


class TestEmit:
    KERNEL = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])
    BIAS = np.array([[0.5, -0.5], [0.25, 0.0]])
    HIDDEN = np.array([1.0, -1.0])
    EMITTED = np.array([[-3.5, -4.5], [-3.75, -4.0]])

    def emit(self, hidden, clip=None):
        params = {"kernel": jnp.array(self.KERNEL), "bias": jnp.array(self.BIAS)}
        return heads.emit(params, jnp.array(hidden), clip)

    def test_is_one_affine_map_a_head(self, x64):
        np.testing.assert_array_equal(self.emit(self.HIDDEN), self.EMITTED)

    def test_takes_leading_axes(self, x64):
        hidden = np.array([[self.HIDDEN, -self.HIDDEN]])
        expected = [[self.EMITTED, 2 * self.BIAS - self.EMITTED]]
        np.testing.assert_array_equal(self.emit(hidden), expected)

    def test_clips_on_both_sides(self, x64):
        emitted = self.emit(np.array([self.HIDDEN, -self.HIDDEN]), clip=3.75)
        expected = [[[-3.5, -3.75], [-3.75, -3.75]], [[3.75, 3.5], [3.75, 3.75]]]
        np.testing.assert_array_equal(emitted, expected)


def test_each_head_starts_glorot_uniform_as_a_layer_of_its_own():
    params = heads.init(jax.random.key(0), 30, 2, 20)
    kernel = np.asarray(params["kernel"])
    bound = math.sqrt(6 / (30 + 20))
    assert kernel.shape == (30, 2, 20)
    assert 0.98 * bound < np.abs(kernel).max() <= bound
    assert not np.allclose(kernel[:, 0], kernel[:, 1])
    np.testing.assert_array_equal(params["bias"], np.zeros((2, 20)))


@pytest.mark.slow
@pytest.mark.parametrize("shift_range", [0, 1, 2])
@pytest.mark.parametrize("kind", ["tape", "stack"])
def test_tape_heads_move_before_training(kind, shift_range):
    num_slots, steps = 12, 3
    config = ntm_jax.NTMConfig(
        output_size=2,
        num_slots=num_slots,
        shift_range=shift_range,
        num_read_heads=2,
        num_write_heads=2,
        initial_heads=kind,
        initial_strength=5.0,
    )
    params = ntm_jax.init(jax.random.key(0), config, input_size=3)
    xs = jnp.zeros((steps, 3))  # no input: the controller's output is near zero
    trace = ntm_jax.trace(params, xs, config=config)
    slots = [
        np.asarray(weights).argmax(-1)
        for weights in (trace.states.read_weights, trace.states.write_weights)
    ]
    moved = np.arange(1, steps + 1) if shift_range else np.zeros(steps)
    stayed = np.zeros(steps)
    first = moved if kind == "stack" else stayed
    np.testing.assert_array_equal(slots[0], np.stack([first, stayed], axis=1))
    np.testing.assert_array_equal(slots[1], np.stack([moved, stayed], axis=1))
    num_moving = int(kind == "stack")
    staying = (
        jax.tree.map(lambda leaf: leaf[:, num_moving:], trace.read),
        jax.tree.map(lambda leaf: leaf[:, 1:], trace.write),
    )
    for addressing in (trace.read, trace.write):
        assert (np.asarray(addressing.gate) < 0.3).all()
    for addressing in staying:
        np.testing.assert_allclose(addressing.strength, 5.0, atol=0.5)
    if shift_range:  # a bias of 4 against 2, over 2 R + 1 shifts
        others = 2 * shift_range
        for shift, at, bias in (
            (trace.read.shift[:, :num_moving], 1, 4.0),
            (trace.read.shift[:, num_moving:], 0, 2.0),
            (trace.write.shift[:, :1], 1, 4.0),
            (trace.write.shift[:, 1:], 0, 2.0),
        ):
            likely = np.asarray(shift)[..., shift_range + at]
            expected = math.exp(bias) / (math.exp(bias) + others)
            np.testing.assert_allclose(likely, expected, atol=0.1)


@pytest.mark.parametrize("shift_range", [0, 1, 2])
@pytest.mark.slow
def test_content_heads_find_the_slot_most_similar_to_their_key(shift_range):
    config = ntm_jax.NTMConfig(
        output_size=2,
        shift_range=shift_range,
        num_read_heads=2,
        num_write_heads=2,
        initial_heads="content",
        initial_strength=50.0,
        initial_memory="random",
        initial_weighting="none",
    )
    params = ntm_jax.init(jax.random.key(0), config, input_size=3)
    state = ntm_jax.initial_state(params, config)
    xs = jax.random.normal(jax.random.key(1), (1, 3))
    trace = ntm_jax.trace(params, xs, config=config, state=state)
    for addressing, weights in (
        (trace.read, trace.states.read_weights),
        (trace.write, trace.states.write_weights),
    ):
        np.testing.assert_allclose(addressing.strength, 50.0, atol=0.5)
        np.testing.assert_allclose(addressing.gate, 1 / (1 + math.exp(-2)), atol=0.05)
        np.testing.assert_allclose(
            addressing.shift[..., shift_range],
            math.exp(2) / (math.exp(2) + 2 * shift_range),
            atol=0.1,
        )
        content = ntm_jax.content_weights(
            state.memory, addressing.key[0], addressing.strength[0]
        )
        np.testing.assert_array_equal(
            np.asarray(weights)[0].argmax(-1), np.asarray(content).argmax(-1)
        )


def test_lookup_heads_write_as_on_a_tape_and_read_by_content():
    tape, content, lookup = (
        ntm_jax.init(
            jax.random.key(0),
            ntm_jax.NTMConfig(output_size=2, initial_heads=kind, initial_strength=2.0),
            input_size=3,
        )
        for kind in ("tape", "content", "lookup")
    )
    chex.assert_trees_all_equal(lookup["write_heads"], tape["write_heads"])
    chex.assert_trees_all_equal(lookup["read_heads"], content["read_heads"])
    assert not np.array_equal(tape["read_heads"]["bias"], content["read_heads"]["bias"])


@pytest.mark.parametrize("sharpening", ["learned", "none"])
def test_without_sharpening_gamma_is_1(sharpening):
    emitted = jax.random.normal(jax.random.key(0), (4, heads.addressing_size(3, 1)))
    addressing = heads.addressing(emitted, 3, 1, sharpening=sharpening)
    other = heads.addressing(emitted, 3, 1)
    if sharpening == "none":
        np.testing.assert_array_equal(addressing.gamma, np.ones(4))
        addressing = addressing._replace(gamma=other.gamma)
    jax.tree.map(np.testing.assert_array_equal, addressing, other)


def test_neutral_heads_prefer_nothing():
    config = ntm_jax.NTMConfig(output_size=2, initial_heads="neutral")
    params = ntm_jax.init(jax.random.key(0), config, input_size=3)
    for name in ("read_heads", "write_heads"):
        np.testing.assert_array_equal(params[name]["bias"], 0)


def test_the_scale_of_the_heads_is_a_choice():
    kernels = [
        ntm_jax.init(
            jax.random.key(0),
            ntm_jax.NTMConfig(output_size=2, head_scale=scale),
            input_size=3,
        )["read_heads"]["kernel"]
        for scale in (1.0, 1.5)
    ]
    np.testing.assert_allclose(kernels[1], 1.5 * kernels[0], rtol=1e-6)
