"""Each reverse `f_vjp` of the fast path against `jax.vjp` of its `f`, in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntm_jax.fast import controller, xla
from ntm_jax.fast import equations as eq
from ntm_jax.fast.dense import dense, dense_gradient

pytestmark = pytest.mark.usefixtures("x64", "quick_compilations")

# B, R, W, N, M and R of the shifts.
SIZES = [(3, 2, 1, 7, 4, 2), (2, 1, 3, 6, 2, 0), (1, 1, 1, 5, 3, 1)]
sizes = pytest.mark.parametrize("sizes", SIZES, ids=str)


@pytest.fixture(autouse=True, params=[True, False], ids=["cpu", "plain"])
def form(request):
    """Each equation in the form for a CPU and in the plain one."""
    with xla.forms(request.param):
        yield


def compiled(function):
    """The function as one program: that compiles faster than many small ones."""
    return lambda *arguments: jax.jit(function)(*arguments)


def vjp_of(function, *primals) -> Any:
    """`jax.vjp`."""
    return jax.vjp(function, *primals)


def zeros_like(tree):
    return jax.tree.map(jnp.zeros_like, tree)


class Draw:
    """Random arrays: one generator, so that no two are alike."""

    def __init__(self, sizes):
        self.rng = np.random.default_rng(sum(sizes))

    def normal(self, *shape):
        return jnp.asarray(self.rng.normal(size=shape))

    def positive(self, *shape):
        return jnp.exp(self.normal(*shape))

    def unit(self, *shape):
        """In (0, 1)."""
        return jnp.asarray(self.rng.uniform(0.05, 0.95, size=shape))

    def weighting(self, *shape):
        return jax.nn.softmax(self.normal(*shape), axis=-1)


def assert_near(result, expected, tolerance=1e-9):
    """Within so much of the largest number of each array."""
    for one, other in zip(result, expected, strict=True):
        largest = float(np.max(np.abs(other), initial=0))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * largest)


def in_full(memory, products, norms=None):
    """The memory's cotangent, of which an equation returned these parts.

    `norms` are the inverse norms and the norms' cotangent.
    """
    of_norms = norms or (jnp.zeros_like(memory[:, 0]),) * 2
    zeros = jnp.zeros_like(memory)
    return eq.memory_cotangent(zeros, memory, [], (products,), *of_norms)


@sizes
@pytest.mark.parametrize("length", [1.0, 1e25], ids=["usual", "huge"])
def test_content_weights(sizes, length):
    b, r, w, n, m, _ = sizes
    draw = Draw(sizes)
    # Lengths whose squares would overflow float32 take the other branch.
    memory, strength = length * draw.normal(b, m, n), draw.positive(b, r + w)
    key, d_content = draw.normal(b, r + w, m), draw.normal(b, r + w, n)

    def compute(memory, key, strength, d_content):
        (content, residuals), vjp = vjp_of(eq.content_weights, memory, key, strength)
        again = eq.content_from_residuals(residuals, strength)
        products, d_norms, d_key, d_strength = eq.content_weights_vjp(
            residuals, memory, key, strength, content, d_content
        )
        d_memory = in_full(memory, products, (residuals.inverse_norms, d_norms))
        result = d_memory, d_key, d_strength
        return content, again, result, vjp((d_content, zeros_like(residuals)))

    content, again, result, expected = compiled(compute)(
        memory, key, strength, d_content
    )
    memory, key = np.asarray(memory), np.asarray(key)
    norms = np.sqrt(np.sum(memory**2, axis=1) + eq.SMALLEST_LENGTH**2)
    powers = np.einsum("bkm,bmn->bkn", key, memory) / norms[:, None]
    powers = np.exp(np.asarray(strength)[..., None] * powers)
    slow = powers / powers.sum(axis=-1, keepdims=True)
    assert_near((content, again), (slow, slow))
    assert_near(result, expected)


def test_slots_of_width_1_have_the_cosine_1_exactly():
    """Else the largest strength, 1 / eps, would tell them apart."""
    memory = jnp.exp(Draw((9,)).normal(2, 1, 64)).astype(jnp.float32)
    ones = jnp.ones((2, 1, 1), jnp.float32)
    _, residuals = compiled(eq.content_weights)(memory, ones, ones[..., 0])
    np.testing.assert_array_equal(residuals.cosine, 1)


def test_a_huge_cotangent_of_content_weights_has_a_finite_reverse():
    """The square of l(i) would overflow, or 2^32, by which the key is scaled."""
    memory = jnp.asarray([[[1e-9, 1.0], [1e-9, 0.0]]])
    arguments = memory, jnp.asarray([[[1.0, 0.0]]]), jnp.ones((1, 1))

    def compute(d_content):
        content, residuals = eq.content_weights(*arguments)
        products, d_norms, *others = eq.content_weights_vjp(
            residuals, *arguments, content, d_content
        )
        return in_full(memory, products, (residuals.inverse_norms, d_norms)), *others

    usual, huge = jnp.asarray([[[1.0, -1.0]]]), 1e299
    expected = [huge * leaf for leaf in compiled(compute)(usual)]
    assert_near(compiled(compute)(huge * usual), expected)
    assert all(np.isfinite(leaf).all() for leaf in expected)


@sizes
def test_gate_and_shift(sizes):
    b, r, w, n, _, reach = sizes
    k, draw = r + w, Draw(sizes)
    arguments = (
        draw.weighting(b, k, n),
        draw.weighting(b, k, n),
        draw.unit(b, k),
        draw.weighting(b, k, 2 * reach + 1),
    )

    def compute(d_shifted, *arguments):
        (shifted, rolled), vjp = vjp_of(eq.gate_and_shift, *arguments)
        result = eq.gate_and_shift_vjp(rolled, *arguments, d_shifted=d_shifted)
        return shifted, result, vjp((d_shifted, zeros_like(rolled)))

    shifted, result, expected = compiled(compute)(draw.normal(b, k, n), *arguments)
    content, previous, gate, shift = (np.asarray(array) for array in arguments)
    gated = gate[..., None] * content + (1 - gate[..., None]) * previous
    slow = sum(
        shift[..., j, None] * np.roll(gated, j - reach, axis=-1)
        for j in range(2 * reach + 1)
    )
    assert_near((shifted,), (slow,))
    assert_near(result, expected)


@sizes
@pytest.mark.parametrize("kind", ["usual", "with_negative", "nearly_empty"])
def test_sharpen(sizes, kind):
    b, r, w, n, *_ = sizes
    draw = Draw(sizes)
    usual, gamma = draw.weighting(b, r + w, n), 1 + draw.positive(b, r + w)
    shifted = {
        "usual": usual,
        "with_negative": usual - 0.5 / n,
        "nearly_empty": 1e-12 * usual,
    }[kind]

    def compute(shifted, gamma, d_weighting):
        (weighting, residuals), vjp = vjp_of(eq.sharpen, shifted, gamma)
        result = eq.sharpen_vjp(residuals, shifted, gamma, weighting, d_weighting)
        return weighting, result, vjp((d_weighting, zeros_like(residuals)))

    weighting, result, expected = compiled(compute)(
        shifted, gamma, draw.normal(b, r + w, n)
    )
    if kind == "usual":
        powers = np.asarray(usual) ** np.asarray(gamma)[..., None]
        assert_near((weighting,), (powers / powers.sum(axis=-1, keepdims=True),))
    assert_near(result, expected)


@sizes
def test_read(sizes):
    b, r, _, n, m, _ = sizes
    draw = Draw(sizes)
    memory, weighting = draw.normal(b, m, n), draw.weighting(b, r, n)

    def compute(memory, weighting, d_reads):
        reads, vjp = vjp_of(eq.read, memory, weighting)
        products, d_weighting = eq.read_vjp(memory, weighting, d_reads)
        return reads, (in_full(memory, products), d_weighting), vjp(d_reads)

    reads, result, expected = compiled(compute)(memory, weighting, draw.normal(b, r, m))
    assert_near((reads,), (np.einsum("bkn,bmn->bkm", weighting, memory),))
    assert_near(result, expected)


@sizes
def test_write(sizes):
    b, _, w, n, m, _ = sizes
    draw = Draw(sizes)
    memory, weighting = draw.normal(b, m, n), draw.weighting(b, w, n)
    erase, add = draw.unit(b, w, m), draw.normal(b, w, m)

    def compute(d_written, *arguments):
        written, vjp = vjp_of(eq.write, *arguments)
        return written, eq.write_vjp(*arguments, d_memory=d_written), vjp(d_written)[1:]

    written, result, expected = compiled(compute)(
        draw.normal(b, m, n), memory, weighting, erase, add
    )
    slow = np.array(memory)
    for h in range(w):
        slow *= 1 - np.einsum("bn,bm->bmn", weighting[:, h], erase[:, h])
    slow += np.einsum("bhn,bhm->bmn", weighting, add)
    assert_near((written,), (slow,))
    assert_near(result, expected)


def test_a_write_over_what_another_head_erases_has_a_finite_reverse():
    """The slot's cotangent times its content overflows, but counts for nothing."""
    memory, d_written = jnp.full((1, 1, 2), 1e200), jnp.full((1, 1, 2), 1e200)
    on_first = jnp.asarray([[[1.0, 0.0]] * 3])
    erase, add = jnp.ones((1, 3, 1)), jnp.zeros((1, 3, 1))
    memory = memory.at[..., 1].set(1.0)

    def compute(*arguments):
        vjp = vjp_of(eq.write, *arguments)[1]
        return eq.write_vjp(*arguments, d_memory=d_written), vjp(d_written)[1:]

    result, expected = compiled(compute)(memory, on_first, erase, add)
    assert_near(result, expected)
    assert all(np.isfinite(leaf).all() for leaf in result)


