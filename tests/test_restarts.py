"""Restarts: a seed that is stuck begins again, alone, and nothing else changes."""

import dataclasses
import io
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from tiny import TINY, flags, short_of_time, undrawn  # noqa: F401 (fixtures)

from benchmarks.record import machines
from train import main
from train.learn import learn
from train.runs.folder import RunFolder
from train.runs.outcome import Outcome, in_words
from train.runs.presets import preset
from train.ship import how_made
from train.training.batches import batch_of
from train.training.learning_rate import learning_rate_factor
from train.training.loop import train
from train.training.population import member
from train.training.restarts import is_stuck, with_validation
from train.training.state import (
    NEVER,
    RestartingState,
    TrainState,
    init_states,
)

# An LSTM compiles sooner than a machine.
CONFIG = dataclasses.replace(
    TINY,
    model="lstm",
    num_seeds=3,
    steps=12,
    validate_every=2,
    restart_after=4,
    watch_every=100,
)
WITHOUT = dataclasses.replace(CONFIG, restart_after=None)


@pytest.fixture
def seed_1_is_stuck(monkeypatch):
    """Errors of validations: those of all seeds but the second become better."""

    def validate(states, now, run, due):
        error = 20 / (1 + int(now.step.max()))
        return jnp.asarray([error, 20.0, error])

    monkeypatch.setattr("train.validation.validate", validate)


def kernel_of(tree) -> np.ndarray:
    """The first kernel in a tree of parameters or of an optimizer, `[S, ...]`."""
    paths = jax.tree.leaves_with_path(tree)
    return np.asarray(
        next(leaf for path, leaf in paths if "kernel" in jax.tree_util.keystr(path))
    )


def trained(path, config, callbacks=()):
    """The run in that folder after its training, its states, and what it printed."""
    run, printed = RunFolder.plan(path, config), io.StringIO()
    states = run.load()
    run.start()
    try:
        console = Console(file=printed, width=200)
        states = learn(run, states, console, callbacks, drawn=False)
    finally:
        run.events.close()
    return run, jax.device_get(states), printed.getvalue()


def counted(steps: int, **changed: Any) -> RestartingState:
    """The counts of seeds that have made so many updates."""
    num_seeds = len(next(iter(changed.values())))
    config = dataclasses.replace(CONFIG, num_seeds=num_seeds)
    # Without any compilation.
    shapes = jax.eval_shape(lambda: init_states(config))
    nothing = jax.tree.map(
        lambda leaf: np.zeros(leaf.shape, leaf.dtype),
        shapes.replace(params=None, opt_state=None),
    )
    never = np.full(num_seeds, NEVER, np.int32)
    infinite = np.full(num_seeds, np.inf, np.float32)
    start = {
        "step": np.full(num_seeds, steps, np.int32),
        "solved_at": never,
        "diverged_at": never,
        "best_error": infinite,
    }
    return nothing.replace(**start | {k: np.asarray(v) for k, v in changed.items()})


def test_only_an_error_that_is_clearly_lower_counts_as_better():
    errors = jnp.asarray([9.6, 9.4, 5.0, 8.0, 0.98])
    due = jnp.asarray([True, True, True, False, True])
    states = counted(
        8,
        highest_error=np.array([10, 10, 0, 10, 10], np.float32),
        best_error=np.array([10, 10, np.inf, 10, 1], np.float32),
        best_at=np.array([2, 2, 0, 2, 2], np.int32),
    )
    after = with_validation(states, errors, due, tolerance=0.99)
    # The last is within the tolerance.
    assert after.best_at.tolist() == [2, 8, 8, 2, 8]
    wanted = [10, 9.4, 5, 10, 0.98]
    np.testing.assert_allclose(after.best_error, wanted, rtol=1e-6)
    assert after.highest_error.tolist() == [10, 10, 5, 10, 10]


