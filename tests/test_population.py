"""Populations: every seed learns as it would alone, and none waits on another."""

import dataclasses
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TINY, flags, short_of_time, undrawn  # noqa: F401 (fixtures)

from train import evaluate, main
from train.runs.folder import RunFolder
from train.training.devices import mesh_for, spread
from train.training.loop import train
from train.training.population import for_each_seed, member
from train.training.solved import is_learning
from train.training.state import NEVER, init_states, mesh_of

THREE = dataclasses.replace(TINY, num_seeds=3, steps=20)
# Two on each of three devices.
SIX = dataclasses.replace(THREE, num_seeds=6)


@pytest.mark.parametrize("num_seeds", [2, 3, 8])
def test_a_function_of_one_seed_is_made_one_of_all(num_seeds):
    seeds = jnp.arange(num_seeds, dtype=jnp.float32)
    values = jnp.outer(seeds, jnp.arange(5.0))
    mesh = mesh_for(num_seeds, batch_size=1)
    function = for_each_seed(lambda s, v: (s + jnp.sum(v), 2 * v), mesh)
    total, doubled = function(seeds, values)
    np.testing.assert_allclose(total, seeds + values.sum(1))
    np.testing.assert_allclose(doubled, 2 * values)


def test_seeds_are_spread_over_the_devices_that_divide_them():
    count = jax.local_device_count()
    assert count > 1  # the tests run on several
    assert mesh_for(count, 1).size == count
    assert mesh_for(2 * count, 1).size == count
    assert mesh_for(1, 1).size == 1
    moved = spread(jnp.zeros((2 * count, 3)), mesh_for(2 * count, 1))
    assert len(moved.sharding.device_set) == count


@pytest.mark.slow
@pytest.mark.parametrize("sort_updates", [pytest.param(1, marks=pytest.mark.rare), 2])
def test_each_seed_learns_what_it_learns_alone(sort_updates):
    changed = {"sort_updates": sort_updates, "curriculum": "uniform"}
    all_six = dataclasses.replace(SIX, **changed)
    assert mesh_of(all_six).size == 3
    together = init_states(all_six)
    together, metrics, health = train(together, config=all_six, num_steps=4)
    for i, seed in enumerate(all_six.seeds()):
        config = dataclasses.replace(TINY, **changed, seed=seed)
        alone, own, inside = train(init_states(config), config=config, num_steps=4)
        for got, want in ((together, alone), (metrics, own), (health, inside)):
            chex.assert_trees_all_close(
                member(got, i), member(want, 0), rtol=1e-3, atol=1e-4
            )


def test_a_member_is_on_one_device():
    population = spread(jnp.arange(12.0).reshape(4, 3), mesh_for(4, 1))
    one = member({"some": population}, 2)["some"]
    assert one.tolist() == [6, 7, 8]
    assert len(population.sharding.device_set) == 4
    assert len(one.sharding.device_set) == 1


@pytest.mark.slow
def test_a_finished_seed_stays_as_it_is_while_the_others_learn():
    config = dataclasses.replace(THREE, polish_steps=10)
    states = init_states(config)
    step = jnp.full(3, 12, jnp.int32)
    states = states.replace(step=step, solved_at=jnp.asarray([2, NEVER, 4]))
    assert is_learning(config, states).tolist() == [False, True, True]
    before = jax.device_get(states)
    after, _, _ = train(states, config=config, num_steps=4)
    assert after.step.tolist() == [12, 16, 14]
    chex.assert_trees_all_equal(member(after, 0), member(before, 0))
    kernels = after.params["output"]["kernel"], before.params["output"]["kernel"]
    for i in (1, 2):
        assert (np.asarray(kernels[0][i]) != kernels[1][i]).any()


@pytest.mark.slow
def test_a_seed_that_does_not_stay_finite_stops_alone(tmp_path, monkeypatch, capsys):
    def poisoned(config, *given):
        states = init_states(config, *given)
        kernel = states.params["output"]["kernel"].at[1, 0, 0].set(jnp.nan)
        return states.replace(
            params={
                **states.params,
                "output": {**states.params["output"], "kernel": kernel},
            }
        )

    monkeypatch.setattr("train.runs.beginning.init_states", poisoned)
    workdir = tmp_path / "run"
    assert main.main([f"--workdir={workdir}", *flags(THREE)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Seed 1 stopped: loss_bits: got nan in update 1, want a finite" in printed
    assert f"is in {workdir / 'checkpoints'}" in printed
    states = RunFolder.open(workdir).restore()
    assert states.diverged_at.tolist() == [NEVER, 1, NEVER]
    assert states.step.tolist() == [20, 0, 20]
    evaluation = json.loads((workdir / "evaluation.json").read_text())
    assert {e["machine"]: e["diverged_at"] for e in evaluation} == {
        0: None,
        1: 1,
        2: None,
    }


@pytest.mark.slow
def test_a_run_stops_at_the_first_number_that_is_not_finite(tmp_path, capsys):
    # So large a step that the parameters overflow.
    config = dataclasses.replace(
        TINY, learning_rate=1e38, momentum=0.999, clip="none", epsilon=1e-30
    )
    workdir = tmp_path / "run"
    assert main.main([f"--workdir={workdir}", *flags(config)]) == 1
    captured = capsys.readouterr()
    assert "Seed 0 stopped: " in captured.out
    assert "use a lower --learning_rate" in captured.err
    assert not (workdir / "evaluation.json").exists()
    kept = RunFolder.open(workdir).restore()
    assert kept.diverged_at[0] == kept.step[0] + 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept))
    # And it does not go on from there.
    assert main.main([f"--workdir={workdir}", *flags(config)]) == 1


@pytest.mark.rare
def test_a_population_is_a_run_like_any_other(tmp_path, capsys):
    workdir = tmp_path / "run"
    arguments = [f"--workdir={workdir}", *flags(THREE)]
    assert main.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "0 of 3 seeds solved; " in printed
    assert "never" not in printed
    entries = RunFolder.open(workdir).metrics()
    for kind in ("train", "health", "validation"):
        assert {e["seed"] for e in entries if e["kind"] == kind} == {0, 1, 2}
    assert main.main(arguments) == 0
    assert "complete" in capsys.readouterr().out
    assert evaluate.main([f"--workdir={workdir}", "--num_sequences=3"]) == 0
    each = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["machine"] for entry in each[:-1]] == [0, 1, 2]
    assert each[-1]["machines"] == 3
    assert each[-1]["perfect_machines"] == 0
    wrong = [entry["wrong_bits_per_sequence"] for entry in each]
    assert wrong[-1] == pytest.approx(np.mean(wrong[:-1]))
