"""Whatever is wrong with an argument, the error says which, and what it got."""

import dataclasses
import re
from typing import Any, Literal, get_origin

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from machines import INPUT_SIZE, make_config, random_params, random_state

import ntm_jax

CONFIG = make_config(num_read_heads=2, num_write_heads=3)
PARAMS = random_params(CONFIG)
STATE = random_state(PARAMS, CONFIG)
BATCH = random_state(PARAMS, CONFIG, batch_shape=(4,))


def zeros(*shape, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype)


def without(tree, *path):
    """A copy of a nested dict that lacks one entry."""
    first, *rest = path
    inner = {first: without(tree[first], *rest)} if rest else {}
    return {name: value for name, value in tree.items() if name != first} | inner


def replaced(tree, path, value):
    """A copy of a nested dict with another value at a path."""
    first, *rest = path
    return tree | {first: replaced(tree[first], rest, value) if rest else value}


def state_with(**fields):
    return dataclasses.replace(STATE, **fields)


GOOD = {
    "content_weights": {"memory": zeros(5, 3), "key": zeros(3), "strength": zeros()},
    "interpolate": {"content": zeros(5), "previous": zeros(5), "gate": zeros()},
    "circular_shift": {"weights": zeros(5), "shift": zeros(3)},
    "sharpen": {"weights": zeros(5), "gamma": zeros()},
    "address": {
        "memory": zeros(5, 3),
        "previous": zeros(5),
        "key": zeros(3),
        "strength": zeros(),
        "gate": zeros(),
        "shift": zeros(3),
        "gamma": zeros(),
    },
    "read": {"memory": zeros(5, 3), "weights": zeros(5)},
    "write": {
        "memory": zeros(5, 3),
        "weights": zeros(5),
        "erase": zeros(3),
        "add": zeros(3),
    },
    "initial_memory": {"num_slots": 5, "slot_size": 3},
    "lstm": {},
    "gru": {},
    "feed_forward": {},
    "NTMConfig": {"output_size": 2},
    "init": {"key": jax.random.key(0), "config": CONFIG, "input_size": INPUT_SIZE},
    "initial_state": {"params": PARAMS, "config": CONFIG},
    "step": {
        "params": PARAMS,
        "state": STATE,
        "x": zeros(INPUT_SIZE),
        "config": CONFIG,
    },
    "unroll": {"params": PARAMS, "xs": zeros(6, INPUT_SIZE), "config": CONFIG},
    "trace": {"params": PARAMS, "xs": zeros(6, INPUT_SIZE), "config": CONFIG},
}
PRIMITIVES = list(GOOD)[:7]
HEADS_AT_ONE_MEMORY = {
    "content_weights": {"key": zeros(2, 3), "strength": zeros(2)},
    "read": {"weights": zeros(2, 5)},
    "write": {"weights": zeros(2, 5), "erase": zeros(2, 3), "add": zeros(2, 3)},
}

