"""A sequence as one Pallas program, in Pallas' interpret mode, against a plain scan."""

import functools
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import AbstractDevice, AbstractMesh, Mesh
from jax.sharding import PartitionSpec as P
from machines import (
    MACHINES,
    make_config,
    random_inputs,
    random_params,
    random_state,
    slow_unless,
    values_and_gradients,
)

import ntm_jax
from ntm_jax.pallas import launch, plan, through_time
from ntm_jax.sequence import Implementation

LSTM_MACHINES = {
    name: fields
    for name, fields in MACHINES.items()
    if fields.get("order", "read_first") == "read_first"
    and "previous_weighting" not in fields
    and "controller" not in fields
}
_RNG = np.random.default_rng(0)
# Two tiles of eight sequences and two more; three chunks of two steps and one more.
LENGTH, BATCH = 7, 18
FLAGS: dict[str, Any] = {
    "mask": jnp.asarray(_RNG.uniform(size=(LENGTH, BATCH)) < 0.7),
    "reset": jnp.asarray(_RNG.uniform(size=(LENGTH, BATCH)) < 0.2),
}


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(plan, "LARGEST_TILE", 8)


def setting(batch=(BATCH,), **fields):
    """A config, and random parameters, inputs and state before the first step."""
    config = make_config(**fields)
    params = random_params(config)
    xs = random_inputs(LENGTH, *batch)
    return config, (params, xs, random_state(params, config, batch_shape=batch))


def unrolled(config, arguments, implementation: Implementation = "pallas", **flags):
    """Values and gradients."""
    how = {"config": config, "implementation": implementation}
    return values_and_gradients(ntm_jax.unroll, *arguments, **how, **flags)


def assert_close(result, expected, tolerance=1e-5):
    """Every array within that part of its largest number."""

    def check(result, expected):
        largest = np.abs(expected).max(initial=1e-6)
        np.testing.assert_allclose(result, expected, rtol=0, atol=tolerance * largest)

    jax.tree.map(check, result, expected)


def assert_as_a_scan(config, arguments, **flags):
    expected = unrolled(config, arguments, "autodiff", **flags)
    assert_close(unrolled(config, arguments, **flags), expected)


@pytest.mark.usefixtures("quick_compilations")
@pytest.mark.parametrize(
    "name",
    slow_unless(
        {"read_first_2_3"},
        LSTM_MACHINES,
        rare={*LSTM_MACHINES} - {"learned_lstm", "clip"},
    ),
)
def test_values_and_gradients_are_those_of_a_scan(name):
    assert_as_a_scan(*setting(**LSTM_MACHINES[name]), **FLAGS)


@pytest.mark.usefixtures("quick_compilations")
@pytest.mark.parametrize("save_every", slow_unless((), [1, None, LENGTH], {1, None}))
def test_without_flags_in_chunks_of_any_size(save_every):
    assert_as_a_scan(*setting(num_slots=16, slot_size=20), save_every=save_every)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilations")
def test_as_a_tpu_would_run_it(monkeypatch):
    """What is not written is NaN, and so is what lies beyond an array."""
    as_a_tpu = pltpu.InterpretParams(uninitialized_memory="nan")
    call: Any = launch.pl.pallas_call
    monkeypatch.setattr(
        launch.pl,
        "pallas_call",
        lambda kernel, **fields: call(kernel, **fields | {"interpret": as_a_tpu}),
    )
    assert_as_a_scan(*setting(num_read_heads=2), **FLAGS)


@pytest.mark.parametrize("fields", [{"num_read_heads": 2}, {"shift_range": 0}])
def test_pallas_has_every_operation_for_a_tpu(fields):
    """It says so when it lowers, without a TPU or its compiler."""
    config, (params, xs, _) = setting(num_write_heads=3, **fields)

    def loss(params):
        _, ys = ntm_jax.unroll(
            *(params, xs), config=config, implementation="pallas", **FLAGS
        )
        return jnp.sum(ys**2)

    device = AbstractDevice("TPU v5 lite", num_cores=1, platform="tpu")
    mesh = AbstractMesh((1,), ("x",), abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        traced = jax.jit(jax.grad(loss)).trace(params)
        text = traced.lower(lowering_platforms=("tpu",)).as_text()
    # One launch forwards and one backwards.
    assert text.count("@tpu_custom_call") == 2


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilations")
def test_a_wrong_term_is_seen(monkeypatch):
    right = through_time.step_vjp

    def wrong(*arguments):
        d_old, d_outputs = right(*arguments)
        small = d_old.small._replace(weightings=1.001 * d_old.small.weightings)
        return d_old._replace(small=small), d_outputs

    monkeypatch.setattr(through_time, "step_vjp", wrong)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_as_a_scan(*setting(batch=(3,)))


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilations")
def test_vmap_is_another_batch_axis():
    config, (params, xs, state) = setting(batch=(2, 3))

    def gradient(params, xs, state):
        return unrolled(config, (params, xs, state))[1][1:]

    of_each = [jax.tree.map(lambda leaf, i=i: leaf[i], state) for i in range(2)]
    one_by_one = [gradient(params, xs[:, i], of_each[i]) for i in range(2)]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *one_by_one)
    assert_close(jax.vmap(gradient, (None, 1, 0))(params, xs, state), expected)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilations")
