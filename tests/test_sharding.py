"""Arrays over several devices: explicit shardings, and parameters that Flax boxes."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from machines import (
    LEARNED,
    make_config,
    random_inputs,
    random_params,
    random_state,
)

import ntm_jax
from ntm_jax import fast
from ntm_jax.controllers import Stack

pytestmark = pytest.mark.usefixtures("quick_compilations")
T, B = 3, 8
IMPLEMENTATIONS = [pytest.param("autodiff", marks=pytest.mark.slow), "fast"]
MASK = np.arange(T)[:, None] < np.array([3, 2, 1, 3, 2, 0, 1, 3])
RESET = np.random.default_rng(0).random((T, B)) < 0.3


def close(result, expected):
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        jax.device_get(result),
        jax.device_get(expected),
    )


def gradients(config, implementation: Any = "auto", state=None, mask=None, reset=None):
    """A function of parameters and inputs: what comes of `unroll`, and gradients."""

    def loss(params, xs, state):
        ended = ntm_jax.unroll(
            params,
            xs,
            config=config,
            state=state,
            mask=mask,
            reset=reset,
            implementation=implementation,
        )
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(ended)), ended

    both = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    return lambda params, xs: both(params, xs, state)


def mesh_of(kind, **sizes):
    return jax.make_mesh(
        tuple(sizes.values()), tuple(sizes), axis_types=(kind,) * len(sizes)
    )


def put(tree, mesh, spec):
    return jax.device_put(tree, NamedSharding(mesh, spec))


@pytest.fixture
def data():
    """Four devices that share a batch, with explicit shardings."""
    mesh = mesh_of(AxisType.Explicit, data=4)
    with jax.set_mesh(mesh):
        yield mesh


@pytest.mark.slow
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("given", "flagged"), [(False, False), (False, True), (True, True)]
)
def test_a_batch_with_explicit_shardings(implementation, given, flagged):
    config = make_config(**LEARNED)
    params, xs = random_params(config), random_inputs(T, B)
    state = random_state(params, config, batch_shape=(B,)) if given else None
    flags = {"mask": MASK, "reset": RESET} if flagged else {}
    run = gradients(config, implementation, state=state, **flags)
    expected = jax.jit(run)(params, xs)
    mesh = mesh_of(AxisType.Explicit, data=4)
    with jax.set_mesh(mesh):
        if state is not None:
            state = put(state, mesh, P("data"))
        flags = {name: put(flag, mesh, P(None, "data")) for name, flag in flags.items()}
        run = gradients(config, implementation, state=state, **flags)
        result = jax.jit(run)(put(params, mesh, P()), put(xs, mesh, P(None, "data")))
    close(result, expected)
    ((_, (end, ys)), (to_params, to_xs)) = result
    assert jax.typeof(ys).sharding.spec == P(None, "data", None)
    assert jax.typeof(to_xs).sharding.spec == P(None, "data", None)
    for leaf in jax.tree.leaves(end):
        assert jax.typeof(leaf).sharding.spec[0] == "data"
    for leaf in jax.tree.leaves(to_params):
        assert leaf.sharding.is_fully_replicated


@pytest.mark.slow
@pytest.mark.parametrize("given", [False, True])
def test_a_trace_with_explicit_shardings(data, given):
    config = make_config(**LEARNED)
    params, xs = random_params(config), random_inputs(T, B)
    state = random_state(params, config, batch_shape=(B,)) if given else None

    def trace(params, xs, state, reset):
        return ntm_jax.trace(params, xs, config=config, state=state, reset=reset)

    arguments = params, xs, state, RESET
    specs = P(), P(None, "data"), P("data"), P(None, "data")
    split = [put(tree, data, spec) for tree, spec in zip(arguments, specs)]
    traced = jax.jit(trace)(*split)
    close(traced, jax.jit(trace)(*arguments))
    for leaf in jax.tree.leaves(traced):
        assert jax.typeof(leaf).sharding.spec[:2] == (None, "data")


@pytest.mark.slow
def test_without_a_mesh_in_the_context():
    config = make_config()
    params, xs = random_params(config), random_inputs(T, B)
    mesh = mesh_of(AxisType.Explicit, data=4)
    run = jax.jit(gradients(config, "fast"))
    result = run(put(params, mesh, P()), put(xs, mesh, P(None, "data")))
    close(result, run(params, xs))


@pytest.mark.slow
def test_no_batch_and_several_batch_axes(data):
    config = make_config(controller=ntm_jax.feed_forward(4))
    params, xs = random_params(config), random_inputs(T, 2, 4)
    run = jax.jit(gradients(config, "fast"))
    flat, alone = xs.reshape(T, B, -1), xs[:, 0, 0]
    (_, (_, ys)), _ = run(params, put(xs, data, P(None, None, "data")))
    ys = jax.device_get(ys)  # an axis over devices cannot be reshaped or sliced freely
    close(ys.reshape(T, B, -1), run(params, flat)[0][1][1])
    close(run(params, alone)[0][1][1], ys[:, 0, 0])


@pytest.mark.slow
def test_parameters_and_batch_over_two_axes():
    config = make_config(controller=ntm_jax.lstm(4))
    params, xs = random_params(config), random_inputs(T, B)
    expected = jax.jit(gradients(config))(params, xs)
    mesh = mesh_of(AxisType.Explicit, data=2, model=2)
    with jax.set_mesh(mesh):
        controller = jax.tree.map(
            lambda leaf: put(leaf, mesh, P(*(None,) * (leaf.ndim - 1), "model")),
            params["controller"],
        )
        split = {**put(params, mesh, P()), "controller": controller}
        result = jax.jit(gradients(config))(split, put(xs, mesh, P(None, "data")))
    close(result, expected)
    to_controller = result[1][0]["controller"]
    for leaf in jax.tree.leaves(to_controller):
        assert jax.typeof(leaf).sharding.spec[-1] == "model"


@pytest.mark.slow
def test_under_vmap(data):
    config = make_config()
    params, xs = random_params(config), random_inputs(T, B)
    sharded = put(xs, data, P(None, "data"))

    def loss(params, xs):
        return jnp.sum(jnp.sin(ntm_jax.unroll(params, xs, config=config)[1]))

    expected = jax.jit(jax.grad(loss))(params, xs)
    pair = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    mapped = jax.jit(jax.vmap(jax.grad(loss), in_axes=(0, None)))(pair, sharded)
    close(jax.tree.map(lambda leaf: leaf[1], mapped), expected)


@pytest.mark.slow
def test_axes_that_the_compiler_shards_are_as_before():
    config = make_config()
    params, xs = random_params(config), random_inputs(T, B)
    expected = jax.jit(gradients(config))(params, xs)
    mesh = mesh_of(AxisType.Auto, data=4)
    with jax.set_mesh(mesh):
        close(
            jax.jit(gradients(config))(params, put(xs, mesh, P(None, "data"))), expected
        )


def partitioned(features, cell: Any = nn.OptimizedLSTMCell):
    return cell(
        features,
        kernel_init=nn.with_partitioning(nn.initializers.lecun_normal(), (None, "m")),
        recurrent_kernel_init=nn.with_partitioning(
            nn.initializers.orthogonal(), (None, "m")
        ),
        bias_init=nn.with_logical_partitioning(nn.initializers.zeros, ("units",)),
        parent=None,
    )


BOXED = {
    "lstm": partitioned(4),
    "gru": partitioned(4, nn.GRUCell),
    "stack": Stack((partitioned(4), partitioned(4)), parent=None),
    "dense": nn.Dense(
        4, kernel_init=nn.with_partitioning(nn.initializers.lecun_normal(), (None, "m"))
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOXED)
def test_boxed_parameters(name):
    config = make_config(controller=BOXED[name])
    params, xs = ntm_jax.init(jax.random.key(0), config, 2), random_inputs(T, B)
    boxed = functools.partial(
        jax.tree.leaves, is_leaf=lambda leaf: isinstance(leaf, nn.meta.AxisMetadata)
    )
    assert any(isinstance(leaf, nn.Partitioned) for leaf in boxed(params))
    state = ntm_jax.initial_state(params, config, batch_shape=(B,))
    assert fast.obstacle(config, state) is None
    result = jax.jit(gradients(config, "fast"))(params, xs)
    expected = jax.jit(gradients(config, "autodiff"))(nn.meta.unbox(params), xs)
    close(nn.meta.unbox(result), expected)
    assert jax.tree.structure(result[1][0]) == jax.tree.structure(params)


@pytest.mark.slow
def test_boxed_parameters_on_an_explicit_mesh():
    config = make_config(controller=BOXED["lstm"])
    params, xs = ntm_jax.init(jax.random.key(0), config, 2), random_inputs(T, B)
    expected = jax.jit(gradients(config, "autodiff"))(nn.meta.unbox(params), xs)
    mesh = mesh_of(AxisType.Explicit, data=2, m=2)
    with jax.set_mesh(mesh):
        split = {
            **put(params, mesh, P()),
            "controller": jax.tree.map(
                lambda leaf: put(leaf, mesh, P(*(None,) * (leaf.ndim - 1), "m")),
                params["controller"],
            ),
        }
        result = jax.jit(gradients(config))(split, put(xs, mesh, P(None, "data")))
    close(nn.meta.unbox(result), expected)