# Function, argument, wrong value, what the error says it got.
SHAPES = [
    ("content_weights", "memory", zeros(3), "[3]"),
    ("content_weights", "key", zeros(), "[]"),
    ("content_weights", "key", zeros(4), "[4]"),
    ("content_weights", "key", zeros(2, 1, 3), "[2, 1, 3]"),
    ("content_weights", "strength", zeros(1), "[1]"),
    ("interpolate", "content", zeros(), "[]"),
    ("interpolate", "previous", zeros(4), "[4]"),
    ("interpolate", "previous", zeros(2, 5), "[2, 5]"),
    ("interpolate", "gate", zeros(5), "[5]"),
    ("circular_shift", "weights", zeros(), "[]"),
    ("circular_shift", "shift", zeros(), "[]"),
    ("circular_shift", "shift", zeros(2, 3), "[2, 3]"),
    ("circular_shift", "shift", zeros(2), "2 shifts on 5 slots"),
    ("circular_shift", "shift", zeros(0), "0 shifts on 5 slots"),
    ("circular_shift", "shift", zeros(13), "13 shifts on 5 slots"),
    ("sharpen", "weights", zeros(), "[]"),
    ("sharpen", "gamma", zeros(5), "[5]"),
    ("address", "memory", zeros(5), "[5]"),
    ("address", "previous", zeros(4), "[4]"),
    ("address", "key", zeros(4), "[4]"),
    ("address", "strength", zeros(1), "[1]"),
    ("address", "gate", zeros(1), "[1]"),
    ("address", "shift", zeros(4), "4 shifts on 5 slots"),
    ("address", "gamma", zeros(1), "[1]"),
    ("read", "memory", zeros(3), "[3]"),
    ("read", "weights", zeros(4), "[4]"),
    ("read", "weights", zeros(), "[]"),
    ("write", "memory", zeros(3), "[3]"),
    ("write", "weights", zeros(4), "[4]"),
    ("write", "weights", zeros(), "[]"),
    ("write", "erase", zeros(2), "[2]"),
    ("write", "erase", zeros(2, 3), "[2, 3]"),
    ("write", "add", zeros(2), "[2]"),
    ("write", "add", zeros(1, 3), "[1, 3]"),
    ("step", "x", zeros(INPUT_SIZE + 1), "3"),
    ("step", "x", zeros(), "[]"),
    ("step", "state", BATCH, "[4, 5, 3]"),
    ("step", "state", state_with(memory=zeros(3)), "[3]"),
    ("step", "state", state_with(memory=zeros(5, 4)), "[5, 4]"),
    ("step", "state", state_with(memory=zeros(6, 3)), "[2, 5]"),
    ("step", "state", state_with(read_weights=zeros(1, 5)), "[1, 5]"),
    ("step", "state", state_with(write_weights=zeros(3, 4)), "[3, 4]"),
    ("step", "state", state_with(reads=zeros(3, 3)), "[3, 3]"),
    ("step", "state", state_with(controller=(zeros(9), zeros(9))), "[9]"),
    ("unroll", "xs", zeros(INPUT_SIZE), "[2]"),
    ("unroll", "xs", zeros(6, INPUT_SIZE + 1), "3"),
    ("unroll", "state", BATCH, "[4, 5, 3]"),
    ("unroll", "mask", zeros(7, dtype=bool), "[7]"),
    ("unroll", "mask", zeros(6, 1, dtype=bool), "[6, 1]"),
    ("unroll", "reset", zeros(7, dtype=bool), "[7]"),
    ("unroll", "reset", zeros(6, 1, dtype=bool), "[6, 1]"),
    ("content_weights", "memory", zeros(0, 3), "[0, 3]"),
    ("read", "memory", zeros(5, 0), "[5, 0]"),
    ("write", "memory", zeros(0, 3), "[0, 3]"),
    ("address", "memory", zeros(0, 3), "[0, 3]"),
    ("interpolate", "content", zeros(0), "[0]"),
    ("circular_shift", "weights", zeros(0), "[0]"),
    ("sharpen", "weights", zeros(0), "[0]"),
    ("step", "state", state_with(memory=zeros(0, 3)), "[0, 3]"),
    ("step", "x", zeros(0), "0"),
]
TYPES = [
    ("step", "state", None, "NoneType"),
    ("step", "state", (STATE.memory,), "tuple"),
    ("step", "state", state_with(memory=None), "NoneType"),
    ("step", "state", state_with(read_weights=[1.0]), "list"),
    ("step", "state", state_with(write_weights=None), "NoneType"),
    ("step", "state", state_with(reads=None), "NoneType"),
    ("step", "state", state_with(controller=None), "None"),
    ("step", "state", state_with(memory=zeros(5, 3, dtype=jnp.bfloat16)), "bfloat16"),
    ("step", "state", state_with(read_weights=zeros(2, 5, dtype=np.int32)), "int32"),
    ("step", "state", state_with(write_weights=zeros(3, 5, dtype=np.int32)), "int32"),
    ("step", "state", state_with(reads=zeros(2, 3, dtype=np.int32)), "int32"),
    (
        "step",
        "state",
        state_with(controller=(zeros(4, dtype=jnp.bfloat16),) * 2),
        "bfloat16",
    ),
    ("step", "x", None, "NoneType"),
    ("step", "x", [0.0, 0.0], "list"),
    ("step", "x", zeros(INPUT_SIZE, dtype=np.int32), "int32"),
    ("step", "x", zeros(INPUT_SIZE, dtype=jnp.bfloat16), "bfloat16"),
    ("unroll", "xs", None, "NoneType"),
    ("unroll", "xs", [[0.0, 0.0]], "list"),
    ("unroll", "xs", zeros(6, INPUT_SIZE, dtype=np.int32), "int32"),
    ("unroll", "xs", zeros(6, INPUT_SIZE, dtype=jnp.bfloat16), "bfloat16"),
    ("unroll", "state", (STATE.memory,), "tuple"),
    ("unroll", "mask", [True] * 6, "list"),
    ("unroll", "mask", zeros(6), "float32"),
    ("unroll", "mask", True, "bool"),
    ("unroll", "reset", [True] * 6, "list"),
    ("unroll", "reset", zeros(6), "float32"),
    ("unroll", "reset", zeros(6, dtype=np.int32), "int32"),
    ("unroll", "save_every", 0, "0"),
    ("unroll", "save_every", 2.5, "2.5"),
    ("unroll", "save_every", zeros(), "array"),
    ("step", "x", 1.0, "float"),
    ("step", "x", np.ndarray, "type"),
    ("step", "x", zeros(INPUT_SIZE, dtype=np.float16), "float16"),
    ("step", "state", ntm_jax.NTMState, "type"),
    ("step", "state", state_with(controller=("a", "b")), "str"),
    ("step", "state", state_with(controller=list(STATE.controller)), "[*, *]"),
    ("initial_state", "batch_shape", [3], "[3]"),
    ("init", "dtype", jnp.float16, "float16"),
    ("init", "key", None, "NoneType"),
    ("init", "key", 0, "int"),
    ("init", "key", zeros(2), "float32"),
    ("init", "key", jax.random.split(jax.random.key(0), 2), "[2]"),
    ("init", "key", np.float32, "type"),
    ("init", "key", zeros(0, dtype=np.uint32), "uint32[0]"),
    ("init", "dtype", jnp.int32, "int32"),
    ("init", "dtype", np.float32(1), "1.0"),
    ("init", "dtype", zeros(2), "[0. 0.]"),
    ("init", "dtype", jax.random.key(0), "key"),
    ("init", "dtype", ["float32"], "float32"),
    ("init", "dtype", "no such type", "no such type"),
    ("init", "dtype", None, "None"),
    ("initial_memory", "dtype", jnp.int32, "int32"),
    ("initial_memory", "dtype", "no such type", "no such type"),
    ("initial_memory", "kind", "zeros", "zeros"),
    ("initial_memory", "dtype", zeros(), "0.0"),
    ("initial_memory", "kind", None, "None"),
    ("initial_memory", "kind", zeros(2), "array"),
    ("initial_state", "batch_shape", 3, "3"),
    ("initial_state", "batch_shape", (-1,), "-1"),
    ("initial_state", "batch_shape", (2.5,), "2.5"),
    ("feed_forward", "activation", "tanh", "tanh"),
]
# `trace` refuses what `unroll` does, but for what it does not take.
TRACE = [
    ("trace", argument, value, got)
    for function, argument, value, got in SHAPES + TYPES
    if function == "unroll" and argument not in ("mask", "save_every")
]
COUNTS = [
    ("initial_memory", "num_slots"),
    ("initial_memory", "slot_size"),
    ("initial_state", "num_slots"),
    ("init", "input_size"),
    ("lstm", "units"),
    ("lstm", "num_layers"),
    ("gru", "units"),
    ("gru", "num_layers"),
    ("feed_forward", "units"),
    ("feed_forward", "num_layers"),
    ("NTMConfig", "output_size"),
    ("NTMConfig", "num_slots"),
    ("NTMConfig", "slot_size"),
    ("NTMConfig", "num_read_heads"),
    ("NTMConfig", "num_write_heads"),
]
CHOICES = [
    field.name
    for field in dataclasses.fields(ntm_jax.NTMConfig)
    if get_origin(field.type) is Literal
]
FIELDS = [
    *(("NTMConfig", name, "no such", "no such") for name in CHOICES),
    *(("NTMConfig", name, None, "None") for name in CHOICES),
    *(("NTMConfig", name, zeros(2), "array") for name in CHOICES),
    ("NTMConfig", "shift_range", -1, "-1"),
    ("NTMConfig", "shift_range", 1.0, "1.0"),
    ("NTMConfig", "shift_range", None, "None"),
    ("NTMConfig", "shift_range", 64, "64"),
    *(
        ("NTMConfig", "head_scale", value, str(value))
        for value in (0, -1.0, float("inf"), float("nan"), "1", True, None)
    ),
    ("NTMConfig", "initial_strength", -1.0, "-1.0"),
    ("NTMConfig", "initial_strength", float("inf"), "inf"),
    ("NTMConfig", "head_clip", 0, "0"),
    ("NTMConfig", "head_clip", -20.0, "-20.0"),
    ("NTMConfig", "head_clip", float("inf"), "inf"),
    ("NTMConfig", "head_clip", float("nan"), "nan"),
    ("NTMConfig", "head_clip", "20", "20"),
    ("NTMConfig", "head_clip", True, "True"),
    ("NTMConfig", "controller", None, "None"),
    ("NTMConfig", "controller", "lstm", "lstm"),
    ("NTMConfig", "controller", ntm_jax.lstm, "function"),
    ("NTMConfig", "controller", nn.LSTMCell, "LSTMCell"),
    ("NTMConfig", "controller", nn.Sequential([nn.Dense(4)]), "Sequential"),
]
WRONG_PARAMS = [
    (None, "NoneType"),
    ((PARAMS,), "tuple"),
    ({}, "[]"),
    (without(PARAMS, "controller"), "['output', 'read_heads', 'write_heads']"),
    (without(PARAMS, "read_heads"), "['controller', 'output', 'write_heads']"),
    (without(PARAMS, "write_heads"), "['controller', 'output', 'read_heads']"),
    (without(PARAMS, "output"), "['controller', 'read_heads', 'write_heads']"),
    (without(PARAMS, "output", "bias"), "['output']['bias']"),
    (without(PARAMS, "read_heads", "kernel"), "['read_heads']['kernel']"),
    (replaced(PARAMS, ["read_heads"], None), "read_heads"),
    (replaced(PARAMS, ["write_heads", "kernel"], None), "NoneType"),
    (replaced(PARAMS, ["read_heads", "kernel"], zeros(4, 1, 9)), "[4, 1, 9]"),
    (replaced(PARAMS, ["write_heads", "kernel"], zeros(4, 3, 9)), "[4, 3, 9]"),
    (replaced(PARAMS, ["output", "kernel"], zeros(10, 7)), "[10, 7]"),
]
WRONG_WHEN_STEPPING = [
    (replaced(PARAMS, ["read_heads", "bias"], zeros(1, 9)), "[1, 9]"),
    (replaced(PARAMS, ["read_heads", "kernel"], zeros(7, 2, 9)), "[7, 2, 9]"),
    (replaced(PARAMS, ["output", "kernel"], zeros(11, 2)), "[11, 2]"),
    (replaced(PARAMS, ["output", "bias"], zeros(3)), "[3]"),
    (without(PARAMS, "controller", "hi"), "hi"),
    (replaced(PARAMS, ["controller", "hi", "bias"], zeros(0)), "shape"),
    (replaced(PARAMS, ["controller", "hi", "bias"], zeros(1, 4)), "shape"),
]