@sizes
def test_memory_cotangent_adds_the_parts_of_all_equations(sizes):
    b, r, w, n, m, _ = sizes
    k, draw = r + w, Draw(sizes)
    memory, key = draw.normal(b, m, n), draw.normal(b, k, m)
    strength, reading = draw.positive(b, k), draw.weighting(b, r, n)
    writing, erase = draw.weighting(b, w, n), draw.unit(b, w, m)
    add, d_written = draw.normal(b, w, m), draw.normal(b, m, n)
    d_content, d_reads = draw.normal(b, k, n), draw.normal(b, r, m)

    def compute(memory):
        def all_of_them(memory):
            content, residuals = eq.content_weights(memory, key, strength)
            reads = eq.read(memory, reading)
            return content, reads, eq.write(memory, writing, erase, add), residuals

        (content, _, _, residuals), vjp = vjp_of(all_of_them, memory)
        of_key, d_norms, *_ = eq.content_weights_vjp(
            residuals, memory, key, strength, content, d_content
        )
        of_read, _ = eq.read_vjp(memory, reading, d_reads)
        factors = eq.kept_by_erase(writing, erase)
        result = eq.memory_cotangent(
            d_written,
            memory,
            factors,
            (of_key, of_read),
            residuals.inverse_norms,
            d_norms,
        )
        expected = vjp((d_content, d_reads, d_written, zeros_like(residuals)))
        return (result,), expected

    assert_near(*compiled(compute)(memory))


