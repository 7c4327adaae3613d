"""`jax.export` writes functions of the library's pytrees, and reads them."""

import functools
import inspect
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from jax import export

import ntm_jax
import tasks
from ntm_jax import access, heads, types
from tasks import task

ACCESS = ntm_jax.Access("sparse", 3, tolerance=0.5)
CONFIG = ntm_jax.NTMConfig(
    output_size=4, num_slots=5, slot_size=3, controller=ntm_jax.lstm(6)
)
PLATFORMS = ("cpu", "cuda", "tpu")


@pytest.fixture(scope="module")
def params():
    return ntm_jax.init(jax.random.key(0), CONFIG, 3)


def exported_as(function, *arguments):
    return export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)


def round_trip(function, *arguments, vjp_order=0):
    exported = exported_as(function, *arguments)
    loaded = export.deserialize(exported.serialize(vjp_order=vjp_order))
    assert loaded.in_tree == exported.in_tree
    assert loaded.out_tree == exported.out_tree
    return loaded.call


def assert_close(got, want):
    # Two compilations round differently, by the size of the largest entry.
    def check(got, want):
        atol = 1e-6 * np.max(np.abs(want))
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=atol)

    jax.tree.map(check, got, want)


@pytest.mark.slow
@pytest.mark.parametrize(
    "controller", [ntm_jax.lstm(6), ntm_jax.gru(6, 2), ntm_jax.feed_forward(6)]
)
def test_a_step_is_exported(controller):
    config = ntm_jax.NTMConfig(
        output_size=4, num_slots=5, slot_size=3, controller=controller
    )
    params = ntm_jax.init(jax.random.key(0), config, 3)
    state = ntm_jax.initial_state(params, config)
    step = functools.partial(ntm_jax.step, config=config)
    x = jnp.ones(3)
    assert_close(
        round_trip(step, params, state, x)(params, state, x), step(params, state, x)
    )


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["fast", "autodiff"])
def test_a_sequence_is_exported_with_its_gradient(params, implementation):
    unroll = functools.partial(
        ntm_jax.unroll, config=CONFIG, implementation=implementation
    )
    xs = jax.random.normal(jax.random.key(1), (4, 2, 3))
    loaded = round_trip(unroll, params, xs, vjp_order=1)

    def loss(function):
        return lambda params: jnp.sum(function(params, xs)[1] ** 2)

    assert_close(
        jax.grad(loss(loaded))(params), jax.jit(jax.grad(loss(unroll)))(params)
    )


@pytest.mark.slow
def test_a_trace_is_exported(params):
    trace = functools.partial(ntm_jax.trace, config=CONFIG)
    xs = jnp.ones((4, 3))
    traced: Any = round_trip(trace, params, xs)(params, xs)
    assert isinstance(traced.read, heads.Addressing)
    assert_close(traced, jax.jit(trace)(params, xs))


def test_a_batch_is_exported():
    batch = round_trip(
        lambda key: tasks.get("copy").sample(key, 2, length=3), jax.random.key(0)
    )(jax.random.key(0))
    assert isinstance(batch, tasks.Batch)
    wrong = round_trip(tasks.wrong_bits, batch.targets, batch)
    assert wrong(batch.targets - 0.5, batch).tolist() == [0, 0]


def pytrees(*modules):
    """The pytree classes that these modules define."""
    return [
        found
        for module in modules
        for _, found in inspect.getmembers(module, inspect.isclass)
        if found.__module__ == module.__name__
        and (issubclass(found, struct.PyTreeNode) or hasattr(found, "_fields"))
    ]


def test_every_public_pytree_is_written_by_a_name_that_stays():
    names = {
        kind: f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
        for kind in pytrees(types, heads, access, task)
    }
    assert sorted(names.values()) == [
        "ntm_jax.AccessState",
        "ntm_jax.Addressing",
        "ntm_jax.Interface",
        "ntm_jax.NTMState",
        "ntm_jax.SparseState",
        "ntm_jax.Trace",
        "ntm_jax.Writing",
        "tasks.Batch",
        "tasks.Range",
    ]
    for kind, name in names.items():
        with pytest.raises(ValueError, match=f"Duplicate .*`{name}`"):
            export.register_pytree_node_serialization(
                kind,
                serialized_name=name,
                serialize_auxdata=lambda aux_data: b"",
                deserialize_auxdata=lambda serialized_aux_data: (),
            )


@pytest.mark.parametrize("kind", pytrees(types, heads, access, task))
def test_every_public_pytree_comes_back(kind):
    names = inspect.signature(kind).parameters
    value = kind(*(ACCESS if name == "access" else jnp.ones(()) for name in names))
    assert_close(round_trip(lambda tree: tree, value)(value), value)


@pytest.mark.slow
def test_the_page_writes_and_reads():
    """The blocks that serialize too, which the tests of all pages leave out."""
    page = Path(__file__).parent.parent / "docs" / "export.md"
    names: dict[str, Any] = {}
    for block in re.findall(r"```py(?:thon)?\n(.*?)```", page.read_text(), re.DOTALL):
        if "to_onnx" not in block:
            exec(compile(block, str(page), "exec"), names)
    assert_close(names["loaded_y"], names["y"])
    assert_close(names["loaded_gradient"], names["gradient"])