def in_dtype(dtype, *path):
    """The parameters with the part at a path in another dtype."""
    part = PARAMS
    for name in path:
        part = part[name]
    part = jax.tree.map(lambda leaf: np.asarray(leaf).astype(dtype), part)
    return replaced(PARAMS, path, part) if path else part


WRONG_DTYPES = [
    (in_dtype(np.float16), "float16"),
    (in_dtype(np.int32), "int32"),
    (in_dtype(jnp.bfloat16, "controller"), "bfloat16"),
    (in_dtype(bool, "controller"), "bool"),
    (in_dtype(np.complex64, "controller"), "complex64"),
    (in_dtype(object, "controller"), "object"),
    (in_dtype(str, "controller"), "<U"),
    (in_dtype(jnp.bfloat16, "read_heads"), "bfloat16"),
    (in_dtype(jnp.bfloat16, "write_heads", "bias"), "bfloat16"),
    (in_dtype(jnp.bfloat16, "output", "kernel"), "bfloat16"),
    (jax.tree.map(lambda leaf: leaf.tolist(), PARAMS), "list"),
    (
        replaced(
            PARAMS,
            ["controller"],
            jax.tree.map(lambda leaf: leaf.tolist(), PARAMS["controller"]),
        ),
        "float",
    ),
]
LEARNED_WRONG = [
    ("initial_memory", {}, "no ['initial']['memory']"),
    ("initial_memory", 3, "no ['initial']['memory']"),
    ("initial_memory", {"memory": zeros(4, 3)}, "[4, 3]"),
    ("initial_memory", {"memory": zeros(2, 5, 3)}, "[2, 5, 3]"),
    ("initial_memory", {"memory": [1.0]}, "list"),
    ("initial_memory", {"memory": zeros(5, 3, dtype=np.int32)}, "int32"),
    (
        "initial_weighting",
        {"read_focus": zeros(7, 5), "write_focus": zeros(3, 5)},
        "[7, 5]",
    ),
    (
        "initial_weighting",
        {"read_focus": zeros(2, 5), "write_focus": zeros(3, 6)},
        "[3, 6]",
    ),
    ("initial_read", {"reads": zeros(7, 5)}, "[7, 5]"),
    ("initial_carry", {"carry": zeros(4)}, "1 arrays"),
    ("initial_carry", {"carry": (zeros(9), zeros(9))}, "[9]"),
    ("initial_carry", {"carry": ("c", "h")}, "str"),
    ("initial_carry", {"carry": (zeros(4, dtype=np.int32),) * 2}, "int32"),
]


