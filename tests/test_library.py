"""`train` as a library: the same runs as by command, and the pieces one by one."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import TINY, events_of, flags, listing, short_of_time, undrawn  # noqa: F401 (fixtures)

import tasks
import train
from ntm_jax.tasks import outside
from ntm_jax.tensors import by_path
from train import arguments, cli, evaluate, learn, library, main, ship
from train.callbacks import numbers_of
from train.runs import pretrained
from train.runs.folder import RunFolder
from train.training import measure
from train.training.learned import paths_of

ROOT = Path(__file__).parent.parent
SHORT = dataclasses.replace(
    TINY, steps=8, steps_per_call=4, validate_every=4, polish_steps=4
)


@pytest.fixture(autouse=True)
def loose_dtypes():
    """Optax's Adam mixes dtypes itself."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@dataclasses.dataclass(frozen=True, kw_only=True)
class Echo(tasks.Task):
    """The bits of a step again."""

    width: int = 2
    steps: ClassVar[int] = 3

    @property
    def inputs(self):
        return tasks.Vectors(self.width)

    @property
    def targets(self):
        return tasks.Bits(self.width)

    def make(self, key, batch_size, ranges):
        shape = self.steps, batch_size, self.width
        bits = jax.random.bernoulli(key, shape=shape).astype(jnp.float32)
        return tasks.Batch(bits, bits, jnp.ones(shape[:2], bool))


def assert_same(one, other):
    one, other = jax.device_get((one, other))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for got, want in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
        np.testing.assert_array_equal(got, want)


def without_times(metrics):
    timed = ("seconds", "sequences_per_second")
    return [
        {name: value for name, value in entry.items() if name not in timed}
        for entry in metrics
    ]


@pytest.fixture(scope="module")
def by_command(tmp_path_factory):
    """The folder of a run by command."""
    workdir = tmp_path_factory.mktemp("runs") / "command"
    assert main.main([*flags(SHORT), f"--workdir={workdir}", "--quiet"]) == 0
    return workdir


@pytest.fixture(scope="module")
def fitted():
    """The same run, by function, which leaves nothing."""
    return train.fit("copy", SHORT)


@pytest.mark.slow
def test_fit_gives_what_the_command_gives(by_command, fitted, tmp_path):
    run = RunFolder.open(by_command)
    kept = train.fit(tasks.Copy(), SHORT, workdir=tmp_path / "run")
    assert kept.config == fitted.config == run.config == SHORT
    for result in (fitted, kept):
        assert_same(result.population, run.restore().params)
        assert without_times(result.metrics) == without_times(run.metrics())
        assert result.evaluation == run.evaluation()
        assert result.solved is False
    assert_same(fitted.params, jax.tree.map(lambda leaf: leaf[0], fitted.population))
    assert fitted.ntm_config == SHORT.make_ntm_config()
    opened = RunFolder.open(tmp_path / "run")
    assert len(opened.answers()) == len(run.answers())
    before = listing(tmp_path)
    again = train.fit("copy", SHORT, workdir=str(tmp_path / "run"))  # it is complete
    assert_same(again.population, kept.population)
    assert listing(tmp_path) == before
    assert main.main([*flags(SHORT), f"--workdir={tmp_path / 'run'}", "--quiet"]) == 0


@pytest.mark.slow
def test_fit_prints_nothing_unless_asked_and_leaves_nothing(tmp_path, capfd):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(tmp_path))
        patch.setattr(sys, "argv", ["no", "command"])
        patch.setattr("tempfile.tempdir", None)
        patch.chdir(tmp_path)
        settings = dict(jax.config.values)
        train.fit("copy", SHORT)
        assert capfd.readouterr() == ("", "")
        train.fit("copy", SHORT, verbose=True)
    assert "Training on copy, seed 0" in capfd.readouterr().out
    assert listing(tmp_path) == {}
    assert dict(jax.config.values) == settings


