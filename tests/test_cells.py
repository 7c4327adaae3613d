"""The cells: layers of Flax Linen and NNX return what `unroll` returns."""

import functools
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from machines import (
    INPUT_SIZE,
    LEARNED,
    make_config,
    random_inputs,
    random_like,
    slow_unless,
)

import ntm_jax
from ntm_jax.linen import NTMCell
from ntm_jax.nnx import NTMCell as NNXCell

pytestmark = pytest.mark.usefixtures("quick_compilations")
close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
CONFIGS = {
    "plain": make_config(),
    "learned": make_config(num_read_heads=2, num_write_heads=2, **LEARNED),
    "stateless": make_config(controller=ntm_jax.feed_forward(4), order="interleaved"),
}
B, T = 3, 5
LENGTHS = np.array([5, 2, 1])


def params_of(config, dtype=jnp.float32):
    """Random parameters of the shapes that `init` makes."""
    shapes = jax.eval_shape(
        lambda key: ntm_jax.init(key, config, INPUT_SIZE), jax.random.key(0)
    )
    return random_like(shapes, seed=3, dtype=dtype)


@functools.cache
def compiled_unroll(config):
    return jax.jit(functools.partial(ntm_jax.unroll, config=config))


def expected(config, xs, **options):
    """The result of `unroll` on `[T, ..., I]`."""
    return compiled_unroll(config)(params_of(config), xs, **options)


def assert_same(result, wanted):
    jax.tree.map(close, result, wanted)


@functools.cache
def compiled_linen(config, **options):
    layer = nn.RNN(NTMCell(config), time_major=True, **options)
    return jax.jit(lambda variables, xs, call: layer.apply(variables, xs, **call))


def linen(config, xs, call=None, **options):
    """`nn.RNN` of the cell, on `[T, B, I]` unless options say otherwise."""
    variables = {"params": {"cell": params_of(config)}}
    return compiled_linen(config, **options)(variables, xs, call or {})


@nnx.jit
def run_nnx(layer, xs, call):
    return layer(xs, **call)


def through_nnx(config, xs, call=None, **options):
    cell = NNXCell.from_params(params_of(config), config)
    return run_nnx(nnx.RNN(cell, time_major=True, **options), xs, call or {})


LAYERS = pytest.mark.parametrize(
    "layer", [linen, pytest.param(through_nnx, marks=pytest.mark.slow)]
)


@LAYERS
@pytest.mark.parametrize("name", slow_unless(["learned"], CONFIGS))
def test_a_layer_is_unroll(layer, name):
    config, xs = CONFIGS[name], random_inputs(T, B)
    state, ys = expected(config, xs)
    carry, outputs = layer(config, xs, return_carry=True)
    assert_same(outputs, ys)
    assert_same(carry, state)


@LAYERS
@pytest.mark.parametrize("batch", slow_unless([(2, 1, 3)], [(), (2, 1, 3)]))
def test_any_number_of_batch_axes(layer, batch):
    config, xs = CONFIGS["learned"], random_inputs(T, *batch)
    assert_same(layer(config, xs), expected(config, xs)[1])


@LAYERS
def test_sequences_of_other_lengths(layer):
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    mask = np.arange(T)[:, None] < LENGTHS
    state, ys = expected(config, xs, mask=mask)
    call = {"seq_lengths": jnp.asarray(LENGTHS)}
    carry, outputs = layer(config, xs, call=call, return_carry=True)
    close(np.where(mask[:, :, None], outputs, 0), ys)
    assert_same(carry, state)


@LAYERS
def test_backwards_in_time(layer):
    config, xs = CONFIGS["plain"], random_inputs(T, B)
    _, ys = expected(config, xs[::-1])
    assert_same(layer(config, xs, reverse=True), ys)
    assert_same(layer(config, xs, reverse=True, keep_order=True), ys[::-1])