def assert_refused(function, changes, argument, got):
    """A `TypeError` or `ValueError` of the library that names argument and value."""
    arguments = GOOD[function] | changes
    with pytest.raises((TypeError, ValueError)) as caught:
        getattr(ntm_jax, function)(**arguments)
    message = str(caught.value)
    assert re.match(rf"{argument}\b[^:]*: got .*{re.escape(got)}", message), message


def identify(value):
    return value if isinstance(value, str) and len(value) < 30 else ""


@pytest.mark.parametrize(
    ("function", "argument", "value", "got"),
    SHAPES + TYPES + TRACE + FIELDS,
    ids=identify,
)
def test_an_argument_of_another_kind(function, argument, value, got):
    assert_refused(function, {argument: value}, argument, got)


@pytest.mark.parametrize("value", [0, -1, 2.5, "3", True])
@pytest.mark.parametrize(("function", "argument"), COUNTS)
def test_a_count_that_is_not_whole_and_positive(function, argument, value):
    assert_refused(function, {argument: value}, argument, str(value))


def test_double_precision_is_not_mixed_with_single(x64):
    for function, argument, shape in (("step", "x", ()), ("unroll", "xs", (6,))):
        wide = zeros(*shape, INPUT_SIZE, dtype=np.float64)
        assert_refused(function, {argument: wide}, argument, "float64")