def test_the_config_is_that_of_the_command_line():
    for task in tasks.names():
        assert train.config_for(task, seed=3) == parsed(f"--task={task}", "--seed=3")
    pulses = train.config_for("repeat_copy", repeat_code="pulses")
    assert pulses == parsed("--task=repeat_copy", "--repeat_code=pulses")
    assert train.config_for(tasks.RepeatCopy(repeat_code="pulses")) == pulses
    assert train.config_for("copy", preset="paper", controller="feed_forward") == (
        parsed("--preset=paper", "--controller=feed_forward")
    )
    assert train.config_for("copy", model="lstm") == parsed("--model=lstm")


def parsed(*words):
    return cli.parse_from_preset(main.Flags, words, prog="train.main").config


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_end(fitted, tmp_path):
    def stop(report):
        if report.step == 8:
            raise RuntimeError("the callback's own")

    with pytest.raises(RuntimeError, match="the callback's own"):
        train.fit("copy", SHORT, workdir=tmp_path / "run", callbacks=[stop])
    assert not (tmp_path / "run" / "evaluation.json").exists()
    steps = []
    resumed = train.fit(
        "copy",
        SHORT,
        workdir=tmp_path / "run",
        callbacks=[lambda report: steps.append(report.step)],
    )
    assert steps == [8]
    assert_same(resumed.population, fitted.population)
    assert without_times(resumed.metrics) == without_times(fitted.metrics)


@pytest.mark.slow
def test_a_folder_with_another_run_is_refused(by_command):
    before = listing(by_command)
    other = dataclasses.replace(SHORT, learning_rate=1e-3)
    with pytest.raises(ValueError, match=r"learning_rate: got 0\.001, but the run"):
        train.fit("copy", other, workdir=by_command)
    with pytest.raises(ValueError, match="task: got 'repeat_copy', but the run in"):
        train.fit("repeat_copy", SHORT, workdir=by_command)
    assert listing(by_command) == before


@pytest.mark.slow
def test_callbacks_are_given_all_that_is_recorded(fitted):
    reports = []
    result = train.fit(
        "copy", dataclasses.replace(SHORT, num_seeds=2), callbacks=[reports.append]
    )
    assert [report.step for report in reports] == [4, 8]
    reported = [entry for report in reports for entry in report.entries]
    assert reported == result.metrics
    kinds = {(entry["kind"], entry["seed"]) for entry in reports[0].entries}
    assert kinds == {
        (kind, seed) for kind in ("train", "health", "validation") for seed in (0, 1)
    }
    assert reports[0].config == result.config
    assert_same(reports[-1].params, result.population)
    first, last = (jax.tree.leaves(report.params) for report in reports)
    assert any((a != b).any() for a, b in zip(first, last))
    assert_same(train.member(reports[-1].params, 1), train.member(result.population, 1))


@pytest.mark.slow
def test_metrics_of_a_resumed_run_are_in_a_file_once(tmp_path):
    path = tmp_path / "deep" / "metrics.jsonl"

    def stop(report):
        if report.step == 8:
            raise KeyboardInterrupt

    lines = train.JSONLines(path)
    with pytest.raises(KeyboardInterrupt):
        train.fit("copy", SHORT, workdir=tmp_path / "run", callbacks=[lines, stop])
    lines = train.JSONLines(path)
    result = train.fit("copy", SHORT, workdir=tmp_path / "run", callbacks=[lines])
    written = [json.loads(line) for line in path.read_text().splitlines()]
    assert written == result.metrics