def test_devices_share_a_batch_in_shard_map():
    config, (params, xs, _) = setting(batch=(4,))

    def loss(params, xs):
        _, ys = ntm_jax.unroll(params, xs, config=config, implementation="pallas")
        return jnp.mean(ys**2)

    mesh = Mesh(jax.devices()[:2], ("batch",))
    sharded = jax.shard_map(
        lambda params, xs: jax.lax.pmean(loss(params, xs), "batch"),
        mesh=mesh,
        in_specs=(P(), P(None, "batch")),
        out_specs=P(),
        check_vma=False,
    )
    gradient, expected = (
        jax.jit(jax.grad(each))(params, xs) for each in (sharded, loss)
    )
    assert_close(gradient, expected)


@pytest.mark.usefixtures("quick_compilations")
def test_a_second_derivative_is_an_error():
    config, (params, xs, state) = setting(batch=(2,))

    def loss(xs):
        _, ys = ntm_jax.unroll(
            params, xs, config=config, state=state, implementation="pallas"
        )
        return jnp.sum(ys**2)

    twice = jax.grad(lambda xs: jnp.sum(jax.grad(loss)(xs) ** 2))
    with pytest.raises(NotImplementedError, match=r"implementation='pallas'.*once"):
        jax.eval_shape(twice, xs)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"controller": ntm_jax.gru(4)}, "controller=GRUCell.*OptimizedLSTMCell"),
        ({"controller": ntm_jax.lstm(4, num_layers=2)}, "controller=Stack"),
        ({"order": "interleaved"}, "order='interleaved'.*read_first"),
        ({"previous_weighting": "read"}, "previous_weighting='read'.*own"),
        ({"num_slots": 2**16}, "65536 slots of size 3.*want at most"),
    ],
)
def test_a_machine_that_does_not_fit_is_an_error(fields, wanted):
    config = make_config(**fields)
    params = random_params(config)
    with pytest.raises(
        ValueError, match=f"(?s)implementation: got 'pallas' .*{wanted}"
    ):
        ntm_jax.unroll(params, random_inputs(2), config=config, implementation="pallas")


def test_other_arguments_that_do_not_fit_are_errors(monkeypatch):
    config = make_config()
    params, xs = random_params(config), random_inputs(2)
    run = functools.partial(ntm_jax.unroll, config=config, implementation="pallas")

    def wants(wanted):
        return pytest.raises(
            ValueError, match=f"implementation: got 'pallas'.*{wanted}"
        )

    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    with wants("bfloat16.*float32"):
        run(half, xs.astype(jnp.bfloat16))
    with wants("rngs"):
        run(params, xs, rngs={"dropout": jax.random.key(0)})
    with wants("access='window:3'"):
        run(params, xs, access="window:3")
    many = ntm_jax.initial_state(params, config, num_slots=2**16)
    with wants("65536 slots.* and 2 steps .*a smaller save_every"):
        run(params, xs, state=many, save_every=2)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with wants("GPU.*TPU"):
        run(params, xs)


@pytest.mark.usefixtures("x64")
def test_float64_is_an_error():
    config = make_config()
    params = random_params(config, dtype=jnp.float64)
    xs = random_inputs(2, dtype=jnp.float64)
    with pytest.raises(ValueError, match=r"float64.*float32"):
        ntm_jax.unroll(params, xs, config=config, implementation="pallas")


def test_pallas_is_imported_only_when_asked_for():
    command = "import sys, ntm_jax; assert 'jax.experimental.pallas' not in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True)