@LAYERS
@pytest.mark.slow
def test_backwards_in_sequences_of_other_lengths(layer):
    """Each sequence is reversed separately, and the padding stays at the end."""
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    mask = np.arange(T)[:, None] < LENGTHS

    def flip(values):
        values = np.array(values)
        for b, length in enumerate(LENGTHS):
            values[:length, b] = values[:length, b][::-1]
        return values

    state, ys = expected(config, flip(xs), mask=mask)
    call = {"seq_lengths": jnp.asarray(LENGTHS)}
    for keep_order, wanted in ((False, ys), (True, flip(ys))):
        carry, outputs = layer(
            config,
            xs,
            call=call,
            reverse=True,
            keep_order=keep_order,
            return_carry=True,
        )
        close(np.where(mask[:, :, None], outputs, 0), wanted)
        assert_same(carry, state)


@LAYERS
@pytest.mark.slow
def test_several_steps_in_one_of_the_loop(layer):
    config, xs = CONFIGS["plain"], random_inputs(T, B)
    assert_same(layer(config, xs, unroll=2), expected(config, xs)[1])


@LAYERS
def test_from_a_carry_of_other_slots(layer):
    config, xs = CONFIGS["plain"], random_inputs(T, B)
    start = ntm_jax.initial_state(
        params_of(config), config, num_slots=9, batch_shape=(B,)
    )
    result = layer(config, xs, call={"initial_carry": start}, return_carry=True)
    assert_same(result, expected(config, xs, state=start))


@LAYERS
@pytest.mark.slow
def test_each_sequence_alone_and_batch_first(layer):
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    _, ys = expected(config, xs)
    for b in range(B):
        assert_same(layer(config, xs[:, b]), ys[:, b])
    swapped = jax.jit(nn.RNN(NTMCell(config)).apply)(
        {"params": {"cell": params_of(config)}}, jnp.swapaxes(xs, 0, 1)
    )
    assert_same(swapped, jnp.swapaxes(ys, 0, 1))


def test_a_loop_over_the_cell_is_the_layer():
    config, xs = CONFIGS["plain"], random_inputs(T, B)
    cell, variables = NTMCell(config), {"params": params_of(config)}
    carry = cell.initialize_carry(jax.random.key(0), xs.shape[1:])
    step = jax.jit(cell.apply)
    ys = []
    for x in xs:
        carry, y = step(variables, carry, x)
        ys.append(y)
    state, wanted = expected(config, xs)
    assert_same((carry, jnp.stack(ys)), (state, wanted))


@pytest.mark.parametrize("lift", [lambda cell: cell, nn.remat])
@pytest.mark.slow
def test_scanned_and_rematerialised(lift):
    config, xs = CONFIGS["plain"], random_inputs(T, B)
    scanned = nn.scan(
        lift(NTMCell),
        variable_broadcast="params",
        split_rngs={"params": False},
        in_axes=0,
        out_axes=0,
    )(config)
    start = NTMCell(config).initialize_carry(jax.random.key(0), xs.shape[1:])
    run = jax.jit(scanned.apply)
    assert_same(run({"params": params_of(config)}, start, xs), expected(config, xs))


@pytest.mark.parametrize("lift", [lambda step: step, nnx.remat])
@pytest.mark.slow
def test_scanned_and_rematerialised_in_nnx(lift):
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    cell = NNXCell.from_params(params_of(config), config)

    @nnx.jit
    @nnx.scan(in_axes=(None, nnx.Carry, 0), out_axes=(nnx.Carry, 0))
    def run(cell, carry, x):
        return lift(lambda cell, carry, x: cell(carry, x))(cell, carry, x)

    start = cell.initialize_carry(xs.shape[1:])
    assert_same(run(cell, start, xs), expected(config, xs))


@pytest.mark.slow
def test_a_layer_of_a_rematerialised_cell_with_a_learned_initial_state():
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    cell = nn.remat(NTMCell, prevent_cse=False)(config)
    layer = nn.RNN(cell, time_major=True, return_carry=True)
    variables = {"params": {"cell": params_of(config)}}
    assert_same(jax.jit(layer.apply)(variables, xs), expected(config, xs))