@pytest.mark.parametrize("text", ["hello\n", '{"a": 1}\n', "[1]\n"])
def test_a_file_of_something_else_is_not_taken_for_metrics(text, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    report = train.Report(step=2, entries=[], params={}, config=SHORT)
    with pytest.raises(ValueError, match=r"path: got .*notes.txt, which has other li"):
        train.JSONLines(path)(report)
    assert path.read_text() == text


@pytest.mark.slow
def test_tensorboard_has_the_numbers(tmp_path):
    result = train.fit("copy", SHORT, callbacks=[train.TensorBoard(tmp_path)])
    found = {(step, name) for step, _, name in events_of(tmp_path / "seed_0")}
    assert found == {
        (entry["step"], name) for entry in result.metrics for name in numbers_of(entry)
    }


class StandIn:
    """What `train.WandB` calls of the package wandb."""

    def __init__(self):
        self.logged, self.finished = {}, False

    def init(self, **arguments):
        self.arguments = arguments
        return self

    def log(self, numbers, step):
        self.logged[step] = numbers

    def finish(self):
        self.finished = True


@pytest.mark.slow
def test_weights_and_biases_gets_the_numbers(monkeypatch):
    stand_in = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    config = dataclasses.replace(SHORT, num_seeds=2)
    callback = train.WandB(project="ntm", mode="offline")
    result = train.fit("copy", config, callbacks=[callback])
    assert stand_in.arguments["project"] == "ntm"
    assert stand_in.arguments["config"] == config.to_dict()
    assert sorted(stand_in.logged) == [4, 8]
    entry = result.metrics[0]
    name = f"seed_{entry['seed']}/train/loss_bits"
    assert stand_in.logged[4][name] == entry["loss_bits"]
    assert stand_in.finished


@pytest.mark.slow
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    monkeypatch.setenv("WANDB_SILENT", "true")
    callback = train.WandB(project="ntm", mode="offline", dir=str(tmp_path))
    train.fit("copy", SHORT, callbacks=[callback])
    (run,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert run.stat().st_size > 0


def test_without_its_package_weights_and_biases_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'ntm_jax\[wandb\]'"):
        train.WandB()


@pytest.mark.slow
def test_a_callback_is_closed_after_an_error():
    class Failing:
        closed = False

        def __call__(self, report):
            raise ZeroDivisionError

        def close(self):
            self.closed = True

    failing = Failing()
    with pytest.raises(ZeroDivisionError):
        train.fit("copy", SHORT, callbacks=[failing])
    assert failing.closed


@pytest.mark.rare
def test_an_optimizer_by_name_is_that_of_the_flag():
    adam = dataclasses.replace(SHORT, optimizer="adam")
    named = train.fit("copy", SHORT, optimizer="adam")
    assert named.config == adam


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimizer",
    [optax.sgd(0.1), pytest.param(optax.lion(1e-3), marks=pytest.mark.rare)],
)
def test_an_optimizer_of_ones_own(optimizer, tmp_path, monkeypatch, capsys):
    workdir = tmp_path / "run"
    whole = train.fit("copy", SHORT, optimizer=optimizer)
    assert (whole.config.optimizer, whole.config.clip) == ("own", "none")

    def stop(report):
        if report.step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.fit("copy", SHORT, workdir=workdir, optimizer=optimizer, callbacks=[stop])
    assert json.loads((workdir / "config.json").read_text())["optimizer"] == "own"
    before = listing(workdir)
    for words in ([], ["--optimizer=own", "--clip=none", "--update_clip=None"]):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="2"):
            main.main([*flags(SHORT), *words, f"--workdir={workdir}"])
        told = capsys.readouterr().err
        assert "optimizer: got " in told
    assert "train.fit(..., optimizer=...)" in told
    assert listing(workdir) == before
    resumed = train.fit("copy", SHORT, workdir=workdir, optimizer=optimizer)
    assert_same(resumed.population, whole.population)
    assert evaluate.main([f"--workdir={workdir}", "--num_sequences=2"]) == 0
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    out = tmp_path / "mine.safetensors"
    assert ship.main([f"--workdir={workdir}", f"--out={out}"]) == 0
    assert_same(pretrained.load(out)[0], resumed.params)


@pytest.mark.slow
def test_an_optimizer_of_ones_own_does_what_optax_does():
    config = dataclasses.replace(SHORT, steps=4)
    optimizer = optax.sgd(0.1)
    state = train.member(train.init_states(config, optimizer), 0)
    params, opt_state = state.params, optimizer.init(state.params)
    update = jax.jit(train.update, static_argnames=("config", "optimizer"))
    gradient = jax.jit(jax.grad(train.loss), static_argnums=2)
    for step in range(2):
        batch = train.batch_of(config, 0, step)
        state, metrics = update(state, batch, config=config, optimizer=optimizer)
        steps, opt_state = optimizer.update(gradient(params, batch, config), opt_state)
        params = optax.apply_updates(params, steps)
        assert metrics.loss > 0
    for got, want in zip(jax.tree.leaves(state.params), jax.tree.leaves(params)):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_another_optimizer_than_before_is_an_error(tmp_path):
    def stop(report):
        if report.step == 8:
            raise KeyboardInterrupt

    workdir = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train.fit(
            "copy", SHORT, workdir=workdir, optimizer=optax.adam(1), callbacks=[stop]
        )
    with pytest.raises(ValueError, match="optimizer: got one with other state than"):
        train.fit("copy", SHORT, workdir=workdir, optimizer=optax.sgd(1.0))