@sizes
def test_lstm_cell(sizes):
    b, _, _, units, _, _ = sizes
    draw = Draw(sizes)
    z, c = draw.normal(b, 4 * units), draw.normal(b, units)

    def compute(z, c, d_carry):
        carry, vjp = vjp_of(
            lambda z, c: controller.lstm_cell(controller.lstm_gates(z), c), z, c
        )
        d_c, d_z = controller.lstm_cell_vjp(controller.lstm_gates(z), c, d_carry)
        return carry, (d_z, d_c), vjp(d_carry)

    carry, result, expected = compiled(compute)(
        z, c, (draw.normal(b, units), draw.normal(b, units))
    )

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    i, f, g, o = np.split(np.asarray(z), 4, axis=-1)
    slow_c = sigmoid(f) * np.asarray(c) + sigmoid(i) * np.tanh(g)
    assert_near(carry, (slow_c, sigmoid(o) * np.tanh(slow_c)))
    assert_near(result, expected)


def test_a_shut_gate_has_a_finite_reverse_where_the_cell_is_huge():
    """The cotangent times the cell overflows, but counts for nothing."""
    i, f, g, o = 0.5, 0.0, 0.5, 0.5
    gates, c = jnp.asarray([[i, f, g, o]]), jnp.asarray([[1e200]])
    d_c, d_z = compiled(controller.lstm_cell_vjp)(gates, c, (c, jnp.zeros_like(c)))
    np.testing.assert_array_equal(d_c, 0)
    np.testing.assert_allclose(
        d_z, 1e200 * np.array([[g * i * (1 - i), 0, i * (1 - g**2), 0]])
    )


def test_dense():
    draw = Draw((4, 3, 2))
    inputs = draw.normal(4, 3, 2), draw.normal(4, 3, 5)
    params = {"kernel": draw.normal(7, 6), "bias": draw.normal(6)}

    def compute(inputs, params, d_outputs):
        both = jnp.concatenate(inputs, axis=-1)
        _, vjp = vjp_of(lambda params: dense(params, both), params)
        return dense_gradient(inputs, d_outputs), *vjp(d_outputs)

    result, expected = compiled(compute)(inputs, params, draw.normal(4, 3, 6))
    for entry in params:
        assert_near((result[entry],), (expected[entry],))
