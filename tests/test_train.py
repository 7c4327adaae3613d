"""The trainer: it learns, it goes on exactly where it was, and it loses nothing."""

import dataclasses
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from rich.console import Console
from tiny import (
    TINY,
    claimed,
    events_of,
    flags,
    listing,
    short_of_time,  # noqa: F401 (a fixture)
)

import ntm_jax
import tasks
from ntm_jax import NTMConfig
from train import cli, evaluate, main
from train.runs import presets
from train.runs.checkpoint import Checkpoints
from train.runs.config import TrainConfig
from train.runs.folder import RunFolder
from train.runs.presets import PRESETS, preset
from train.show import recording
from train.show.progress import Progress
from train.training import measure
from train.training.batches import batch_of
from train.training.curriculum import curriculum
from train.training.keys import purpose_key
from train.training.learning_rate import learning_rate_factor
from train.training.loop import train
from train.training.optimizer import make_optimizer
from train.training.population import member
from train.training.solved import judge, last_step
from train.training.state import NEVER, init_states


@pytest.fixture
def loose_dtypes():
    """Optax's Adam outside `jit` mixes dtypes itself."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a run that the command took to its end."""
    workdir = tmp_path_factory.mktemp("runs") / "copy"
    assert main.main([f"--workdir={workdir}", *flags(TINY)]) == 0
    return workdir