def test_fewer_slots_than_shifts():
    with pytest.raises(ValueError, match="num_slots: got 1 and 2, want"):
        ntm_jax.initial_state(PARAMS, CONFIG, num_slots=2)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (None, "NoneType"),
        ([0.0], "list"),
        (1.0, "float"),
        (np.zeros(3, np.int32), "int32"),
        (np.zeros(3, bool), "bool"),
        (np.zeros(3, np.float16), "float16"),
        (np.zeros(3, np.complex64), "complex64"),
    ],
)
@pytest.mark.parametrize(
    ("function", "argument"), [(name, a) for name in PRIMITIVES for a in GOOD[name]]
)
def test_an_array_that_is_not_of_floats(function, argument, value, got):
    assert_refused(function, {argument: value}, argument, got)


@pytest.mark.parametrize(
    ("function", "argument"),
    [(name, a) for name in PRIMITIVES for a in list(GOOD[name])[1:]],
)
def test_an_array_of_another_dtype_than_the_first(function, argument):
    other = GOOD[function][argument].astype(jnp.bfloat16)
    assert_refused(function, {argument: other}, argument, "bfloat16")


@pytest.mark.parametrize(
    ("function", "argument"),
    [(name, a) for name, many in HEADS_AT_ONE_MEMORY.items() for a in list(many)[1:]],
)
def test_another_number_of_heads_than_the_first(function, argument):
    many = HEADS_AT_ONE_MEMORY[function]
    rows = np.concatenate([many[argument], many[argument][:1]])
    changes = many | {argument: rows}
    assert_refused(function, changes, argument, str(list(rows.shape)))


