"""Models of users' own and the baselines: by command, from a file, what is refused."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TINY, flags, listing, short_of_time, undrawn  # noqa: F401 (fixtures)

from train import cli, evaluate, main, ship, study, visualize
from train.models import registry
from train.runs import pretrained
from train.runs.config import TrainConfig
from train.runs.folder import RunFolder
from train.runs.own_fields import Fields
from train.runs.presets import command, preset

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
# Without the sizes of the machine, which the models here do not have.
QUICK = dataclasses.replace(
    TINY,
    steps=12,
    validate_every=4,
    polish_steps=4,
    num_slots=TrainConfig.num_slots,
    slot_size=TrainConfig.slot_size,
    controller_units=TrainConfig.controller_units,
)
OURS = {
    "gru": ["--controller_units=4", "--controller_layers=2"],
    "stack_rnn": ["--model.units=4", "--model.stack_size=3"],
    "tape_rnn": ["--model.units=4", "--model.moves", "0", "2"],
}
THEIRS = {
    "leaky.py:Leaky": ["--model.units=4"],
    "window.py:Window": ["--model.units=4", "--model.width=3"],
    "flax.linen:GRUCell": ["--model.features=4"],
    "flax.linen:OptimizedLSTMCell": ["--model.features=4"],
    "flax.nnx:GRUCell": ["--model.hidden_features=4"],
    "flax.nnx:LSTMCell": ["--model.hidden_features=4"],
}
ALL = OURS | THEIRS


@pytest.fixture(autouse=True)
def loose_ranks():
    """Flax's cells add a bias to a batch."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def where(tmp_path):
    """The flags of a model, of which an example is copied."""

    def of(name: str) -> list[str]:
        file, colon, of_class = name.partition(":")
        if file.endswith(".py"):
            name = f"{shutil.copy(EXAMPLES / file, tmp_path / file)}:{of_class}"
        return [f"--model={name}", *ALL[f"{file}{colon}{of_class}"]]

    return of


def parsed(*words: str) -> TrainConfig:
    return cli.parse_from_preset(main.Flags, words, prog="train.main").config


def params_of(run: Path):
    return jax.device_get(RunFolder.open(run).restore())


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_a_model_makes_logits_and_gradients(name, where):
    config = parsed("--task=copy", *where(name))
    task, model = config.make_task(), config.make_model()
    params = model.init(jax.random.key(0), task.input_size)
    inputs = jax.random.normal(jax.random.key(1), (5, 3, task.input_size))
    logits = jax.jit(model.logits)
    gradient = jax.grad(lambda p: jnp.sum(logits(p, inputs) ** 2))(params)
    assert logits(params, inputs).shape == (5, 3, task.output_size)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient))
    # What comes later cannot change what came before.
    later = inputs.at[3:].set(0)
    np.testing.assert_allclose(
        logits(params, later)[:3], logits(params, inputs)[:3], atol=1e-6
    )


@pytest.mark.parametrize("name", ALL)
def test_the_fields_of_a_model_are_flags_and_stand_in_its_config(name, where):
    config = parsed("--task=copy", *where(name), "--seed=3")
    assert TrainConfig.from_text(config.to_json()) == config
    assert parsed(*command(config).split()[3:]) == config
    kept = json.loads(config.to_json())["model_fields"]
    assert kept.keys() >= config.model_fields.keys()
    assert ("units" in kept) == (name not in ("gru", *[*THEIRS][2:]))
    assert hash(config) != hash(preset("default", "copy"))


MARKS = dict.fromkeys(["leaky.py:Leaky", "flax.nnx:LSTMCell"], pytest.mark.slow)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=MARKS.get(name, pytest.mark.rare)) for name in ALL],
)
def test_a_model_is_trained_evaluated_killed_and_resumed(
    name, where, tmp_path, monkeypatch, capsys
):
    words = [*flags(QUICK), *where(name), "--num_seeds=2"]
    assert main.main([*words, f"--workdir={tmp_path / 'whole'}"]) == 0
    broken = [*words, f"--workdir={tmp_path / 'broken'}"]
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save", stop_after(RunFolder.save))
        assert main.main(broken) == 130
    assert main.main(broken) == 0
    whole, resumed = params_of(tmp_path / "whole"), params_of(tmp_path / "broken")
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    capsys.readouterr()
    asked = [f"--workdir={tmp_path / 'whole'}", "--num_sequences=2", "--length=25"]
    assert evaluate.main(asked) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["length"] == 25
    assert "num_slots" not in result
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([*asked, "--num_slots=9"])
    assert re.search(r"got 9, but .* has no memory", capsys.readouterr().err)