def test_a_run_looks_inside_as_often_as_asked(tmp_path):
    often = dataclasses.replace(TINY, steps=8, validate_every=4)
    seldom = dataclasses.replace(often, watch_every=3)
    steps, parameters = {}, []
    for name, config in (("often", often), ("seldom", seldom)):
        assert main.main([f"--workdir={tmp_path / name}", *flags(config)]) == 0
        run = RunFolder.open(tmp_path / name)
        steps[name] = [e["step"] for e in run.metrics() if e["kind"] == "health"]
        lines = (tmp_path / name / "answers.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == steps[name]
        parameters.append(run.load().params)
    assert steps == {"often": [2, 4, 6, 8], "seldom": [4, 6]}
    chex.assert_trees_all_equal(*parameters)


def test_a_run_leaves_all_that_it_promises(finished):
    assert TrainConfig.from_json(finished / "config.json") == TINY
    entries = RunFolder.open(finished).metrics()
    trained = [entry for entry in entries if entry["kind"] == "train"]
    assert [entry["step"] for entry in trained] == list(range(2, 62, 2))
    assert [e["step"] for e in entries if e["kind"] == "validation"] == [20, 40, 60]
    assert [e["step"] for e in entries if e["kind"] == "health"] == list(
        range(2, 62, 2)
    )
    for entry in entries:
        assert entry["seed"] == 0
        numbers = [value for name, value in entry.items() if name != "kind"]
        assert np.isfinite(numbers).all()
    answers = RunFolder.open(finished).answers()
    assert [answer["step"] for answer in answers] == list(range(2, 62, 2))
    assert np.shape(answers[0]["outputs"]) == (41, 8)
    evaluation = json.loads((finished / "evaluation.json").read_text())
    assert [entry["length"] for entry in evaluation] == [20, 120]
    figures = {path.name for path in (finished / "figures").iterdir()}
    assert figures == {
        "learning_curve.png",
        "answer_20.png",
        "answer_120.png",
        "focus_20.png",
        "focus_120.png",
    }
    assert list((finished / "tensorboard" / "seed_0").glob("events.out.tfevents.*"))
    assert Checkpoints(finished / "checkpoints").latest_step() == 60


@pytest.mark.rare
def test_answers_need_no_trace_of_a_large_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_MOST_GIGABYTES", 1e-4)
    workdir = tmp_path / "large"
    short = dataclasses.replace(TINY, steps=4, validate_every=4, num_slots=512)
    assert main.main([f"--workdir={workdir}", *flags(short)]) == 0
    assert len(RunFolder.open(workdir).answers()) == 2
    figures = {path.name for path in (workdir / "figures").iterdir()}
    assert figures == {"learning_curve.png", "answer_20.png", "answer_120.png"}
    shown = {name for _, _, name in events_of(workdir / "tensorboard" / "seed_0")}
    assert "machine/focus" not in shown
    assert "figures/answer_20" in shown


def test_tensorboard_has_numbers_histograms_and_pictures(finished):
    events = events_of(finished / "tensorboard" / "seed_0")
    tags = {kind: {tag for _, of, tag in events if of == kind} for _, kind, _ in events}
    assert {"train/loss_bits", "validation/error"} <= tags["simple_value"]
    params = flatten_dict(RunFolder.open(finished).restore().params, sep="/")
    emitted = itertools.product(("read", "write"), ("strength", "gate", "gamma"))
    assert tags["histo"] == {
        *(f"parameters/{name}" for name in params),
        *(f"{kind}_heads/{name}" for kind, name in emitted),
    }
    drawn = {path.stem for path in (finished / "figures").glob("*.png")}
    pictures = {"machine/focus", *(f"figures/{name}" for name in drawn)}
    assert tags["image"] == pictures
    at = {tag: [step for step, _, own in events if own == tag] for _, _, tag in events}
    for shown in ("parameters/output/bias", "machine/focus"):
        assert at[shown] == [20, 40, 60]
    assert at["figures/learning_curve"] == [60]


def test_a_quiet_run_prints_one_json_object(finished, capsys):
    assert main.main([f"--workdir={finished}", "--quiet", *flags(TINY)]) == 0
    captured = capsys.readouterr()
    (line,) = captured.out.splitlines()
    told = json.loads(line)
    assert told["workdir"] == str(finished)
    assert told["evaluation"] == RunFolder.open(finished).evaluation()
    assert all(Path(path).is_file() for path in told["figures"])
    assert captured.err == ""


@pytest.mark.parametrize("seeds", [1, 20])
def test_the_bar_fits_a_usual_terminal(seeds):
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    with Progress(console, 20_000, 0, seeds) as progress:
        progress.report(
            5300, 20_000, solved=3, losses=[1234.5], wrong=[103.25], rate=1234.5
        )
    last = [line for line in screen.getvalue().splitlines() if "left" in line][-1]
    for shown in (
        "5300/20000",
        "loss 1234",
        "wrong 103 bits",
        "1234 seq/s",
        "left",
    ):
        assert shown in last
    assert ("3 solved" in last) == (seeds > 1)
    assert "…" not in last


def test_a_complete_run_says_so_and_changes_nothing(finished, capsys):
    before = listing(finished)
    assert main.main([f"--workdir={finished}", *flags(TINY)]) == 0
    assert "complete" in capsys.readouterr().out
    assert listing(finished) == before


def test_another_config_is_refused_and_changes_nothing(finished, capsys):
    before = listing(finished)
    other = dataclasses.replace(TINY, learning_rate=0.5)
    with pytest.raises(SystemExit, match="2"):
        main.main([f"--workdir={finished}", *flags(other)])
    message = capsys.readouterr().err
    assert "learning_rate: got 0.5" in message
    assert "0.003" in message
    assert listing(finished) == before


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilations")
def test_a_run_goes_on_with_more_steps(tmp_path, capsys):
    # At a constant rate it makes no difference when it got them.
    short = dataclasses.replace(TINY, steps=3, validate_every=4, lr_decay_fraction=0.0)
    long = dataclasses.replace(short, steps=8)
    gone_on = RunFolder(tmp_path / "run", long)
    for config in (short, long):
        assert main.main([f"--workdir={gone_on.path}", *flags(config)]) == 0
    at_once = init_states(long)
    for _ in range(long.steps // long.steps_per_call):
        at_once, _, _ = train(at_once, config=long, num_steps=long.steps_per_call)
    jax.tree.map(np.testing.assert_array_equal, gone_on.restore(), at_once)
    assert {entry["step"] for entry in gone_on.evaluation() or []} == {8}
    # It ended amid a call, and goes on to where the other calls of such a run end.
    kinds = ("train", "validation")
    made = [
        [entry["step"] for entry in gone_on.metrics() if entry["kind"] == kind]
        for kind in kinds
    ]
    assert made == [[2, 3, 4, 6, 8], [3, 4, 8]]
    assert gone_on.steps_before() == [3]
    assert RunFolder.open(gone_on.path).config == long
    first, second = gone_on.command().split(" && ")
    assert (first, second) == tuple(map(presets.command, (short, long)))
    before = listing(gone_on.path)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        main.main([f"--workdir={gone_on.path}", *flags(short)])
    assert "steps: got 3, but" in capsys.readouterr().err
    assert listing(gone_on.path) == before
    (gone_on.path / "steps_before.json").write_text("[4")
    before = listing(gone_on.path)
    longer = dataclasses.replace(long, steps=12)
    with pytest.raises(SystemExit, match="2"):
        main.main([f"--workdir={gone_on.path}", *flags(longer)])
    assert "steps_before.json, which is damaged" in capsys.readouterr().err
    assert listing(gone_on.path) == before


def test_a_folder_of_other_things_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    before = listing(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main.main([f"--workdir={tmp_path}", *flags(TINY)])
    assert "workdir: got" in capsys.readouterr().err
    assert listing(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="2"):
        main.main([f"--workdir={tmp_path / 'file' / 'run'}", *flags(TINY)])
    assert "want a folder that can be written to" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--task=reverse", "task: got 'reverse', want one of copy"),
        ("--preset=magic", "preset: got 'magic', want one of"),
        ("--num_slots=0", "num_slots: got 0, want an integer >= 1"),
        ("--batch_size=-1", "batch_size: got -1, want an integer >= 1"),
        ("--steps=1.5", "--steps"),
        ("--shift_range=64", "shift_range, num_slots: got 64 and 128, want 2 *"),
        ("--learning_rate=nan", "learning_rate: got nan, want a positive number"),
        ("--learning_rate=0", "learning_rate: got 0.0, want a positive number"),
        ("--update_clip=0", "update_clip: got 0.0, want a positive number"),
        ("--momentum=1", "momentum: got 1.0, want less than 1"),
        ("--seed=-1", "seed: got -1, want an integer >= 0"),
        ("--seed=4294967296", "seed: got 4294967296, want less than 2**31"),
        ("--preset", "--preset"),
        ("--polish_steps=7", "polish_steps: got 7, want a multiple of steps_per_call"),
        ("--input_scale=1e200", "input_scale: got 1e+200, want a positive number from"),
        ("--seed=2147483647 --num_seeds=2", "num_seeds - 1: got 2147483648, want less"),
        ("--polish_steps=3000000000", "polish_steps: got 3000000000, want less than"),
        ("--validate_every=120", "validate_every: got 120, want a multiple of"),
        ("--sort_updates=134217728", "batch_size * sort_updates: got 2147483648, want"),
        ("--controller=transformer", "transformer"),
        ("--controler=lstm", "--controler"),
        ("--head_clip=-1", "head_clip: got -1.0, want a positive number"),
    ],
)
def test_bad_flags_are_named_and_nothing_is_written(flag, message, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main([f"--workdir={tmp_path / 'run'}", *flag.split()])
    captured = capsys.readouterr()
    assert message in " ".join((captured.out + captured.err).split())
    assert "Traceback" not in captured.out + captured.err
    assert not (tmp_path / "run").exists()


def test_a_device_without_memory_left_is_told_in_words(tmp_path, monkeypatch, capsys):
    def no_memory(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 1 byte")

    monkeypatch.setattr(main, "run_to_the_end", no_memory)
    assert main.main([f"--workdir={tmp_path / 'run'}", *flags(TINY)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: not enough memory; use a smaller --batch_size")
    assert "Traceback" not in told


def test_help_tells_every_flag(capsys):
    with pytest.raises(SystemExit, match="0"):
        main.main(["--help"])
    printed = capsys.readouterr().out
    for name in TrainConfig().settings():
        assert f"--{name}" in printed
    assert "--workdir" in printed


@pytest.mark.slow
def test_overflow_in_every_update_is_told(tmp_path, monkeypatch, capsys):
    config = dataclasses.replace(TINY, steps=4, validate_every=4)
    monkeypatch.setattr(
        "train.training.loop.none_if_overflowed",
        lambda gradient: (
            jax.tree.map(jnp.zeros_like, gradient),
            jnp.zeros(()),
            jnp.asarray(True),
        ),
    )
    # Another function of the same arguments: nothing compiled of it may be used.
    jax.clear_caches()
    assert main.main([f"--workdir={tmp_path / 'run'}", *flags(config)]) == 0
    jax.clear_caches()
    assert "the gradient overflowed in all of the last 2" in capsys.readouterr().out


def test_compilations_are_kept_for_the_next_process(tmp_path, monkeypatch):
    before = jax.config.values["jax_compilation_cache_dir"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cli.keep_compilations()
    assert jax.config.values["jax_compilation_cache_dir"] == str(tmp_path / "ntm_jax")
    jax.config.update("jax_compilation_cache_dir", before)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    cli.keep_compilations()
    assert jax.config.values["jax_compilation_cache_dir"] == before


def test_every_difficulty_is_a_flag_of_evaluate():
    sizes = {name for task in tasks.names() for name in tasks.get(task).difficulty}
    assert set(evaluate.Sizes.sizes) == sizes
    assert sizes <= {field.name for field in dataclasses.fields(evaluate.Flags)}


def test_evaluate_prints_one_json_object_last(finished, capsys):
    arguments = [f"--workdir={finished}", "--length=7", "--num_sequences=3"]
    assert evaluate.main([*arguments, "--num_slots=20", "--seed=5"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["task"] == "copy"
    assert result["length"] == 7
    assert result["num_slots"] == 20
    assert result["num_sequences"] == 3
    assert result["seed"] == 5
    assert result["step"] == 60
    assert 0 < result["wrong_bits_per_sequence"] <= 56
    assert 0 <= result["perfect_fraction"] <= 1
    assert result["loss_bits_per_sequence"] > 0


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--length=0", "length: got 0, want an integer >= 1"),
        ("--num_slots=-4", "num_slots: got -4, want an integer >= 1"),
        (
            "--num_slots=2",
            "shift_range, num_slots: got 1 and 2, want 2 * shift_range + 1",
        ),
        ("--num_sequences=0", "num_sequences: got 0, want an integer >= 1"),
        ("--seed=-1", "seed: got -1, want an integer >= 0"),
        ("--seed=4294967296", "seed: got 4294967296, want less than 2**31"),
    ],
)
def test_evaluate_names_what_is_wrong(finished, flag, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([f"--workdir={finished}", flag])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["copy", "repeat_copy", "priority_sort"])
def test_more_to_keep_than_slots_is_refused(name):
    config = preset("default", name)
    evaluate.check_fits(config, None, length=config.num_slots)
    evaluate.check_fits(config, 500, length=500)
    with pytest.raises(ValueError, match="num_slots: got 40, want at least 41 for"):
        evaluate.check_fits(config, 40, length=41)
    evaluate.check_fits(preset("default", name, "lstm"), None, length=10_000)
    packing = dataclasses.replace(config, num_slots=8)
    evaluate.check_fits(packing, None, length=20)


def test_a_config_older_than_a_field_has_the_field_s_default():
    fields = json.loads(dataclasses.replace(TINY, seed=3).to_json())
    del fields["previous_weighting"], fields["sharpening"]
    config = TrainConfig.from_text(json.dumps(fields))
    assert config == dataclasses.replace(TINY, seed=3)
    assert (config.previous_weighting, config.sharpening) == ("own", "learned")


def test_evaluate_needs_a_run_and_a_checkpoint(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([f"--workdir={tmp_path}"])
    assert "workdir: got" in capsys.readouterr().err
    claimed(tmp_path, TINY)
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([f"--workdir={tmp_path}"])
    assert "no checkpoint" in capsys.readouterr().err
    fields = json.loads(TINY.to_json())
    for broken, name in (
        ({**fields, "colour": 3}, "colour"),
        ({**fields, "num_slots": 0}, "num_slots"),
        ({key: fields[key] for key in fields if key != "task"}, "task"),
        ({}, "task"),
        ([fields], "list"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(SystemExit, match="2"):
            evaluate.main([f"--workdir={tmp_path}"])
        assert name in capsys.readouterr().err


@pytest.mark.rare
def test_a_damaged_checkpoint_is_named(finished, tmp_path, capsys):
    damaged = tmp_path / "run"
    shutil.copytree(finished, damaged)
    (damaged / "evaluation.json").unlink()
    for path in (damaged / "checkpoints" / "60").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    for command in (main.main, evaluate.main):
        arguments = [f"--workdir={damaged}"]
        with pytest.raises(SystemExit, match="2"):
            command(arguments + flags(TINY) if command is main.main else arguments)
        assert "cannot be restored" in capsys.readouterr().err
    # Without it, the run goes on from the one before.
    shutil.rmtree(damaged / "checkpoints" / "60")
    assert main.main([f"--workdir={damaged}", *flags(TINY)]) == 0
    runs = [RunFolder.open(workdir) for workdir in (damaged, finished)]
    chex.assert_trees_all_equal(*(run.restore() for run in runs))


@pytest.mark.slow
def test_evaluation_does_not_depend_on_how_it_is_batched(monkeypatch):
    params = init_states(TINY).params
    keys = measure.evaluation_key(0)[None]

    def results():
        return measure.evaluate(params, TINY, keys=keys, num_sequences=5, length=4)[0]

    together = results()
    # One on each device, of four.
    monkeypatch.setattr(measure, "_MEMORY_NUMBERS", 8 * 4)
    one_by_one = results()
    for name in ("wrong_bits_per_sequence", "perfect_fraction"):
        assert together[name] == one_by_one[name]
    assert together["loss_bits_per_sequence"] == pytest.approx(
        one_by_one["loss_bits_per_sequence"], rel=1e-6
    )


@pytest.mark.slow
def test_a_killed_run_ends_as_the_unbroken_one(finished, tmp_path):
    broken = tmp_path / "broken"
    command = [sys.executable, "-m", "train.main", f"--workdir={broken}", *flags(TINY)]
    # On as many devices as here: the same to the last bit.
    forced = f"--xla_force_host_platform_device_count={jax.local_device_count()}"
    flags_of_xla = f"{os.environ.get('XLA_FLAGS', '')} {forced}"
    environment = {**os.environ, "XLA_FLAGS": flags_of_xla}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    deadline = time.monotonic() + 300
    while not (broken / "checkpoints" / "8").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (broken / "evaluation.json").exists()

    assert main.main([f"--workdir={broken}", *flags(TINY)]) == 0
    runs = [RunFolder.open(workdir) for workdir in (broken, finished)]
    chex.assert_trees_all_equal(*(run.restore() for run in runs))
    assert runs[0].answers() == runs[1].answers()
    for entries in zip(*(run.metrics() for run in runs), strict=True):
        got, want = (
            {**entry, "sequences_per_second": 0, "seconds": 0} for entry in entries
        )
        assert got == want


def test_learning_lowers_the_loss(finished):
    losses = [
        entry["loss_bits"]
        for entry in RunFolder.open(finished).metrics()
        if entry["kind"] == "train"
    ]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


@pytest.mark.slow
@pytest.mark.parametrize("sort_updates", [pytest.param(1, marks=pytest.mark.rare), 3])
def test_updates_do_not_depend_on_how_they_are_grouped(sort_updates):
    config = dataclasses.replace(TINY, sort_updates=sort_updates)
    in_pairs, losses = init_states(config), []
    for _ in range(2):  # With three drawn at once, the second call begins amid them.
        in_pairs, metrics, _ = train(in_pairs, config=config, num_steps=2)
        losses.append(metrics.loss)
    at_once, metrics, _ = train(init_states(config), config=config, num_steps=4)
    assert metrics.loss.shape == (1, 4)
    chex.assert_trees_all_close(in_pairs, at_once, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(np.concatenate(losses, axis=1), metrics.loss, rtol=1e-5)


def test_seeds_give_other_parameters_and_other_sequences():
    states = [init_states(dataclasses.replace(TINY, seed=seed)) for seed in (0, 1)]
    kernels = [state.params["output"]["kernel"] for state in states]
    assert not bool((kernels[0] == kernels[1]).any())
    keys = {
        tuple(jax.random.key_data(purpose_key(seed, purpose)).tolist())
        for seed in (0, 1)
        for purpose in ("params", "data", "validation", "evaluation")
    }
    assert len(keys) == 8


def test_graves_rmsprop_is_the_recurrence_of_his_paper():
    config = dataclasses.replace(
        TINY,
        optimizer="graves_rmsprop",
        learning_rate=1e-4,
        decay=0.95,
        epsilon=1e-4,
        clip="none",
        update_clip=None,
    )
    optimizer = make_optimizer(config)
    gradients = np.random.default_rng(0).normal(size=(5, 3))
    params = jnp.zeros(3)
    state = optimizer.init(params)
    n = g = delta = np.zeros(3)
    for gradient in gradients:
        # Graves 2013, eqs. 38-45.
        n = 0.95 * n + 0.05 * gradient**2
        g = 0.95 * g + 0.05 * gradient
        delta = 0.9 * delta - 1e-4 * gradient / np.sqrt(n - g**2 + 1e-4)
        updates, state = optimizer.update(jnp.asarray(gradient, jnp.float32), state)
        np.testing.assert_allclose(np.asarray(updates), delta, rtol=1e-4)


@pytest.mark.parametrize(
    ("clip", "expected"),
    [("value", [3.0, -2.0, 3.0]), ("norm", [2.4, -0.8, 1.6]), ("none", [6, -2, 4])],
)
def test_clipping(clip, expected):
    bound = 3.0 if clip != "norm" else np.linalg.norm([6, -2, 4]).item() * 0.4
    # With an epsilon that large, an update is as large as its gradient.
    linear = dataclasses.replace(TINY, epsilon=1e6, update_clip=None)
    config = dataclasses.replace(linear, clip=clip, clip_at=bound)
    clipped = make_optimizer(config).update(
        jnp.asarray([6.0, -2.0, 4.0]), make_optimizer(config).init(jnp.zeros(3))
    )
    bare = dataclasses.replace(linear, clip="none")
    same = make_optimizer(bare).update(
        jnp.asarray(expected, jnp.float32), make_optimizer(bare).init(jnp.zeros(3))
    )
    np.testing.assert_allclose(np.asarray(clipped[0]), np.asarray(same[0]), rtol=1e-5)


def test_a_rare_large_gradient_makes_no_jump():
    small = {"rare": jnp.full(4, 1e-4), "calm": jnp.full(4, 1e-4)}
    large = small | {"rare": jnp.asarray([0.5, -0.5, 0.5, 0.5])}

    def last_update(update_clip):
        config = dataclasses.replace(
            TINY, momentum=0.0, decay=0.95, update_clip=update_clip
        )
        optimizer = make_optimizer(config)
        updates, state = small, optimizer.init(small)
        for gradient in [small] * 100 + [large]:
            updates, state = optimizer.update(gradient, state)
        return jax.tree.map(
            lambda leaf: np.asarray(leaf) / -TINY.learning_rate, updates
        )

    bounded, free = last_update(0.5), last_update(None)
    assert (np.abs(free["rare"]) > 4).all()
    signs = np.sign(np.asarray(large["rare"]))
    np.testing.assert_allclose(bounded["rare"], 0.5 * signs, rtol=1e-5)
    np.testing.assert_allclose(np.abs(free["calm"]), 0.7, atol=0.05)
    np.testing.assert_allclose(bounded["calm"], free["calm"] * 0.5 / 0.7, rtol=0.02)
    np.testing.assert_array_less(np.abs(last_update(1.0)["rare"]), 1.001)
    np.testing.assert_array_equal(last_update(1.0)["calm"], free["calm"])


def test_updates_are_bounded_before_momentum_adds_them_up():
    config = dataclasses.replace(TINY, momentum=0.9, update_clip=1.0)
    optimizer, gradient = make_optimizer(config), jnp.ones(4)
    state = optimizer.init(gradient)
    sizes = []
    for _ in range(2):
        updates, state = optimizer.update(gradient, state)
        sizes.append(np.asarray(updates)[0] / -TINY.learning_rate)
    np.testing.assert_allclose(sizes, [1, 1.9], rtol=1e-5)


def test_adam_is_an_option(loose_dtypes):
    config = dataclasses.replace(TINY, optimizer="adam", decay=0.999, update_clip=None)
    reference = optax.adam(config.learning_rate, b1=0.9, b2=0.999)
    gradient = jnp.asarray([0.5, -1.0])
    ours = make_optimizer(config)
    got, _ = ours.update(gradient, ours.init(gradient))
    want, _ = reference.update(gradient, reference.init(gradient))
    np.testing.assert_allclose(np.asarray(got), np.asarray(want))


def lengths(step: int, **fields) -> np.ndarray:
    """Of many sequences that a curriculum gives at a step."""
    config = dataclasses.replace(TINY, curriculum_steps=190, **fields)
    length = curriculum(config, jnp.int32(step))["length"]
    return np.asarray(length.draw(jax.random.key(0), (2000,)))


@pytest.mark.parametrize("name", ["growing", "look_back"])
def test_a_curriculum_grows_to_the_task(name):
    steps = (0, 9, 10, 189, 190, 10_000)
    drawn = [lengths(step, curriculum=name) for step in steps]
    assert [many.max() for many in drawn] == [1, 1, 2, 19, 20, 20]
    assert [many.min() for many in drawn] == [1] * 6
    at_highest = (drawn[-1] == 20).mean()
    expected = 0.9 + 0.1 / 20 if name == "look_back" else 1 / 20
    assert abs(at_highest - expected) < 0.03


def test_curricula_that_do_not_grow():
    assert set(lengths(0, curriculum="uniform")) == set(range(1, 21))
    assert set(lengths(0, curriculum="none")) == {20}


def test_sorted_updates_share_out_what_is_drawn_for_all_of_them():
    # A curriculum that grows on among the four.
    config = dataclasses.replace(TINY, curriculum_steps=20, batch_size=3)
    together = dataclasses.replace(config, sort_updates=4)
    batches = [
        jax.jit(batch_of, static_argnums=0)(together, 0, step) for step in range(8, 12)
    ]
    key = jax.random.fold_in(purpose_key(0, "data"), 8)
    drawn = config.make_task().sample(key, 12, **curriculum(config, jnp.asarray(8)))

    def sequences(batch):
        leaves = [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(batch)]
        each = np.concatenate([*leaves[:2], leaves[2][..., None]], axis=-1)
        return [each[:, b].tobytes() for b in range(each.shape[1])]

    shared = [sequence for batch in batches for sequence in sequences(batch)]
    assert sorted(shared) == sorted(sequences(drawn))
    # No batch reaches into another's lengths, and they do not come in their order.
    spans = [np.asarray(batch.steps.sum(0)) for batch in batches]
    in_order = sorted(spans, key=lambda span: (span.min(), span.max()))
    for shorter, longer in itertools.pairwise(in_order):
        assert shorter.max() <= longer.min()
    orders = set()
    for first in range(0, 80, 4):
        longest = [
            int(
                jax.jit(batch_of, static_argnums=0)(together, 0, step)
                .steps.sum(0)
                .max()
            )
            for step in range(first, first + 4)
        ]
        orders.add(tuple(np.argsort(longest)))
    assert len(orders) > 5


def test_a_config_older_than_a_field_has_its_default_and_needs_a_task():
    fields = json.loads(TINY.to_json())
    assert TrainConfig.from_text(json.dumps(fields)) == TINY
    del fields["momentum"]
    older = TrainConfig.from_text(json.dumps(fields))
    assert older == dataclasses.replace(TINY, momentum=TrainConfig.momentum)
    del fields["task"]
    with pytest.raises(ValueError, match="task: got none"):
        TrainConfig.from_text(json.dumps(fields))


def test_a_task_of_one_difficulty_is_learned_from_its_easiest_on():
    config = preset("default", "priority_sort")
    config = dataclasses.replace(
        config, curriculum="growing", curriculum_steps=100, batch_size=4
    )
    for step, length, answers in ((0, 2, 1), (50, 11, 8), (100, 20, 16)):
        batch = jax.jit(batch_of, static_argnums=0)(config, 0, step)
        assert batch.inputs.shape == (37, 4, 10)
        assert (batch.inputs[:, :, -1].argmax(0) == length).all()
        assert (batch.mask.sum(0) == answers).all()


def test_polishing_lowers_the_learning_rate_to_zero():
    config = dataclasses.replace(TINY, polish_steps=10)
    state = member(init_states(TINY), 0)
    assert learning_rate_factor(config, state) == 1
    solved = state.replace(solved_at=jnp.int32(4))
    rates = [
        float(learning_rate_factor(config, solved.replace(step=jnp.int32(step))))
        for step in (4, 9, 14, 20)
    ]
    np.testing.assert_allclose(rates, [1, 0.5, 0, 0])


@pytest.mark.parametrize(
    ("fraction", "solved_at", "expected"),
    [
        (0.5, NEVER, [1, 1, 0.5, 0]),
        (0.0, NEVER, [1, 1, 1, 0]),
        (0.5, 40, [1, 1, 0.5, 0]),
        (1.0, NEVER, [1, 0.5, 0.25, 0]),
    ],
)
def test_the_learning_rate_falls_before_the_last_update(fraction, solved_at, expected):
    config = dataclasses.replace(
        TINY, steps=60, polish_steps=1000, lr_decay_fraction=fraction
    )
    state = member(init_states(TINY), 0).replace(solved_at=jnp.int32(solved_at))
    rates = [
        float(learning_rate_factor(config, state.replace(step=jnp.int32(step))))
        for step in (0, 30, 45, 60)
    ]
    np.testing.assert_allclose(rates, expected, atol=0.03)


def test_a_solved_run_ends_when_it_is_polished():
    config = dataclasses.replace(TINY, steps=60, polish_steps=10)
    state = init_states(TINY)
    assert last_step(config, state) == 60
    assert last_step(config, state.replace(solved_at=jnp.asarray([20]))) == 30
    assert last_step(config, state.replace(solved_at=jnp.asarray([58]))) == 60


def test_solved_means_that_all_validations_since_were_within_the_tolerance():
    states = init_states(dataclasses.replace(TINY, num_seeds=3))
    for step, wrong in ((20, [0.5, 0, 1]), (40, [0, 0, 1]), (60, [0, 0.001, 1])):
        states = states.replace(step=jnp.full(3, step))
        errors = jnp.asarray(wrong, jnp.float32)
        states = judge(states, errors, jnp.ones(3, bool), tolerance=0.0)
    assert states.solved_at.tolist() == [40, NEVER, NEVER]
    due = jnp.asarray([True, False, True])
    states = states.replace(step=jnp.full(3, 80))
    states = judge(states, jnp.asarray([0.5, 0.5, 0.5]), due, tolerance=0.5)
    assert states.solved_at.tolist() == [40, NEVER, 80]


def test_flags_have_the_defaults_of_the_machine():
    machine = NTMConfig(output_size=8, controller=ntm_jax.lstm(100))
    assert TrainConfig().make_ntm_config() == machine


@pytest.mark.parametrize(
    ("task", "rates"),
    [
        ("copy", (1e-4, 1e-4, 3e-5)),
        ("repeat_copy", (1e-4, 1e-4, 3e-5)),
        ("associative_recall", (1e-4, 1e-4, 1e-4)),
        ("dynamic_ngrams", (3e-5, 3e-5, 1e-4)),
        ("priority_sort", (3e-5, 3e-5, 3e-5)),
    ],
)
def test_the_paper_s_preset_has_the_paper_s_settings(task, rates):
    configs = (
        preset("paper", task, controller="feed_forward"),
        preset("paper", task, controller="lstm"),
        preset("paper", task, model="lstm"),
    )
    for config, rate in zip(configs, rates):
        assert config.learning_rate == rate
        assert (config.optimizer, config.momentum) == ("graves_rmsprop", 0.9)
        assert (config.clip, config.clip_at) == ("value", 10.0)
        assert (config.batch_size, config.lr_decay_fraction) == (1, 0)
        assert (config.num_slots, config.slot_size) == (128, 20)
        validated = config.steps // config.validate_every * config.validation_sequences
        assert validated <= config.steps * config.batch_size


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_configs(name):
    for task in tasks.names() if name == "default" else tasks.names()[:5]:
        config = preset(name, task)
        assert config.task == task
        assert TrainConfig.from_text(config.to_json()) == config