@pytest.mark.parametrize(
    ("changed", "stuck"),
    [
        ({}, True),
        ({"best_at": 5}, False),
        ({"best_error": 0.19}, False),  # below 2 % of the highest: it has learned
        ({"best_error": 0.21}, True),
        ({"best_error": np.inf, "highest_error": 0.0}, True),  # all were NaN
        ({"solved_at": 4}, False),
        ({"best_error": 2.0, "tolerance": 2.0}, False),  # it was solved once
        ({"step": 9, "best_at": 5}, False),  # with too little time left
        ({"due": False}, False),
    ],
)
def test_a_seed_is_stuck_without_a_better_validation(changed, stuck):
    errors = {"best_error": 9.0, "highest_error": 10.0}
    changed = {"step": 8, "best_at": 4} | errors | changed
    due = jnp.asarray([changed.pop("due", True)])
    tolerance = changed.pop("tolerance", 0.0)
    states = counted(8, **{name: [value] for name, value in changed.items()})
    assert is_stuck(CONFIG, states, due, tolerance).tolist() == [stuck]


def test_a_restart_gives_other_parameters():
    first, again = (
        init_states(CONFIG, restarts=restarts)
        for restarts in (None, np.array([0, 1, 2], np.int32))
    )
    one, other = (kernel_of(states.params) for states in (first, again))
    assert [(a == b).all() for a, b in zip(one, other)] == [True, False, False]


def test_only_the_machine_whose_waits_are_known_restarts_by_default():
    made = {
        (model, controller): preset("default", "reverse_string", model, controller)
        for model, controller in [
            ("ntm", None),
            ("ntm", "feed_forward"),
            ("ntm", "lstm"),
            ("lstm", None),
        ]
    }
    wanted = [400, 400, None, None]
    assert [config.restart_after for config in made.values()] == wanted
    assert preset("paper", "associative_recall").restart_after is None


@pytest.mark.parametrize("changed", [{"restart_after": None}, {"init_from": "copy"}])
def test_without_the_rule_a_state_is_as_in_all_checkpoints_before(changed):
    config = dataclasses.replace(CONFIG, **changed)
    states = jax.eval_shape(lambda: init_states(config))
    assert type(states) is TrainState


def test_a_restart_begins_the_schedule_again():
    config = dataclasses.replace(
        CONFIG, steps=60, lr_decay_fraction=0.5, curriculum_steps=20, batch_size=16
    )
    state = counted(0, began_at=[20])
    rates = [
        float(
            learning_rate_factor(
                config, state.replace(step=np.array([step], np.int32))
            )[0]
        )
        for step in (20, 40, 50, 60)
    ]
    np.testing.assert_allclose(rates, [1, 1, 0.5, 0], rtol=1e-6)
    # And the curriculum, but not the sequences.
    batch = jax.jit(batch_of, static_argnums=0)
    steps = [batch(config, 0, 40, began).steps.sum(axis=0) for began in (0, 40)]
    assert steps[0].max() > steps[1].max() == steps[1].min()
    inputs = [batch(config, 0, step, step).inputs for step in (0, 40)]
    assert (inputs[0] != inputs[1]).any()


@pytest.mark.slow
@pytest.mark.usefixtures("seed_1_is_stuck")
def test_only_the_seed_that_is_stuck_restarts(tmp_path):
    run, states, printed = trained(tmp_path / "with", CONFIG)
    assert states.restarts.tolist() == [0, 1, 0]
    assert states.began_at.tolist() == [0, 6, 0]
    assert states.step.tolist() == [12, 12, 12]
    assert (
        "Seed 1: no validation since update 2 was 5% better than 20; restart 1 from "
        "other parameters\n" in printed
    )
    restarts = [e["restarts"] for e in run.metrics() if e["seed"] == 1]
    assert restarts == [0, 0, 0, 1, 1, 1]

    other, without, _ = trained(tmp_path / "without", WITHOUT)
    assert not any("restarts" in entry for entry in other.metrics())
    for name in ("params", "opt_state"):
        got, want = getattr(states, name), getattr(without, name)
        for i in (0, 2):
            chex.assert_trees_all_equal(member(got, i), member(want, i))
        assert (kernel_of(got)[1] != kernel_of(want)[1]).any()

    # The second has learned as one that began there with its new parameters.
    again = init_states(CONFIG, restarts=np.array([0, 1, 0], np.int32))
    now = {"step": 6, "began_at": 6}
    again = again.replace(
        **{name: jnp.full(3, value, jnp.int32) for name, value in now.items()}
    )
    for _ in range(3):
        again, _, _ = train(again, config=CONFIG, num_steps=2, watched=False)
    chex.assert_trees_all_equal(member(again.params, 1), member(states.params, 1))