@pytest.mark.parametrize(("params", "got"), WRONG_PARAMS)
@pytest.mark.parametrize("function", ["initial_state", "step", "unroll", "trace"])
def test_parameters_of_another_machine(function, params, got):
    assert_refused(function, {"params": params}, "params", got)


@pytest.mark.parametrize(("params", "got"), WRONG_WHEN_STEPPING)
@pytest.mark.parametrize("function", ["step", "unroll", "trace"])
def test_parameters_that_do_not_fit_each_other(function, params, got):
    assert_refused(function, {"params": params}, "params", got)


@pytest.mark.parametrize(("params", "got"), WRONG_DTYPES)
@pytest.mark.parametrize("function", ["initial_state", "step", "unroll", "trace"])
def test_parameters_of_other_dtypes(function, params, got):
    assert_refused(function, {"params": params}, "params", got)


@pytest.mark.parametrize(("field", "initial", "got"), LEARNED_WRONG)
def test_what_is_learned_has_its_shape(field, initial, got):
    changes = {
        "params": PARAMS | {"initial": initial},
        "config": dataclasses.replace(CONFIG, **{field: "learned"}),
    }
    assert_refused("initial_state", changes, "params", got)
    assert_refused("unroll", changes, "params", got)


class Counting(nn.RNNCellBase):
    """Carries the number of its step."""

    @nn.compact
    def __call__(self, carry, inputs):
        return carry + 1, nn.Dense(4)(inputs)

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return jnp.zeros(input_shape[:-1], jnp.int32)

    @property
    def num_feature_axes(self):
        return 1


def test_a_whole_number_that_the_controller_carries():
    config = make_config(controller=Counting())
    params = ntm_jax.init(jax.random.key(0), config, INPUT_SIZE)
    state = ntm_jax.initial_state(params, config)
    ended, _ = ntm_jax.unroll(params, zeros(6, INPUT_SIZE), config=config)
    assert ended.controller == 6
    with pytest.raises(TypeError, match=r"state.controller: got dtype float32, want"):
        ntm_jax.step(
            params, state.replace(controller=zeros()), zeros(INPUT_SIZE), config=config
        )


def test_a_size_that_is_traced():
    def refuse(function, argument):
        jax.eval_shape(
            lambda size: getattr(ntm_jax, function)(
                **(GOOD[function] | {argument: size})
            ),
            jnp.int32(3),
        )

    for function, argument in COUNTS[:4]:
        with pytest.raises(TypeError, match=f"{argument}: got JitTracer"):
            refuse(function, argument)


@pytest.mark.parametrize("config", [None, {"output_size": 2}, ntm_jax.NTMConfig])
@pytest.mark.parametrize(
    "function", ["init", "initial_state", "step", "unroll", "trace"]
)
def test_something_else_than_a_config(function, config):
    assert_refused(function, {"config": config}, "config", type(config).__name__)


@pytest.mark.parametrize("field", ["initial_memory", "initial_weighting"])
def test_what_was_learned_slot_by_slot_fixes_the_number_of_slots(field):
    config = make_config(**{field: "learned"})
    params = random_params(config)
    with pytest.raises(ValueError, match=rf"num_slots: got 6, want 5.*{field}"):
        ntm_jax.initial_state(params, config, num_slots=6)


@pytest.mark.parametrize(
    "field", ["initial_memory", "initial_weighting", "initial_read", "initial_carry"]
)
def test_parameters_that_lack_what_the_config_learns(field):
    config = make_config(**{field: "learned"})
    with pytest.raises(ValueError, match=r"params: got .*initial"):
        ntm_jax.initial_state(random_params(make_config()), config)


def test_an_unknown_field_of_the_config_is_named():
    with pytest.raises(TypeError, match="num_slotz"):
        ntm_jax.NTMConfig(output_size=2, num_slotz=5)  # type: ignore[call-arg]


def test_a_missing_output_size_is_named():
    with pytest.raises(TypeError, match="output_size"):
        ntm_jax.NTMConfig()  # type: ignore[call-arg]
