"""Each workaround for XLA's CPU backend against its reference, bit by bit if it may."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntm_jax.fast import xla
from ntm_jax.fast.rows import Rows

pytestmark = pytest.mark.usefixtures("quick_compilations")


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def both(function, *arguments):
    """The results in the form for a CPU, and in the plain one."""
    results = []
    for for_cpu in (True, False):

        def in_form(*arguments, for_cpu=for_cpu):
            with xla.forms(for_cpu):
                return function(*arguments)

        results.append(jax.jit(in_form)(*arguments))
    return results


def assert_same(results, reference, rtol=0.0):
    for result in results:
        jax.tree.map(
            lambda one, other: np.testing.assert_allclose(one, other, rtol=rtol),
            result,
            reference,
        )


def test_forms_end_with_their_block():
    assert not xla.for_cpu()
    with xla.forms(True):
        assert xla.for_cpu()
        with xla.forms(False):
            assert not xla.for_cpu()
        assert xla.for_cpu()
    assert not xla.for_cpu()


def test_by_platform_takes_the_form_of_the_platform():
    def form(for_cpu):
        return lambda x: x + (1 if for_cpu else 2)

    assert xla.by_platform(form, 0) == 1
    assert jax.jit(lambda x: xla.by_platform(form, x))(0) == 1
    assert jax.vmap(lambda x: xla.by_platform(form, x))(jnp.arange(2)).tolist() == [
        1,
        2,
    ]


def test_noinline_is_the_function():
    x, y = random(3, 4), random(3, 4, seed=1)
    function = lambda x, tree: {"a": x * jnp.sin(tree["b"])}  # noqa: E731
    assert_same(both(xla.noinline(function), x, {"b": y}), {"a": x * jnp.sin(y)}, 1e-6)
    with xla.forms(True):
        text = jax.jit(xla.noinline(function)).lower(x, {"b": y}).as_text()
    assert 'inlineable = "false"' in text


def test_noinline_vjp_is_vjp():
    function = lambda x, y: (x * jnp.sin(y), x)  # noqa: E731
    x, y, d = random(3), random(3, seed=1), (random(3, seed=2), random(3, seed=3))

    def run(vjp_of):
        results, vjp = vjp_of(function, x, y)
        return results, vjp(d)

    assert_same(both(lambda: run(xla.noinline_vjp)), run(jax.vjp), 1e-6)


@pytest.mark.parametrize("shape", [(1,), (7,), (2, 3, 128), (4, 0)])
def test_sum_of_slots(shape):
    x = jnp.exp(random(*shape))
    assert_same(both(xla.sum_of_slots, x), jnp.sum(x, axis=-1), 1e-6)


@pytest.mark.parametrize("width", [1, 20, xla.WIDEST_UNROLLED, xla.WIDEST_UNROLLED + 1])
@pytest.mark.parametrize("scale", [1.0, 2.0**-80])
def test_sum_of_squares(width, scale):
    memory = 2.0**70 * random(2, width, 5)
    if scale == 1.0:
        memory = random(2, width, 5)
    reference = jnp.sum((scale * memory) ** 2, axis=1)
    assert_same(both(lambda x: xla.sum_of_squares(x, scale), memory), reference, 1e-6)


@pytest.mark.parametrize("num_heads", [1, 3])
@pytest.mark.parametrize("num_slots", [7, xla.CACHED_NUMBERS])
def test_sum_of_heads(num_heads, num_slots):
    weights, memory = random(2, num_heads, num_slots), jnp.zeros((2, 1, num_slots))
    for result in both(xla.sum_of_heads, weights, memory):
        np.testing.assert_allclose(result, np.sum(weights, axis=1), 1e-5, 1e-6)


@pytest.mark.parametrize("num_heads", [1, 2, 5])
def test_weighted_slots(num_heads):
    weights, slots = random(3, num_heads, 7), random(3, 4, 7, seed=1)
    reference = np.einsum("bkn,bmn->bkm", weights, slots)
    for result in both(xla.weighted_slots, weights, slots):
        np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("num_windows", [1, 3])
def test_products_with(num_windows):
    windows = [random(2, 3, 7, seed=i) for i in range(num_windows)]
    weights = random(2, 3, 7, seed=num_windows)
    reference = np.einsum("bkn,bksn->bks", weights, np.stack(windows, axis=2))
    for result in both(xla.products_with, windows, weights):
        np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-6)


def test_twice_half():
    a, b = random(3, 4), random(3, 4, seed=1)
    linear = lambda x: {"double": 2 * x, "first": x[0]}  # noqa: E731
    assert_same(both(lambda a, b: xla.twice_half(linear, a, b), a, b), linear(a * b))


@pytest.mark.parametrize("columns", [1, 16, 17, 120])
def test_pad_columns_adds_zeros_only(columns):
    matrix = random(3, columns)
    padded, plain = both(xla.pad_columns, matrix)
    assert padded.shape[1] % xla.VECTOR == 0
    assert padded.shape[1] - columns < xla.VECTOR
    assert_same([plain, padded[:, :columns]], matrix)
    assert not np.any(padded[:, columns:])


@pytest.mark.parametrize("shape", [(3, 5), (5, xla.CACHED_NUMBERS)])
def test_alternating_holds_what_the_last_step_has_put(shape):
    first, second = random(*shape), random(*shape, seed=1)

    def run(first, second):
        one = xla.Alternating.of(first)
        two = one.put(6, second)
        return one.at(7), two.at(6), two.put(5, first).at(5)

    assert_same(both(run, first, second), (first, second, first))


@pytest.mark.parametrize("rows", [1, 32, 33, 100])
def test_product_with_a_matrix_of_padded_rows(rows):
    inputs, matrix = random(2, 3, rows), random(rows, 4, seed=1)
    reference = np.einsum("abi,io->abo", inputs, matrix)
    for padded in both(xla.pad_rows, matrix):
        np.testing.assert_allclose(
            xla.product(inputs, padded), reference, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("num_slots", [7, xla.CACHED_NUMBERS])
def test_sum_of_outer(num_slots):
    vectors, weights = random(3, 2, 4), random(3, 2, num_slots, seed=1)
    reference = np.einsum("bkm,bkn->bmn", vectors, weights)
    for result in both(xla.sum_of_outer, vectors, weights):
        np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("of_one_dtype", [True, False])
def test_rows_of_a_loop_are_the_trees_that_were_put(of_one_dtype):
    def tree(seed, *sizes):
        leaves = random(*sizes, 3, 4, 5, seed=seed), random(*sizes, 3, seed=seed)
        return {"a": leaves[0], "b": (leaves[1].astype(jnp.float32), None)} | (
            {} if of_one_dtype else {"count": jnp.zeros((*sizes, 3), jnp.int32)}
        )

    def run(first, new):
        rows = Rows.repeated(4, first).put(1, 2, new)
        zeros = Rows.zeros((2, 4), new)
        return (
            rows.tree(),
            rows.at(1, 2),
            rows.at(0, 3, lambda tree: tree["b"]),
            rows.some(1, 2, 2, lambda tree: tree["b"]),
            Rows.of(first).at(0, 1),
            zeros.tree(),
        )

    first, new = tree(0, 2), tree(1)
    expected = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4, axis=1), first)
    expected = jax.tree.map(lambda leaf, new: leaf.at[1, 2].set(new), expected, new)
    zeros = jax.tree.map(jnp.zeros_like, expected)
    before = jax.tree.map(lambda leaf: leaf[0], first)["b"]
    of_some = jax.tree.map(lambda leaf: leaf[1, 2:4], expected["b"])
    second = jax.tree.map(lambda leaf: leaf[1], first)
    assert_same(both(run, first, new), (expected, new, before, of_some, second, zeros))


@pytest.mark.parametrize("index", [0, 1, (1, 2), (0, 0)])
def test_rows(index):
    tree = {"a": random(2, 3, 4), "b": (random(2, 3, seed=1), None)}
    reference = jax.tree.map(lambda leaf: leaf[index], tree)
    assert_same(both(xla.row, index, tree), reference)
    assert_same(both(xla.row_noinline, index, tree), reference)
    new = jax.tree.map(jnp.ones_like, reference)
    expected = jax.tree.map(lambda leaf, new: leaf.at[index].set(new), tree, new)
    assert_same(both(xla.set_row, index, tree, new), expected)


def test_buffers_like():
    tree = {"a": random(2, 3)}
    buffers = xla.buffers_like((4, 5), tree)
    assert buffers["a"].shape == (4, 5, 2, 3)
    assert not np.any(buffers["a"])