def one_cell_both_ways(config, xs, kind, **options):
    """A layer with one cell for both directions, on `[T, B, I]`."""
    if kind == "linen":
        cell = NTMCell(config)
        layer = nn.Bidirectional(nn.RNN(cell), nn.RNN(cell), time_major=True, **options)
        # The cell is the first direction's.
        variables = {"params": {"forward_rnn": {"cell": params_of(config)}}}
        return jax.jit(
            lambda xs, lengths: layer.apply(variables, xs, seq_lengths=lengths)
        )
    cell = NNXCell.from_params(params_of(config), config)
    layer = nnx.Bidirectional(nnx.RNN(cell), nnx.RNN(cell), time_major=True, **options)
    return lambda xs, lengths: run_nnx(layer, xs, {"seq_lengths": lengths})


@pytest.mark.parametrize("kind", ["linen", "nnx"])
@pytest.mark.slow
def test_one_cell_in_both_directions(kind):
    config, xs = CONFIGS["plain"], random_inputs(T, B)
    run = one_cell_both_ways(config, xs, kind, merge_fn=jnp.subtract, return_carry=True)
    (there, back), ys = run(xs, None)
    wanted_there, forward = expected(config, xs)
    wanted_back, backward = expected(config, xs[::-1])
    assert_same(ys, forward - backward[::-1])
    assert_same((there, back), (wanted_there, wanted_back))