@pytest.mark.slow
def test_the_pieces_make_the_run(fitted, tmp_path):
    states, losses = train.init_states(SHORT), []
    checkpoints = train.Checkpoints(str(tmp_path))
    for _ in range(2):
        states, metrics, _ = train.updates(states, config=SHORT, num_steps=4)
        losses.append(float(metrics.loss.mean()))
        checkpoints.save(int(states.step[0]), states)
    assert_same(states.params, fitted.population)
    reported = [e["loss_bits"] for e in fitted.metrics if e["kind"] == "train"]
    np.testing.assert_allclose(losses, reported, rtol=1e-5)
    step = checkpoints.latest_step()
    assert step == 8
    assert_same(checkpoints.restore(step, states), states)


@pytest.mark.slow
def test_one_update_is_one_of_many():
    states, alone = (train.init_states(SHORT) for _ in range(2))
    together, metrics, _ = train.updates(states, config=SHORT, num_steps=1)
    one = jax.jit(train.update, static_argnames="config")
    batch = train.batch_of(SHORT, 0, 0)
    state, of_one = one(train.member(alone, 0), batch, config=SHORT)
    of_many = jax.tree.map(lambda values: values[0, 0], metrics)
    want = jax.tree.leaves((train.member(together.params, 0), of_many))
    for got, wanted in zip(jax.tree.leaves((state.params, of_one)), want):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_evaluation_at_the_end_has_as_many_sequences_as_asked(monkeypatch):
    monkeypatch.setattr(learn, "evaluate", measure.evaluate)
    config = dataclasses.replace(SHORT, evaluation_sequences=3)
    result = train.fit("copy", config)
    assert {entry["num_sequences"] for entry in result.evaluation} == {3}


@pytest.mark.slow
def test_evaluate_is_a_function_and_a_command(fitted, capsys):
    (entry,) = train.evaluate(
        fitted.params, "copy", fitted.config, length=3, num_sequences=4
    )
    assert (entry["length"], entry["num_sequences"], entry["seed"]) == (3, 4, 0)
    each = evaluate(fitted.params, tasks.Copy(), fitted.config, num_sequences=2)
    assert [one["length"] for one in each] == [20, 120]
    shared = {*each[0]} & {*fitted.evaluation[0]}
    assert {name: each[0][name] for name in shared} == {
        name: fitted.evaluation[0][name] for name in shared
    }
    assert train.evaluate is evaluate
    assert evaluate.main(["--pretrained=copy", "--length=2", "--num_sequences=2"]) == 0
    assert json.loads(capsys.readouterr().out)["length"] == 2


