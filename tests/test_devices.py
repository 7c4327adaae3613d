"""Seeds and batches go over every device, and what comes of them is the same."""

import dataclasses
import functools
import math
import os
import re
import subprocess
import sys
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from machines import slow_unless
from tiny import TINY, flags, short_of_time, undrawn  # noqa: F401 (fixtures)

import tasks
from train import main
from train.runs.folder import RunFolder
from train.training import loop, measure
from train.training.batches import batch_of
from train.training.devices import (
    SEEDS,
    all_parts,
    mean_of_parts,
    mesh_for,
    own_part,
    spread,
)
from train.training.loop import train
from train.training.population import for_each_seed
from train.training.solved import judge
from train.training.state import init_states, seed_array

# One machine, with two sequences for each of four devices.
ONE = dataclasses.replace(TINY, batch_size=8, curriculum="uniform")


@pytest.fixture
def devices(monkeypatch):
    """Makes as if there were only so many."""
    every = jax.local_devices()

    def only(count):
        monkeypatch.setattr(jax, "devices", lambda *_: every[:count])
        monkeypatch.setattr(jax, "device_count", lambda: count)

    return only


@pytest.mark.parametrize(
    ("num_seeds", "batch_size", "grid"),
    [
        (1, 16, (1, 4)),
        (1, 6, (1, 3)),
        (1, 1, (1, 1)),
        (2, 16, (2, 2)),
        (2, 3, (2, 1)),
        (3, 16, (3, 1)),
        (5, 16, (1, 4)),
        (8, 16, (4, 1)),
    ],
)
def test_devices_that_seeds_leave_share_the_batch(num_seeds, batch_size, grid):
    assert jax.local_device_count() == 4
    assert mesh_for(num_seeds, batch_size).devices.shape == grid


def test_parts_of_a_batch_make_the_batch():
    batch = jnp.arange(24.0).reshape(2, 12)

    def of_one(seed):
        part = own_part({"x": batch}, axis=1)["x"]
        assert part.shape == (2, 6)
        whole = all_parts(part.T).T
        return seed + whole, mean_of_parts(jnp.mean(part))

    mesh = mesh_for(2, batch.shape[1])
    seeds = spread(jnp.asarray([0.0, 100.0]), mesh)
    assert len(seeds.sharding.device_set) == 4
    whole, mean = jax.jit(for_each_seed(of_one, mesh))(seeds)
    np.testing.assert_array_equal(whole, [np.asarray(batch), 100 + np.asarray(batch)])
    np.testing.assert_allclose(mean, [11.5, 11.5])