def stop_after(save):
    """Saves a checkpoint, and then is interrupted."""

    def stopped(run, states):
        save(run, states)
        raise KeyboardInterrupt

    return stopped


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("leaky.py:Leaky", marks=pytest.mark.rare),
        pytest.param("flax.nnx:GRUCell", marks=pytest.mark.rare),
        "stack_rnn",
    ],
)
def test_a_model_is_drawn_shipped_and_studied(
    name, where, tmp_path, monkeypatch, capsys
):
    words, run = [*flags(QUICK), *where(name)], tmp_path / "run"
    assert main.main([*words, f"--workdir={run}"]) == 0
    assert visualize.main([f"--workdir={run}"]) == 0
    drawn = {path.name for path in (run / "figures").iterdir()}
    assert {"answer_20.png", "learning.gif"} <= drawn
    assert "memory_20.gif" not in drawn
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    assert ship.main([f"--workdir={run}", "--name=mine"]) == 0
    again = ["--pretrained=mine", "--num_sequences=2"]
    capsys.readouterr()
    if name != "stack_rnn":
        with pytest.raises(SystemExit, match="2"):
            evaluate.main(again)
        assert "pass --model=path/to/file.py:MyModel" in capsys.readouterr().err
        again.append(words[len(flags(QUICK))])
    assert evaluate.main(again) == 0
    chosen = ["--choices", "preset", "learning_rate=1e-2", "--num_seeds=1"]
    assert study.main([*words, *chosen, f"--workdir={tmp_path / 'study'}"]) == 0


def test_tokens_are_embedded_for_a_model(where):
    place = f"{EXAMPLES / 'addition.py'}:Addition"
    config = parsed(f"--task={place}", *where("leaky.py:Leaky"), "--embedding_size=5")
    model, tokens = config.make_model(), jnp.zeros((4, 2), int)
    params = model.init(jax.random.key(0), config.make_task().input_size)
    assert params["model"]["cell"]["Dense_0"]["kernel"].shape == (5, 4)
    assert model.logits(params, tokens).shape == (4, 2, config.make_task().output_size)


def test_every_model_has_a_preset_for_every_task_and_a_name():
    for name in registry.names():
        for task in ("copy", "associative_recall", "reverse_string"):
            config = preset("default", task, name)
            assert parsed(*command(config).split()[3:]) == config
        assert registry.title(name) in ("NTM", "LSTM", "GRU", "stack RNN", "Tape-RNN")
    gru, lstm = (preset("default", "copy", name) for name in ("gru", "lstm"))
    assert gru == dataclasses.replace(lstm, model="gru")
    with pytest.raises(ValueError, match="preset: got 'paper', which has no tape_rnn"):
        preset("paper", "copy", "tape_rnn")


@pytest.mark.parametrize("name", ["leaky", "window"])
def test_the_page_shows_the_example(name):
    page = (EXAMPLES.parent / "your_model.md").read_text()
    text = (EXAMPLES / f"{name}.py").read_text()
    assert f"```python\n{text}```" in page
    assert len(text.splitlines()) <= 40


HEAD = """
import dataclasses
import flax.linen as nn, jax, jax.numpy as jnp
from flax import nnx
from train.training.model import Model
"""
CELL = (
    HEAD
    + """
class Mine(nn.RNNCellBase):
    {field}
    @nn.compact
    def __call__(self, carry, x):
        {line}
        h = nn.Dense(2)(x)
        return {result}
    def initialize_carry(self, rng, input_shape):
        return {carry}
"""
)
CELL_FIELDS = {
    "field": "units: int = 2",
    "line": "pass",
    "result": "h, h",
    "carry": "jnp.zeros((input_shape[0], 2))",
}
WHOLE = (
    HEAD
    + """
@dataclasses.dataclass(frozen={frozen})
class Mine({base}):
    {field}
    def init(self, key, input_size):
        return {params}
    def logits(self, params, inputs, mask=None):
        {line}
        return {result}
"""
)
WHOLE_FIELDS = {
    "frozen": "True",
    "base": "Model",
    "field": "output_size: int",
    "params": "{'w': jnp.zeros((input_size, self.output_size))}",
    "line": "pass",
    "result": "inputs @ params['w']",
}
NNX = (
    HEAD
    + """
class Mine(nnx.RNNCellBase):
    def __init__(self, in_features: int, {arguments}, rngs: nnx.Rngs):
        self.dense = nnx.Linear(in_features, 2, rngs=rngs)
        {line}
    def __call__(self, carry, x):
        return carry, self.dense(x)
    def initialize_carry(self, input_shape, rngs=None, carry_init=None):
        return jnp.zeros(input_shape)
"""
)
NNX_FIELDS = {"arguments": "*", "line": "pass"}


