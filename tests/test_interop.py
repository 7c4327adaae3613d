"""Converted machines of two PyTorch codes against NumPy versions of both codes."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from state_dicts import (
    INPUTS,
    OUTPUTS,
    PAIR,
    H,
    M,
    N,
    clemkoa_dict,
    pytorch_ntm_dict,
)

import ntm_jax
from ntm_jax import interop

pytestmark = pytest.mark.usefixtures("quick_compilations")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.log1p(np.exp(x))


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def lstm(w, name, x, h, c):
    """One step of all layers, `h` and `c` `[layers, B, H]`."""
    h, c = h.copy(), c.copy()
    for k in range(len(h)):
        gates = x @ w[f"{name}.weight_ih_l{k}"].T + w[f"{name}.bias_ih_l{k}"]
        gates += h[k] @ w[f"{name}.weight_hh_l{k}"].T + w[f"{name}.bias_hh_l{k}"]
        i, f, g, o = np.split(gates, 4, axis=-1)
        c[k] = sigmoid(f) * c[k] + sigmoid(i) * np.tanh(g)
        h[k] = sigmoid(o) * np.tanh(c[k])
        x = h[k]
    return x, h, c


def address(memory, previous, key, strength, gate, shift, gamma):
    """The weighting from what a head emits, `[B, size]` each, as in both codes."""
    rows, key = memory + 1e-16, key[:, None] + 1e-16
    lengths = [np.maximum(np.linalg.norm(v, axis=-1), 1e-8) for v in (rows, key)]
    cosine = (rows * key).sum(axis=-1) / (lengths[0] * lengths[1])
    content = softmax(softplus(strength) * cosine)
    gate, shift = sigmoid(gate), softmax(shift)
    mixed = gate * content + (1 - gate) * previous
    up, stay, down = (shift[:, i, None] for i in range(3))
    moved = up * np.roll(mixed, 1, axis=1) + stay * mixed
    moved += down * np.roll(mixed, -1, axis=1)
    sharp = moved ** (1 + softplus(gamma))
    return sharp / (sharp.sum(axis=1, keepdims=True) + 1e-16)


def write(memory, weights, erase, add):
    memory = memory * (1 - weights[:, :, None] * sigmoid(erase)[:, None])
    return memory + weights[:, :, None] * add[:, None]


def pytorch_ntm(w, xs, kinds):
    """The outputs and the final memory."""
    batch = xs.shape[1]
    memory = np.repeat(w["ntm.memory.mem_bias"][None], batch, axis=0)
    h, c = (
        np.repeat(w[f"ntm.controller.lstm_{which}_bias"], batch, axis=1)
        for which in "hc"
    )
    weightings = [np.zeros((batch, len(memory[0])))] * len(kinds)
    reads = [
        np.repeat(w[f"ntm.read{i}_bias"], batch, axis=0)
        for i in range(kinds.count("read"))
    ]
    ys = []
    for x in xs:
        x = np.concatenate([x, *reads], axis=1)
        hidden, h, c = lstm(w, "ntm.controller.lstm", x, h, c)
        old, weightings, reads = weightings, [], []
        for i, kind in enumerate(kinds):
            emitted = linear(w, f"ntm.heads.{i}.fc_{kind}", hidden)
            m = memory.shape[-1]
            ends = np.cumsum([m, 1, 1, 3, 1, m])
            *addressing, erase, add = np.split(emitted, ends, axis=1)
            if kind == "read":
                weightings.append(address(memory, old[i], *addressing))
                reads.append((weightings[i][:, :, None] * memory).sum(axis=1))
            else:
                weightings.append(address(memory, old[i], *addressing))
                memory = write(memory, weightings[i], erase, add)
        ys.append(linear(w, "ntm.fc", np.concatenate([hidden, *reads], axis=1)))
    return np.array(ys), memory


def clemkoa(w, xs, revision):
    """The outputs and the final memory."""
    batch = xs.shape[1]
    memory = np.repeat(w["memory.initial_state"][None], batch, axis=0)
    read = np.repeat(w["memory.initial_read"], batch, axis=0)
    weightings = {
        head: np.repeat(softmax(w[f"{head}._initial_state"]), batch, axis=0)
        for head in ("read_head", "write_head")
    }
    h, c = (
        np.repeat(w[f"controller._controller.lstm_{which}_state"], batch, axis=1)
        for which in "hc"
    )

    def weighting(head, hidden, previous):
        parts = ("k", "beta", "g", "s", "gamma")
        emitted = [linear(w, f"{head}.{part}_layer", hidden) for part in parts]
        return address(memory, previous, *emitted)

    ys = []
    for x in xs:
        x = np.concatenate([x, read], axis=1)
        hidden, h, c = lstm(w, "controller._controller.layer", x, h, c)
        before = weightings["write_head" if revision == "723d4eb" else "read_head"]
        weightings = {
            "read_head": weighting("read_head", hidden, weightings["read_head"]),
            "write_head": weighting("write_head", hidden, before),
        }
        read = (weightings["read_head"][:, :, None] * memory).sum(axis=1)
        erase, add = (linear(w, f"write_head.{part}_layer", hidden) for part in "ea")
        memory = write(memory, weightings["write_head"], erase, add)
        ys.append(linear(w, "fc", np.concatenate([hidden, read], axis=1)))
    return np.array(ys), memory


XS = np.random.default_rng(9).normal(size=(6, 2, INPUTS))
# A different weight for each output, so that errors cannot cancel.
SEEN = np.cos(np.arange(6 * 2 * OUTPUTS)).reshape(6, 2, OUTPUTS)


def assert_same_values(w, convert, theirs):
    """Both give the same outputs and the same final memory."""
    config, params = convert(w)
    state, ys = jax.jit(functools.partial(ntm_jax.unroll, config=config))(
        params, jnp.asarray(XS)
    )
    expected_ys, expected_memory = theirs(w, XS)
    np.testing.assert_allclose(ys, expected_ys, rtol=0, atol=1e-9)
    np.testing.assert_allclose(state.memory, expected_memory, rtol=0, atol=1e-9)
    with jax.enable_x64(False):
        made = jax.eval_shape(
            lambda key: ntm_jax.init(key, config, INPUTS), jax.random.key(0)
        )
    chex.assert_trees_all_equal_shapes(params, made)
    return config


def assert_same_derivative(w, direction, convert, theirs):
    """Both have the same derivative in that direction."""
    config, params = convert(w)

    def loss(params):
        return jnp.sum(ntm_jax.unroll(params, jnp.asarray(XS), config=config)[1] * SEEN)

    def their_loss(step):
        moved = {name: w[name] + step * direction[name] for name in w}
        return np.sum(theirs(moved, XS)[0] * SEEN)

    # The conversion is linear in the entries.
    products = jax.tree.map(
        jnp.vdot, jax.jit(jax.grad(loss))(params), convert(direction)[1]
    )
    by_differences = (their_loss(1e-5) - their_loss(-1e-5)) / 2e-5
    np.testing.assert_allclose(
        sum(jax.tree.leaves(products)), by_differences, rtol=1e-6
    )


LISTS = {
    "a_pair": (PAIR, 1, "read_first"),
    "two_pairs_of_two_layers": (PAIR * 2, 2, "interleaved"),
    "reads_before_a_write": (("read", "read", "write"), 1, "read_first"),
    "a_write_before_reads": (("write", "read", "read"), 1, "write_first"),
    "read_write_read": (("read", "write", "read"), 1, "interleaved"),
    "read_write_write": (("read", "write", "write"), 1, "interleaved"),
}


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", LISTS)
def test_a_machine_of_pytorch_ntm(name):
    kinds, layers, order = LISTS[name]
    w = pytorch_ntm_dict(kinds, layers)
    convert = functools.partial(interop.from_pytorch_ntm, dtype=jnp.float64)
    theirs = functools.partial(pytorch_ntm, kinds=kinds)
    config = assert_same_values(w, convert, theirs)
    assert config.order == order
    if order == "interleaved" and layers > 1:
        direction = pytorch_ntm_dict(kinds, layers, seed=1)
        assert_same_derivative(w, direction, convert, theirs)


@pytest.mark.usefixtures("x64")
@pytest.mark.slow
@pytest.mark.parametrize("revision", ["f6da298", "723d4eb"])
def test_a_machine_of_clemkoa(revision):
    convert = functools.partial(
        interop.from_clemkoa, revision=revision, dtype=jnp.float64
    )
    theirs = functools.partial(clemkoa, revision=revision)
    config = assert_same_values(clemkoa_dict(), convert, theirs)
    assert config.previous_weighting == {"f6da298": "read", "723d4eb": "own"}[revision]
    assert_same_derivative(clemkoa_dict(), clemkoa_dict(seed=1), convert, theirs)


def test_the_initial_memory_of_clemkoa():
    w = clemkoa_dict()
    w |= {name: np.full((N, M), 1e-6) for name in w if name.endswith("y.initial_state")}
    config, params = interop.from_clemkoa(w)
    _, ys = ntm_jax.unroll(params, jnp.asarray(XS, jnp.float32), config=config)
    expected, _ = clemkoa(w, XS, "f6da298")
    np.testing.assert_allclose(ys, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("convert", "make"),
    [
        (interop.from_pytorch_ntm, pytorch_ntm_dict),
        (interop.from_clemkoa, clemkoa_dict),
    ],
)
class TestEntries:
    def test_are_float32_by_default(self, convert, make):
        for options, dtype in (({}, "float32"), ({"dtype": "bfloat16"}, "bfloat16")):
            _, params = convert(make(), **options)
            assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {
                jnp.dtype(dtype)
            }

    def test_may_be_of_any_library(self, convert, make):
        class Tensor:
            """What NumPy needs of a PyTorch tensor."""

            def __init__(self, array):
                self.shape = array.shape
                self.array = array

            def __array__(self, dtype=None, copy=None):
                return self.array

        expected = convert(make())
        for kind in (Tensor, lambda x: jnp.asarray(x, jnp.float32)):
            config, params = convert({k: kind(v) for k, v in make().items()})
            assert config == expected[0]
            jax.tree.map(np.testing.assert_array_equal, params, expected[1])

    def test_that_are_missing_are_named(self, convert, make):
        for name in make():
            if "memory." not in name:
                w = make()
                del w[name]
                message = re.escape(f"state_dict: got no {name!r}")
                with pytest.raises(ValueError, match=message):
                    convert(w)

    def test_that_have_another_shape_are_named(self, convert, make):
        for name, value in make().items():
            if "memory." not in name:
                for changed in (value[:-1], value[None], value[..., None, :]):
                    # The message may name it among those that determine the sizes.
                    message = rf"{re.escape(name)}.*{re.escape(str([*changed.shape]))}"
                    with pytest.raises(ValueError, match=message):
                        convert(make() | {name: changed})

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            (lambda x: x.astype(np.int32), TypeError, "got dtype int32, want float32"),
            (lambda x: x.astype(np.float16), TypeError, "got dtype float16"),
            (lambda x: x.astype(np.complex64), TypeError, "got dtype complex64"),
            (lambda x: "text", TypeError, "got dtype <U4, want float32"),
            (lambda x: {"inner": x}, TypeError, "got dtype object, want float32"),
            (lambda x: [[1.0], []], TypeError, "got list, want an array of floats"),
            (lambda x: x * np.nan, ValueError, "got numbers that are not finite"),
            (lambda x: x + np.inf, ValueError, "got numbers that are not finite"),
            (lambda x: x + 1e300, ValueError, "got numbers that are not finite"),
        ],
    )
    def test_that_are_not_finite_floats_are_named(
        self, convert, make, change, error, message
    ):
        for name, value in make().items():
            if name.endswith("fc.weight"):
                with pytest.raises(error, match=message) as caught:
                    convert(make() | {name: change(value)})
                assert str(caught.value).startswith(f"{name}: ")

    def test_that_numpy_cannot_convert_are_named(self, convert, make):
        class OnDevice:
            shape = (OUTPUTS, H + M)

            def __array__(self, dtype=None, copy=None):
                raise TypeError("copy it to the host first")

        name = next(name for name in make() if name.endswith("fc.weight"))
        with pytest.raises(TypeError, match=r"got OnDevice, want an.*host first") as e:
            convert(make() | {name: OnDevice()})
        assert str(e.value).startswith(name)

    def test_that_are_unknown_are_named(self, convert, make):
        with pytest.raises(ValueError, match=r"got an unknown entry 'fc2\.weight'"):
            convert(make() | {"fc2.weight": np.zeros(2)})

    def test_must_be_in_a_mapping(self, convert, make):
        with pytest.raises(TypeError, match="state_dict: got list, want a mapping"):
            convert(list(make().items()))
        with pytest.raises(TypeError, match="dtype: got dtype int32"):
            convert(make(), dtype="int32")
        with pytest.raises(ValueError, match="state_dict: got no "):
            convert({})


@pytest.mark.parametrize(
    ("convert", "make", "names"),
    [
        (
            interop.from_pytorch_ntm,
            pytorch_ntm_dict,
            ["ntm.memory.mem_bias", "memory.mem_bias", "ntm.heads.1.memory.mem_bias"],
        ),
        (
            interop.from_clemkoa,
            clemkoa_dict,
            ["memory.initial_state", "write_head.memory.initial_state"],
        ),
        (
            interop.from_clemkoa,
            clemkoa_dict,
            ["memory.initial_read", "read_head.memory.initial_read"],
        ),
    ],
)
def test_one_name_of_what_heads_share_is_enough(convert, make, names):
    w, ending = make(), names[0].removeprefix("ntm.")
    without = {name: w[name] for name in w if not name.endswith(ending)}
    for kept in names:
        _, params = convert(without | {kept: w[kept]})
        jax.tree.map(np.testing.assert_array_equal, params, convert(w)[1])
        for other in (w[kept] + 1, w[kept][..., 1:]):
            with pytest.raises(ValueError, match="got other numbers than in"):
                convert(w | {kept: other})
    with pytest.raises(ValueError, match=f"state_dict: got no '{names[0]}'"):
        convert(without)


@pytest.mark.parametrize(
    "kinds", [("read",), ("write", "write"), ("read", "read", "write", "write")]
)
def test_an_unsupported_order_of_heads(kinds):
    with pytest.raises(ValueError, match=f"got the heads {', '.join(kinds)}, want"):
        interop.from_pytorch_ntm(pytorch_ntm_dict(kinds))


def test_an_unknown_revision():
    with pytest.raises(ValueError, match="revision: got 'main', want one of f6da298"):
        interop.from_clemkoa(clemkoa_dict(), revision="main")  # type: ignore[arg-type]