@pytest.mark.slow
@pytest.mark.parametrize("sort_updates", slow_unless([1], [1, 2]))
def test_four_devices_have_the_gradient_of_one(sort_updates):
    config = dataclasses.replace(ONE, sort_updates=sort_updates)
    params = init_states(config).params
    batch = jax.jit(batch_of, static_argnums=0)(config, 0, 0)
    loss = functools.partial(loop._loss, config=config)

    def of_parts(params):
        own = own_part(batch, axis=1)
        gradient = jax.grad(lambda params: loss(params, own)[0])(params)
        return mean_of_parts(gradient)

    mesh = mesh_for(1, config.batch_size)
    assert mesh.size == 4
    got = jax.jit(for_each_seed(of_parts, mesh))(params)
    alone = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[0]), params)
    want = jax.jit(jax.grad(lambda params: loss(params, batch)[0]))(alone)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(want))
    for of_four, of_one in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
        np.testing.assert_allclose(of_four[0], of_one, rtol=1e-6, atol=1e-6 * largest)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sort_updates": 2, "num_seeds": 2}, marks=pytest.mark.rare),
        {"model": "lstm"},
    ],
    ids=str,
)
def test_four_devices_learn_what_one_learns(changes, devices):
    config = dataclasses.replace(ONE, **changes)
    of_four = train(init_states(config), config=config, num_steps=4)
    devices(1)
    of_one = train(init_states(config), config=config, num_steps=4)
    assert len(of_four[0].step.sharding.device_set) == 4
    assert len(of_one[0].step.sharding.device_set) == 1
    chex.assert_trees_all_close(
        *jax.device_get((of_four, of_one)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_devices_talk_once_in_an_update_and_the_old_states_make_room():
    mesh = mesh_for(1, ONE.batch_size)
    states, seeds = init_states(ONE), spread(seed_array(ONE), mesh)
    function: Any = loop._train
    compiled: Any = function.lower(
        states, seeds, config=ONE, num_steps=2, mesh=mesh
    ).compile()
    talks = re.findall(
        r"= (\(?.*?) (all-\w+|collective-\w+|reduce-scatter)\(", compiled.as_text()
    )
    assert {kind for _, kind in talks} == {"all-reduce"}
    # Means of the gradient, the loss and the wrong bits: nothing of a time step.
    sent = [
        shape for shapes, _ in talks for shape in re.findall(r"\[([\d,]*)\]", shapes)
    ]
    numbers = sum(math.prod(int(n) for n in shape.split(",") if n) for shape in sent)
    assert numbers == sum(leaf.size for leaf in jax.tree.leaves(states.params)) + 2

    kept = sum(leaf.nbytes for leaf in jax.tree.leaves(states))
    assert compiled.memory_analysis().alias_size_in_bytes == kept
    programs = function._cache_size()
    for _ in range(3):
        old = states
        states, _, _ = train(states, config=ONE, num_steps=2)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(old))
        # As after a validation: an array that was made elsewhere.
        states = judge(states, jnp.ones(1), jnp.ones(1, bool), tolerance=0.0)
    assert function._cache_size() == programs + 1


@pytest.mark.slow
def test_an_evaluation_over_four_devices_is_that_of_one(devices):
    params, key = init_states(ONE).params, measure.evaluation_key(0)[None]

    def results():
        return measure.evaluate(params, ONE, keys=key, num_sequences=6, length=4)[0]

    of_four = results()
    devices(1)
    of_one = results()
    assert of_four["num_sequences"] == of_one["num_sequences"] == 6
    for name in ("loss_bits_per_sequence", "wrong_bits_per_sequence"):
        assert of_four[name] == pytest.approx(of_one[name], rel=1e-6)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(tmp_path, devices, monkeypatch):
    config = dataclasses.replace(ONE, steps=20)
    runs = {name: tmp_path / name for name in ("unbroken", "moved")}
    assert main.main([f"--workdir={runs['unbroken']}", *flags(config)]) == 0

    class StoppedError(RuntimeError):
        pass

    def save(run, states):
        saved(run, states)
        if states.step.max() == 8:
            raise StoppedError

    saved = RunFolder.save
    devices(2)
    monkeypatch.setattr(RunFolder, "save", save)
    with pytest.raises(StoppedError):
        main.main([f"--workdir={runs['moved']}", *flags(config)])
    monkeypatch.setattr(RunFolder, "save", saved)
    devices(4)
    states = RunFolder.open(runs["moved"]).restore()
    assert states.step == 8
    assert len(states.step.sharding.device_set) == 4
    assert main.main([f"--workdir={runs['moved']}", *flags(config)]) == 0
    moved, unbroken = (RunFolder.open(path).restore() for path in runs.values())
    chex.assert_trees_all_close(
        *jax.device_get((moved, unbroken)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XLA_FLAGS", "--xla_force_host_platform_device_count=3"),
        ("JAX_NUM_CPU_DEVICES", "3"),
    ],
)
def test_devices_that_were_asked_for_are_used(name, value):
    asked = (
        "import jax; from train.training.devices import mesh_for, use_all_cores; "
        "use_all_cores(1, 6); print(mesh_for(1, 6).devices.shape)"
    )
    environment = {**os.environ, name: value}
    done = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "(1, 3)", done.stderr


@pytest.mark.slow
def test_cores_are_devices_as_far_as_there_is_work_for_each():
    asked = (
        "import sys, jax; from train.training.devices import use_all_cores; "
        "from train.cluster import together; together.cores = lambda: [*range(8)]; "
        "use_all_cores(*map(int, sys.argv[1:])); "
        "print(jax.local_device_count())"
    )
    environment = {name: os.environ[name] for name in os.environ.keys() - {"XLA_FLAGS"}}
    for work, count in {
        (1, 16): 4,
        (1, 3): 1,
        (3, 16): 6,
        (8, 16): 8,
        (1, 64): 8,
    }.items():
        done = subprocess.run(
            [sys.executable, "-c", asked, *map(str, work)],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.stdout.strip() == str(count), (work, done.stderr)


def test_tasks_are_drawn_alike_on_every_device():
    # A batch is made whole on each, and only then taken apart.
    mesh = mesh_for(1, 8)
    task = tasks.get("copy")

    def of_one(seed):
        batch = own_part(task.sample(jax.random.key(seed), 8, length=3), axis=1)
        return all_parts(jnp.moveaxis(batch.inputs, 1, 0))

    seeds = spread(jnp.zeros(1, jnp.uint32), mesh)
    got = jax.jit(for_each_seed(of_one, mesh))(seeds)[0]
    want = task.sample(jax.random.key(0), 8, length=3).inputs
    np.testing.assert_array_equal(jnp.moveaxis(got, 0, 1), want)
    assert mesh.axis_names[0] == SEEDS