def test_in_both_directions():
    config, xs = CONFIGS["plain"], random_inputs(B, T)
    layer = nn.Bidirectional(nn.RNN(NTMCell(config)), nn.RNN(NTMCell(config)))
    ways = ("forward_rnn", "backward_rnn")
    variables = {"params": {way: {"cell": params_of(config)} for way in ways}}
    ys = jax.jit(layer.apply)(variables, xs)
    swapped = jnp.swapaxes(xs, 0, 1)
    there, back = expected(config, swapped)[1], expected(config, swapped[::-1])[1][::-1]
    assert_same(ys, jnp.swapaxes(jnp.concatenate([there, back], axis=-1), 0, 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_new_parameters_have_the_machine_s_names_and_shapes(name):
    config, xs = CONFIGS[name], random_inputs(T, B)
    wanted = jax.tree.map(jnp.shape, params_of(config))
    layer = nn.RNN(NTMCell(config))
    made = jax.jit(layer.init)(jax.random.key(0), xs)["params"]["cell"]
    assert jax.tree.map(jnp.shape, made) == wanted
    cell = NNXCell(INPUT_SIZE, config, rngs=nnx.Rngs(0))
    assert jax.tree.map(jnp.shape, cell.params) == wanted
    assert "NTMCell" in layer.tabulate(jax.random.key(0), xs)


@pytest.mark.slow
def test_under_vmap():
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    layer = nn.RNN(NTMCell(config))
    variables = {"params": {"cell": params_of(config)}}
    mapped = jax.vmap(functools.partial(layer.apply, variables), 1, 1)
    assert_same(jax.jit(mapped)(xs), expected(config, xs)[1])


def two_of(config):
    """The parameters of two machines, with a leading axis."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), params_of(config))


def assert_are_two(ys, config, xs):
    run = jax.jit(jax.vmap(functools.partial(ntm_jax.unroll, config=config), (0, None)))
    assert_same(ys, run(two_of(config), xs)[1])


@pytest.mark.slow
def test_two_cells_at_once_in_linen():
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    many = nn.vmap(
        nn.RNN,
        in_axes=None,  # type: ignore[arg-type]
        axis_size=2,
        variable_axes={"params": 0},
        split_rngs={"params": True},
    )(NTMCell(config), time_major=True)
    made = jax.eval_shape(many.init, jax.random.key(0), xs)["params"]["cell"]
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, two_of(config))
    variables = {"params": {"cell": two_of(config)}}
    assert_are_two(jax.jit(many.apply)(variables, xs), config, xs)


@pytest.mark.slow
def test_two_cells_at_once_in_nnx():
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    make = nnx.vmap(lambda params: NNXCell.from_params(params, config))
    cells = make(two_of(config))

    @nnx.jit
    @nnx.vmap(in_axes=(0, None))
    def run(cell, xs):
        return nnx.RNN(cell, time_major=True)(xs)

    assert_are_two(run(cells, xs), config, xs)


@pytest.mark.slow
def test_split_and_merged():
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    cell = NNXCell.from_params(params_of(config), config)
    graph, state = nnx.split(nnx.RNN(cell, time_major=True))
    assert not nnx.filter_state(state, nnx.Not(nnx.Any(nnx.Param, nnx.RngState)))

    @jax.jit
    def run(state, xs):
        return nnx.merge(graph, state)(xs)

    assert_same(run(state, xs), expected(config, xs)[1])
    opposite = jax.tree.map(
        lambda leaf: -leaf if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state
    )
    nnx.update(cell, opposite["cell"])
    jax.tree.map(close, cell.params, jax.tree.map(jnp.negative, params_of(config)))


@pytest.mark.slow
def test_from_form_to_form_and_back():
    """Linen to pure to NNX to Linen: the same arrays under the same names."""
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    layer = nn.RNN(NTMCell(config), time_major=True)
    variables = jax.jit(layer.init)(jax.random.key(0), xs)
    cell = NNXCell.from_params(variables["params"]["cell"], config)
    jax.tree.map(
        np.testing.assert_array_equal, {"params": {"cell": cell.params}}, variables
    )


class Memory(nn.Module):
    """A Linen layer over `unroll` itself."""

    config: ntm_jax.NTMConfig

    @nn.compact
    def __call__(self, xs, **flags):
        params = self.param("ntm", ntm_jax.init, self.config, xs.shape[-1])
        return ntm_jax.unroll(params, xs, config=self.config, **flags)


@pytest.mark.slow
def test_resets_and_masks_in_a_model_of_linen_or_nnx():
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    flags: Any = {
        "reset": jnp.arange(T)[:, None] == jnp.array([[1, 0, 3]]),
        "mask": jnp.arange(T)[:, None] < jnp.array([[4, 5, 3]]),
    }
    params = params_of(config)
    wanted = expected(config, xs, **flags)
    layer = Memory(config)
    made = jax.eval_shape(layer.init, jax.random.key(0), xs)["params"]["ntm"]
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, params)
    result = jax.jit(layer.apply)({"params": {"ntm": params}}, xs, **flags)
    assert_same(result, wanted)

    @nnx.jit
    @nnx.value_and_grad(has_aux=True)
    def loss(cell):
        ended = ntm_jax.unroll(cell.params, xs, config=cell.config, **flags)
        return jnp.sum(ended[1] ** 2), ended

    (_, result), gradients = loss(NNXCell.from_params(params, config))
    assert_same(result, wanted)
    assert all(leaf.any() for leaf in jax.tree.leaves(gradients["weights"]["initial"]))


@pytest.mark.slow
def test_gradients_are_those_of_unroll():
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    params = params_of(config)
    layer = nn.RNN(NTMCell(config), time_major=True)

    def loss(params):
        ys: Any = layer.apply({"params": {"cell": params}}, xs)
        return jnp.sum(ys**2)

    def pure(params):
        return jnp.sum(ntm_jax.unroll(params, xs, config=config)[1] ** 2)

    wanted = jax.jit(jax.grad(pure))(params)
    check = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(check, jax.jit(jax.grad(loss))(params), wanted)
    cell = NNXCell.from_params(params, config)
    nnx_layer = nnx.RNN(cell, time_major=True)
    found = nnx.jit(nnx.grad(lambda layer: jnp.sum(layer(xs) ** 2)))(nnx_layer)
    optimizer = nnx.Optimizer(nnx_layer, optax.sgd(1e-2), wrt=nnx.Param)
    optimizer.update(nnx_layer, found)
    jax.tree.map(
        check,
        cell.params,  # the layer's own
        jax.tree.map(lambda p, g: p - 1e-2 * g, params, wanted),
    )


@pytest.mark.parametrize(
    ("options", "held", "computed"),
    [
        ({"dtype": jnp.bfloat16}, "float32", "bfloat16"),
        ({"param_dtype": jnp.bfloat16}, "bfloat16", "bfloat16"),
        ({"dtype": jnp.float32, "param_dtype": jnp.bfloat16}, "bfloat16", "float32"),
    ],
)
@pytest.mark.parametrize("name", ["plain", "learned"])
@pytest.mark.slow
def test_dtypes_are_as_given(options, held, computed, name):
    config, xs = CONFIGS[name], random_inputs(T, B)
    layer = nn.RNN(NTMCell(config, **options), return_carry=True, time_major=True)
    variables = jax.jit(layer.init)(jax.random.key(0), xs)
    cell = NNXCell(INPUT_SIZE, config, rngs=nnx.Rngs(0), **options)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(cell.params)} == {held}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {held}
    for result in (
        jax.eval_shape(layer.apply, variables, xs),
        run_nnx(nnx.RNN(cell, return_carry=True, time_major=True), xs, {}),
    ):
        assert {leaf.dtype.name for leaf in jax.tree.leaves(result)} == {computed}


CONFIG, KEY = CONFIGS["plain"], jax.random.key(0)
PARAMS, STATE = params_of(CONFIG), ntm_jax.initial_state(params_of(CONFIG), CONFIG)
RNGS = {"rngs": nnx.Rngs(0)}
LISTS = PARAMS | {"output": {"kernel": [1.0], "bias": [1.0]}}


def of_linen(config: Any = CONFIG, **options):
    cell = NTMCell(config, **options)
    return (
        functools.partial(cell.apply, {"params": PARAMS}),
        functools.partial(cell.initialize_carry, KEY),
        functools.partial(cell.init, KEY),
    )


def of_nnx(config: Any = CONFIG, **options):
    cell = NNXCell.from_params(PARAMS, config, **options)
    return cell, cell.initialize_carry, cell


X = np.zeros(INPUT_SIZE, np.float32)
WRONG_CALLS = [
    (0, ((1,), X), "carry: got tuple, want an NTMState"),
    (0, (STATE, [0.0, 0.0]), "inputs: got list, want an array"),
    (0, (STATE, 1.0), "inputs: got float, want an array"),
    (0, (STATE, X.astype(int)), "inputs: got dtype int64, want floats"),
    (0, (STATE, X.astype(bool)), "inputs: got dtype bool, want floats"),
    (0, (STATE, X.astype(complex)), "inputs: got dtype complex128, want floats"),
    (0, (STATE, X.astype(object)), "inputs: got dtype object, want floats"),
    (0, (STATE, X[0]), r"inputs: got shape \[\], want \[..., input_size\]"),
    (0, (STATE, np.zeros(3)), "inputs: got width 3, want 2, the input_size"),
    (0, (STATE, np.zeros((4, 2))), r"carry.memory: got shape \[5, 3\], want .*4, 5, 3"),
    (0, (STATE.replace(reads=None), X), "carry.reads: got NoneType, want an array"),
    (0, (STATE.replace(controller=()), X), "carry.controller: got PyTreeDef"),
    (
        0,
        (STATE.replace(memory=STATE.memory.astype(jnp.bfloat16)), X),
        "carry.memory: got dtype bfloat16, want float32",
    ),
    (1, (3,), "input_shape: got 3, want sizes"),
    (1, ((),), r"input_shape: got \(\), want sizes"),
    (1, ((2.5, 2),), "input_shape: got 2.5, want an integer"),
    (2, ((1,), X), "carry: got tuple, want an NTMState"),
    (2, (STATE, [0.0, 0.0]), "inputs: got list, want an array"),
    (2, (STATE, X[0]), r"inputs: got shape \[\]"),
]
WRONG_CELLS = [
    (lambda: NNXCell.from_params(PARAMS, {}), "config: got dict, want an NTMConfig"),  # type: ignore[arg-type]
    (
        lambda: NNXCell.from_params({}, CONFIG),
        "params: got .*, want 'controller' among",
    ),
    (
        lambda: NNXCell.from_params(PARAMS, make_config(**LEARNED)),
        r"got no \['initial'\]",
    ),
    (lambda: NNXCell.from_params([PARAMS], CONFIG), "params: got list, want a dict"),  # type: ignore[arg-type]
    (lambda: NNXCell(0, CONFIG, **RNGS), "in_features: got 0, want an integer"),
    (lambda: NNXCell(2.0, CONFIG, **RNGS), "in_features: got 2.0, want an integer"),  # type: ignore[arg-type]
    (lambda: NNXCell(2, None, **RNGS), "config: got NoneType, want an NTMConfig"),  # type: ignore[arg-type]
    (lambda: NNXCell(2, CONFIG, rngs=0), "rngs: got int, want an nnx.Rngs"),  # type: ignore[arg-type]
    (
        lambda: NNXCell(2, CONFIG, dtype=jnp.float16, **RNGS),
        "^dtype: got dtype .*float16.*, want float32",
    ),
    (
        lambda: NNXCell(2, CONFIG, param_dtype=jnp.float16, **RNGS),
        "param_dtype: got dtype .*float16.*, want float32",
    ),
    (
        lambda: of_linen(dtype=jnp.float16)[0](STATE, X),
        "^dtype: got dtype .*float16.*, want float32",
    ),
    (
        lambda: of_linen(param_dtype=jnp.int32)[2](STATE, X),
        "param_dtype: got dtype .*int32.*, want float32",
    ),
    (
        lambda: of_nnx()[1]((2,), None, nn.initializers.zeros),
        "carry_init: got .*, want None",
    ),
    (
        lambda: NTMCell(CONFIG).apply({"params": LISTS}, STATE, X),
        "params.*: got list, want an array of floats",
    ),
    (lambda: of_linen({})[1]((2,)), "config: got .*dict, want an NTMConfig"),
]


@pytest.mark.parametrize(("which", "arguments", "message"), WRONG_CALLS)
@pytest.mark.parametrize("kind", [of_linen, of_nnx])
def test_a_call_that_does_not_fit_is_named(kind, which, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        kind()[which](*arguments)


@pytest.mark.parametrize(("make", "message"), WRONG_CELLS)
def test_an_invalid_cell_is_named(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_a_layer_names_the_width_it_wants():
    for layer in (linen, through_nnx):
        with pytest.raises(ValueError, match="inputs: got width 3, want 2, the input"):
            layer(CONFIG, jnp.zeros((T, B, INPUT_SIZE + 1)))


@pytest.mark.slow
def test_the_initial_carry_of_a_cell_alone():
    config, key = CONFIGS["learned"], jax.random.key(0)
    cell, shape = NTMCell(config), (B, INPUT_SIZE)
    with pytest.raises(ValueError, match="initialize_carry: got a cell without param"):
        cell.initialize_carry(key, shape)
    params = params_of(config)
    carry = cell.apply({"params": params}, key, shape, method="initialize_carry")
    assert_same(carry, ntm_jax.initial_state(params, config, batch_shape=(B,)))
    carry, made = cell.init_with_output(key, key, shape, method="initialize_carry")
    made = cell.init(key, carry, jnp.zeros(shape))["params"]
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, params)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ntm_jax.lstm(3, num_layers=2),
        lambda: ntm_jax.feed_forward(3),
        lambda: nn.GRUCell(3),
    ],
)
def test_a_config_made_within_a_module_is_that_made_outside(make):
    class Model(nn.Module):
        @nn.compact
        def __call__(self, xs):
            configs.append(make_config(controller=make()))
            return nn.RNN(NTMCell(configs[-1]))(xs)

    configs = [make_config(controller=make())]
    xs = jnp.ones((B, T, INPUT_SIZE))
    variables = jax.eval_shape(Model().init, jax.random.key(0), xs)
    outside, inside = configs
    assert inside == outside
    assert hash(inside) == hash(outside)
    wanted = jax.eval_shape(
        lambda key: ntm_jax.init(key, outside, INPUT_SIZE), jax.random.key(0)
    )
    chex.assert_trees_all_equal_shapes(variables["params"]["NTMCell_0"], wanted)