def cell(**changed: str) -> str:
    return CELL.format(**CELL_FIELDS | changed)


def whole(**changed: str) -> str:
    return WHOLE.format(**WHOLE_FIELDS | changed)


def of_nnx(**changed: str) -> str:
    return NNX.format(**NNX_FIELDS | changed)


# The text of the file, the flags, what is told.
BAD = {
    "no file": (cell(), "--model=other.py:Mine", "model: got ", "but there is no file"),
    "no module": (cell(), "--model=nowhere.cells:Mine", "there is no module nowhere"),
    "no name": (cell(), "--model=mine.py:Yours", "want mine.py:Mine"),
    "no cell": (cell(), "--model=mine.py:nn", "model: got 'mine.py:nn', want mine.py"),
    "no place": (
        cell(),
        "--model=rnn",
        "model: got 'rnn', want one of ntm, lstm, gru, ",
    ),
    "no class": ("x = 3", "", "a class that derives from train.Model, flax.linen.RNN"),
    "import": ("1 / 0", "", "model: got ", "whose import raises ZeroDivisionError"),
    "raises": (
        cell(line="1 / 0"),
        "",
        "model: Mine raises ZeroDivisionError",
        "line 11",
    ),
    "type": (cell(line="x + 'a'"), "", "model: Mine raises TypeError", "line 11"),
    "carry": (
        cell(result="h[:, :1], h"),
        "",
        "Mine takes the carry float32[1,2] and returns float32[1,1], want the same",
    ),
    "carry's tree": (cell(result="(h, h), h"), "", "returns (float32[1,2], float32["),
    "carry's dtype": (
        cell(result="h.astype('bfloat16'), h"),
        "",
        "returns bfloat16[1,2]",
    ),
    "carry's start": (cell(carry="1 / 0"), "", "Mine raises ZeroDivisionError"),
    "output": (cell(result="h, h[0]"), "", "returns the output float32[2] for the"),
    "output's dtype": (
        cell(result="h, h.astype(int)"),
        "",
        "returns the output int32[",
    ),
    "no pair": (cell(result="h"), "", "want a carry and an output, (carry, y)"),
    "variables": (
        cell(line="self.variable('seen', 'n', lambda: 0)"),
        "",
        "model: got Mine with the variables seen, want one that has only params",
    ),
    "no flag": (cell(), "--model.size=3", "size"),
    "no number": (cell(), "--model.units=many", "invalid"),
    "default": (cell(field="units: int = 'a'"), "", "model.units: got 'a', want int"),
    "missing": (cell(field="units: int"), "", "model.units"),
    "no default": (
        cell(field="f: nn.Module"),
        "",
        "model.f: got a field of type Module",
    ),
    "slots": (
        cell(),
        "--num_slots=9",
        "num_slots: got 9, which Mine does not have; "
        "leave out --num_slots; its own flags are --model.units",
    ),
    "controller": (
        cell(),
        "--controller=gru",
        "controller: got 'gru', which Mine does",
    ),
    "units": (cell(), "--controller_units=9", "controller_units: got 9, which Mine"),
    "noise": (cell(), "--carry_noise=0.1", "carry_noise: got 0.1, want 0 with model"),
    "ours": (
        "",
        "--model=tape_rnn --num_read_heads=2",
        "which a Tape-RNN does not have",
    ),
    "gru": ("", "--model=gru --slot_size=3", "slot_size: got 3, which a GRU does not"),
    "stack": (
        "",
        "--model=stack_rnn --model.stack_size=1",
        "stack_size: got 1, want an",
    ),
    "tape": (
        "",
        "--model=tape_rnn --model.moves",
        "moves: got none, want at least one",
    ),
    "paper": (
        "",
        "--model=gru --preset=paper",
        "preset: got 'paper', which has no gru",
    ),
    "output_size": (whole(field="n: int = 3"), "", "which lacks output_size, want the"),
    "frozen": (
        whole(frozen="False"),
        "",
        "which is not frozen; write @dataclasses.",
        "frozen",
    ),
    "abstract": (whole().replace("def logits", "def other"), "", "which lacks logits"),
    "width": (whole(result="inputs"), "", "makes logits [3, 2, 9], want [3, 2, 8]"),
    "no logits": (whole(result="3"), "", "Mine makes logits of int32, want floats"),
    "int logits": (whole(result="(inputs @ params['w']).astype(int)"), "", "of int32"),
    "no params": (
        whole(params="{}", result="inputs[..., :8]"),
        "",
        "params: Mine has no",
    ),
    "int params": (
        whole(params="{'w': jnp.zeros((9, 8), int)}"),
        "",
        "makes int32 in w, want floats",
    ),
    "mask": (
        whole().replace("inputs, mask=None", "inputs"),
        "",
        "Mine raises TypeError",
        "mask",
    ),
    "traced": (whole(line="int(inputs[0, 0, 0])"), "", "Mine raises Concretization"),
    "nnx": (of_nnx(line="1 / 0"), "", "Mine raises ZeroDivisionError", "line 10"),
    "nnx variables": (
        of_nnx(line="self.n = nnx.BatchStat(jnp.zeros(3))"),
        "",
        "than nnx.Param, want",
    ),
    "nnx type": (of_nnx(arguments="*, units: int = 'a'"), "", "model.units: got 'a'"),
    "nnx missing": (of_nnx(arguments="*, units: int"), "", "model.units"),
    "nnx unknown": (of_nnx(arguments="*, f"), "", "model.f: got a field of type"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_clear_error_before_anything_is_written(
    case, tmp_path, monkeypatch, capsys
):
    text, given, *messages = BAD[case]
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    words = given.split()
    if not any(word.startswith("--model=") for word in words):
        words.append("--model=mine.py:Mine")
    before = {*listing(tmp_path)}
    with pytest.raises(SystemExit, match="2"):
        main.main([*words, *flags(QUICK), "--workdir=run"])
    told = re.sub(r"\s*│\s*|\s+", " ", capsys.readouterr().err)
    for message in messages:
        assert message in told
    assert "Traceback" not in told
    left = {path for path in listing(tmp_path) if "__pycache__" not in str(path)}
    assert left == before


def test_a_field_that_a_model_does_not_have_is_refused():
    for name, has in (("tape_rnn", "units, num_tapes"), ("ntm", "no fields")):
        with pytest.raises(
            ValueError, match=rf"model.x: got 1, but \w+ only has {has}"
        ):
            TrainConfig(model=name, model_fields=Fields({"x": 1}))
    with pytest.raises(TypeError, match=r"model.units: got '9', want int"):
        TrainConfig(model="stack_rnn", model_fields=Fields({"units": "9"}))
    text = json.dumps({"task": "copy", "model": "stack_rnn", "model_fields": 3})
    with pytest.raises(ValueError, match="model_fields: got 3, want a JSON object"):
        TrainConfig.from_text(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rate"), [("gru", 1e-2), ("stack_rnn", 1e-2), ("tape_rnn", 1e-3)]
)
def test_a_model_learns(name, rate, tmp_path):
    """To give back what it saw one step before."""
    file = tmp_path / "echo.py"
    file.write_text(ECHO)
    words = [f"--task={file}:Echo", f"--model={name}", f"--learning_rate={rate}"]
    settings = dataclasses.replace(
        QUICK,
        steps=600,
        steps_per_call=50,
        batch_size=16,
        validate_every=100,
        checkpoint_every=100,
        polish_steps=50,
    )
    chosen = [word for word in flags(settings) if "learning_rate" not in word]
    assert main.main([*words, *chosen, f"--workdir={tmp_path / 'run'}"]) == 0
    evaluation = RunFolder.open(tmp_path / "run").evaluation()
    assert evaluation is not None
    assert evaluation[0]["solved_at"] is not None


ECHO = """
import dataclasses, jax, jax.numpy as jnp, tasks

@dataclasses.dataclass(frozen=True)
class Echo(tasks.Task):
    inputs = targets = tasks.Bits(1)
    inputs = tasks.Vectors(1)
    difficulty = {}

    def make(self, key, batch_size, ranges):
        bits = jax.random.bernoulli(key, shape=(6, batch_size, 1)).astype(jnp.float32)
        due = jnp.ones((6, batch_size), bool).at[0].set(False)
        return tasks.Batch(bits, jnp.roll(bits, 1, axis=0), due)
"""
