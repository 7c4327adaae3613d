"""The cells for Flax: its layers, Linen's and NNX's, give what `unroll` gives."""

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
from machines import INPUT_SIZE, LEARNED, make_config, random_inputs, random_like

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
    """Another number in every place."""
    shapes = jax.eval_shape(
        lambda key: ntm_jax.init(key, config, INPUT_SIZE), jax.random.key(0)
    )
    return random_like(shapes, seed=3, dtype=dtype)


def expected(config, xs, **options):
    """What the pure machine makes of `[T, ..., I]`."""
    run = jax.jit(functools.partial(ntm_jax.unroll, config=config))
    return run(params_of(config), xs, **options)


def assert_same(result, wanted):
    jax.tree.map(close, result, wanted)


def linen(config, xs, call=None, **options):
    """`nn.RNN` of the cell, on `[T, B, I]` unless options say otherwise."""
    layer = nn.RNN(NTMCell(config), time_major=True, **options)
    variables = {"params": {"cell": params_of(config)}}
    return jax.jit(lambda v, xs: layer.apply(v, xs, **(call or {})))(variables, xs)


def through_nnx(config, xs, call=None, **options):
    cell = NNXCell.from_params(params_of(config), config)
    layer = nnx.RNN(cell, time_major=True, **options)
    return nnx.jit(lambda layer, xs: layer(xs, **(call or {})))(layer, xs)


LAYERS = pytest.mark.parametrize("layer", [linen, through_nnx])


@LAYERS
@pytest.mark.parametrize("name", CONFIGS)
def test_a_layer_is_unroll(layer, name):
    config, xs = CONFIGS[name], random_inputs(T, B)
    state, ys = expected(config, xs)
    carry, outputs = layer(config, xs, return_carry=True)
    assert_same(outputs, ys)
    assert_same(carry, state)


@LAYERS
@pytest.mark.parametrize("batch", [(), (2, 1, 3)])
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
def test_each_sequence_alone_and_batch_first(layer):
    config, xs = CONFIGS["learned"], random_inputs(T, B)
    _, ys = expected(config, xs)
    for b in range(B):
        assert_same(layer(config, xs[:, b]), ys[:, b])
    swapped = nn.RNN(NTMCell(config)).apply(
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


def test_in_both_directions():
    config, xs = CONFIGS["plain"], random_inputs(B, T)
    layer = nn.Bidirectional(nn.RNN(NTMCell(config)), nn.RNN(NTMCell(config)))
    ways = ("forward_rnn", "backward_rnn")
    variables = {"params": {way: {"cell": params_of(config)} for way in ways}}
    ys = jax.jit(layer.apply)(variables, xs)
    swapped = jnp.swapaxes(xs, 0, 1)
    there, back = expected(config, swapped)[1], expected(config, swapped[::-1])[1][::-1]
    assert_same(ys, jnp.swapaxes(jnp.concatenate([there, back], axis=-1), 0, 1))


@pytest.mark.parametrize("name", CONFIGS)
def test_fresh_parameters_have_the_machine_s_names_and_shapes(name):
    config, xs = CONFIGS[name], random_inputs(T, B)
    wanted = jax.tree.map(jnp.shape, params_of(config))
    made = nn.RNN(NTMCell(config)).init(jax.random.key(0), xs)["params"]["cell"]
    assert jax.tree.map(jnp.shape, made) == wanted
    cell = NNXCell(INPUT_SIZE, config, rngs=nnx.Rngs(0))
    assert jax.tree.map(jnp.shape, cell.params) == wanted
    assert "NTMCell" in nn.RNN(NTMCell(config)).tabulate(jax.random.key(0), xs)


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
    found = nnx.grad(lambda layer: jnp.sum(layer(xs) ** 2))(nnx_layer)
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
def test_dtypes_are_those_asked_for(options, held, computed, name):
    config, xs = CONFIGS[name], random_inputs(T, B)
    layer = nn.RNN(NTMCell(config, **options), return_carry=True, time_major=True)
    variables = layer.init(jax.random.key(0), xs)
    cell = NNXCell(INPUT_SIZE, config, rngs=nnx.Rngs(0), **options)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(cell.params)} == {held}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {held}
    for result in (
        jax.eval_shape(layer.apply, variables, xs),
        nnx.RNN(cell, return_carry=True, time_major=True)(xs),
    ):
        assert {leaf.dtype.name for leaf in jax.tree.leaves(result)} == {computed}


def test_what_does_not_fit_is_named():
    config = CONFIGS["plain"]
    with pytest.raises(TypeError, match="config: got dict, want an NTMConfig"):
        NNXCell.from_params(params_of(config), {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"params: got .*, want 'controller' among"):
        NNXCell.from_params({}, config)
    with pytest.raises(ValueError, match="want 2, the input_size"):
        through_nnx(config, jnp.zeros((T, B, INPUT_SIZE + 1)))
    with pytest.raises(ValueError, match="want 2, the input_size"):
        linen(config, jnp.zeros((T, B, INPUT_SIZE + 1)))
    with pytest.raises(TypeError, match=r"config: got .*dict, want an NTMConfig"):
        NTMCell({}).initialize_carry(jax.random.key(0), (2,))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"dtype: got dtype .*float16.*, want float32"):
        NNXCell(2, config, dtype=jnp.float16, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"got no \['initial'\]"):
        NNXCell.from_params(params_of(config), make_config(**LEARNED))


def test_the_first_carry_of_a_cell_alone():
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