@pytest.mark.slow
@pytest.mark.usefixtures("seed_1_is_stuck")
def test_a_run_that_is_stopped_restarts_as_the_unbroken_one(tmp_path):
    def stop_at(step):
        def stop(report):
            if report.step == step:
                raise InterruptedError

        return stop

    unbroken, states, _ = trained(tmp_path / "unbroken", CONFIG)
    for step in (6, 10):  # at the restart, which is made again, and after it
        with pytest.raises(InterruptedError):
            trained(tmp_path / "broken", CONFIG, [stop_at(step)])
    broken, ended, _ = trained(tmp_path / "broken", CONFIG)
    chex.assert_trees_all_equal(ended, states)
    for entries in zip(broken.metrics(), unbroken.metrics(), strict=True):
        got, want = (
            {**entry, "sequences_per_second": 0, "seconds": 0} for entry in entries
        )
        assert got == want


@pytest.mark.slow
@pytest.mark.usefixtures("seed_1_is_stuck")
def test_a_complete_run_says_how_often_each_seed_has_restarted(tmp_path, capsys):
    # The preset of an LSTM alone has three.
    one_layer = "--controller_layers=1"
    arguments = [f"--workdir={tmp_path / 'run'}", *flags(CONFIG), one_layer]
    assert main.main(arguments) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "restart 1 from other parameters" in printed
    assert "0 of 3 seeds solved, with 1 restart; " in printed
    run = RunFolder.open(tmp_path / "run")
    entries = run.evaluation() or []
    assert {(e["machine"], e["restarts"]) for e in entries} == {(0, 0), (1, 1), (2, 0)}
    assert {e["step"] for e in entries} == {CONFIG.steps}
    assert [own["restarts"] for own in machines(run, entries)] == [0, 1, 0]
    assert how_made(run, entries, seed=1)["evaluation"][0]["restarts"] == 1

    assert main.main(arguments) == 0
    assert "complete" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main.main([*arguments, "--restart_after=None"])
    assert "restart_after: " in capsys.readouterr().err


@pytest.mark.rare
def test_a_hopeless_seed_restarts_as_often_as_there_is_time(tmp_path):
    # So small a step that nothing moves.
    config = dataclasses.replace(CONFIG, learning_rate=1e-30, steps=16)
    _, states, printed = trained(tmp_path / "run", config)
    assert states.restarts.tolist() == [2, 2, 2]
    assert states.began_at.tolist() == [12, 12, 12]
    for seed, since in ((0, 2), (2, 8)):
        assert f"Seed {seed}: no validation since update {since} was" in printed
    last = init_states(config, restarts=np.array([2, 2, 2], np.int32))
    # A bias of 0 does move.
    chex.assert_trees_all_close(states.params, jax.device_get(last.params), atol=1e-20)


def test_an_outcome_says_how_many_restarts_it_took():
    of = dataclasses.replace(Outcome.of_none(2), restarts=1)
    assert in_words(of, CONFIG.make_task()).startswith(
        "0 of 2 seeds solved, with 1 restart; "
    )


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "4"])
def test_a_wrong_number_of_updates_is_named(value):
    with pytest.raises((TypeError, ValueError), match=r"^restart_after: got "):
        dataclasses.replace(TINY, restart_after=value)