def test_names_are_there_without_their_modules():
    program = (
        "import sys, train; assert 'jax' not in sys.modules; "
        "assert set(train.__all__) <= set(dir(train)); "
        "[getattr(train, name) for name in train.__all__]; "
        "from ntm_jax import train as same; assert same is train; "
        "import train.evaluate; assert callable(train.evaluate)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        train.nothing  # noqa: B018


# Tasks that are given as classes.


@pytest.mark.slow
def test_classes_and_instances(tmp_path):
    assert train.config_for(Echo(width=3)).make_task() == Echo(width=3)
    result = train.fit(Echo(width=3), SHORT, workdir=tmp_path / "run")
    assert result.config.task == outside.place_of(Echo)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["task"] == (
        f"{Path(__file__).resolve()}:Echo"
    )
    assert evaluate.main([f"--workdir={tmp_path / 'run'}", "--num_sequences=2"]) == 0
    again = train.fit(Echo, result.config, workdir=tmp_path / "run")
    assert_same(again.population, result.population)  # the width stays that of config


def local(length: int) -> type[tasks.Task]:
    @dataclasses.dataclass(frozen=True)
    class Local(Echo):
        steps: ClassVar[int] = length

    return Local


@pytest.mark.rare
def test_a_class_that_is_defined_anew_is_another_task():
    results = [train.fit(local(length), SHORT, callbacks=[]) for length in (2, 5, 2)]
    first, second, third = (result.metrics[0]["loss_bits"] for result in results)
    assert first == third != second
    made = [vars(type(result.config.make_task()))["steps"] for result in results]
    assert made == [2, 5, 2]
    assert results[0].config != results[2].config
    assert results[0].config.task_name() == "local"
    one = train.evaluate(
        results[0].params, local(9), results[0].config, num_sequences=1
    )
    assert one[0]["task"].endswith("local.<locals>.Local")


@pytest.mark.rare
def test_a_local_class_has_a_folder_that_only_this_process_opens(tmp_path):
    train.fit(local(2), SHORT, workdir=tmp_path / "run")
    assert evaluate.main([f"--workdir={tmp_path / 'run'}", "--num_sequences=2"]) == 0
    again = train.fit(local(2), SHORT, workdir=tmp_path / "run")
    assert again.evaluation
    text = (tmp_path / "run" / "config.json").read_text()
    elsewhere = subprocess.run(
        [sys.executable, "-m", "train.evaluate", f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
    )
    assert elsewhere.returncode == 2
    assert "put the class at the top level of a file" in elsewhere.stderr
    assert "<locals>" in text


SCRIPT = """
import sys
{cell}
print("ran")
from ntm_jax import train
config = train.config_for(Parity, steps=2, steps_per_call=2, validate_every=2,
    polish_steps=2, checkpoint_every=2, num_slots=4, slot_size=4, controller_units=4,
    batch_size=2, validation_sequences=2)
result = train.fit(Parity(longest=3), config, workdir=sys.argv[1])
print(result.config.task)
assert type(train.config_for(result.config.task).make_task()) is Parity
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "as_script", [pytest.param(True, marks=pytest.mark.rare), False]
)
def test_a_class_of_a_script_and_of_a_notebook(as_script, tmp_path):
    cell = (ROOT / "docs" / "examples" / "parity.py").read_text()
    script, workdir = tmp_path / "script.py", tmp_path / "run"
    script.write_text(SCRIPT.format(cell=cell))
    how = [str(script)] if as_script else ["-c", script.read_text()]
    done = subprocess.run(
        [sys.executable, *how, str(workdir)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    where = str(script) if as_script else "__main__"
    assert done.stdout.splitlines() == ["ran", f"{where}:Parity"]
    assert json.loads((workdir / "config.json").read_text())["task"] == (
        f"{where}:Parity"
    )


BAD = {
    "task": ({"task": 3}, TypeError, "task: got 3, want a name such as 'copy'"),
    "no task": ({"task": "sudoku"}, ValueError, "task: got 'sudoku', want one of copy"),
    "no file": ({"task": "no.py:Task"}, ValueError, "there is no file"),
    "config": ({"config": {"steps": 3}}, TypeError, "config: got .*want that of"),
    "workdir": ({"workdir": 3}, TypeError, "workdir: got 3, want a path or None"),
    "optimizer": ({"optimizer": optax.adam}, TypeError, "optimizer: got .*optax.adam"),
    "name": ({"optimizer": "adamw"}, ValueError, "optimizer: got 'adamw', want one of"),
    "callbacks": ({"callbacks": [3]}, TypeError, "callbacks: got 3, want functions"),
    "no callbacks": ({"callbacks": None}, TypeError, "callbacks: got None, want func"),
    "one callback": ({"callbacks": print}, TypeError, "callbacks: got .* in a list"),
    "callback's class": (
        {"callbacks": [train.JSONLines]},
        TypeError,
        "callbacks: got .*JSONLines.* in a list",
    ),
    "no params": ({"params": 3}, TypeError, "params: got int, want the dict of one"),
    "init_from": (
        {"config": dataclasses.replace(SHORT, init_from="sudoku")},
        ValueError,
        "init_from: got 'sudoku', want one of .*copy",
    ),
    "learn": (
        {"config": dataclasses.replace(SHORT, learn="outptu")},
        ValueError,
        "learn: got 'outptu', which no parameter matches, want one of controller/",
    ),
    "params": ({"params": {"a": np.ones(3)}}, ValueError, "init_from: .*no array fits"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_input_is_named_before_anything_is_written(case, tmp_path, capfd):
    changed, kind, message = BAD[case]
    given = {"task": "copy", "config": SHORT, "workdir": tmp_path / "run", **changed}
    with pytest.raises(kind, match=message):
        train.fit(**given)
    assert listing(tmp_path) == {}
    assert not (tmp_path / "run").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": 3}, "step: got a setting that there is not; did you mean steps?"),
        ({"num_bitz": 3}, "num_bitz: got a setting .* did you mean num_bits"),
        ({"task_fields": 3}, "task_fields: got 3, want a dict"),
        ({"model_fields": 3}, "model_fields: got 3, want a dict"),
        ({"steps": 0}, "steps: got 0, want an integer >= 1"),
        ({"num_bits": "8"}, "task.num_bits: got '8', want int"),
        ({"preset": "mine"}, "preset: got 'mine', want one of default, paper"),
        ({"learn": "("}, r"learn: got '\(', want a regular expression"),
        ({"init_from": 3}, "init_from: got 3, want the name of a machine"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        train.config_for("copy", **settings)


@pytest.mark.slow
def test_parameters_that_do_not_fit_are_named(fitted):
    with pytest.raises(ValueError, match=r"params: got \[1, 8\] for 'controller/hf/bi"):
        train.evaluate(fitted.population, "copy", fitted.config)
    with pytest.raises(ValueError, match=r"params: got none for "):
        train.evaluate({"a": 3}, "copy", fitted.config)
    with pytest.raises(ValueError, match=r"length: got 0, want"):
        train.evaluate(fitted.params, "copy", fitted.config, length=0)


def test_a_task_by_name_has_the_fields_of_the_config_and_another_its_own():
    config = train.config_for("copy", num_bits=4)
    assert arguments.with_task("copy", config) == config
    assert arguments.with_task(tasks.Copy, config) == config
    assert arguments.with_task(tasks.Copy(), config).task_fields == {}
    assert arguments.with_task("priority_sort", config).task_fields == {}


def test_evaluate_passes_on_what_it_is_asked(monkeypatch):
    asked: list[dict[str, Any]] = []

    def measured(population, config, **what):
        asked.append(what)
        return [{}]

    monkeypatch.setattr(library, "measured", measured)
    params = train.member(train.init_states(SHORT).params, 0)
    for seed in (0, 1):
        result = train.evaluate(
            params, "copy", SHORT, num_sequences=3, num_slots=9, seed=seed, length=4
        )
        assert result == [{"seed": seed}]
    one, other = (jax.random.key_data(what.pop("keys")).tolist() for what in asked)
    assert one != other
    wanted = {"num_sequences": 3, "num_slots": 9, "split": "evaluation", "length": 4}
    assert asked == [wanted, wanted]


class Bare(tasks.Task):
    """Has a number that is no field."""

    input_size = output_size = 2  # type: ignore[assignment]

    def __init__(self, steps):
        self.steps = steps

    def make(self, key, batch_size, ranges):
        raise NotImplementedError


def test_an_instance_whose_fields_are_not_known_is_refused():
    with pytest.raises(TypeError, match="whose class is no dataclass"):
        train.config_for(Bare(3))


def test_a_class_without_a_file_is_pickled_as_its_place():
    place = outside.place_of(local(3))
    assert pickle.loads(pickle.dumps(place)) == str(place)
    assert place != str(place)
    assert str(place) != place
    assert outside.absolute(str(place)) == place


def test_learn_paths_are_those_of_files():
    params = train.member(train.init_states(SHORT).params, 0)
    assert sorted(paths_of(params)) == sorted(by_path(params))
