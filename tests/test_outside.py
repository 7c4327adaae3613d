"""Tasks of users' own: by command, from a file or a module, and what is refused."""

import dataclasses
import importlib
import json
import re
import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import TINY, flags, listing, short_of_time, undrawn  # noqa: F401 (fixtures)

import tasks
from tasks import outside, registry
from train import arguments, cli, evaluate, main, ship, visualize
from train.runs import pretrained
from train.runs.config import TrainConfig
from train.runs.folder import RunFolder
from train.runs.own_fields import Fields
from train.runs.presets import command, preset

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
PLACES = {
    "parity": "parity.py:Parity",
    "addition": "addition.py:Addition",
    "running_mean": "running_mean.py:RunningMean",
    "nearest": "nearest.py:Nearest",
    "characters": "characters.py:Characters",
}
QUICK = dataclasses.replace(TINY, steps=12, validate_every=4, polish_steps=4)


@pytest.fixture
def place(tmp_path):
    """The place of a copy of an example."""

    def copy(name: str) -> str:
        file, _, of_class = PLACES[name].partition(":")
        return f"{shutil.copy(EXAMPLES / file, tmp_path / file)}:{of_class}"

    return copy


def own_flags(name: str, where: str, tmp_path: Path) -> list[str]:
    """The command line of a quick run of an example."""
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question. " * 40)
    more = {"characters": [f"--task.path={text}"], "nearest": ["--task.sequences=60"]}
    config = dataclasses.replace(QUICK, task="copy")
    return [f"--task={where}", *flags(config), *more.get(name, [])]


def parsed(*words: str) -> TrainConfig:
    return cli.parse_from_preset(main.Flags, words, prog="train.main").config


@pytest.mark.parametrize("name", PLACES)
def test_an_example_is_as_short_as_it_is_said_to_be(name):
    text = (EXAMPLES / PLACES[name].partition(":")[0]).read_text()
    assert len(text.splitlines()) <= 40
    assert not re.search(r"\b\w+\._\w", text)  # no private name


def test_the_page_shows_the_example():
    page = (EXAMPLES.parent / "your_task.md").read_text()
    assert f"```python\n{(EXAMPLES / 'parity.py').read_text()}```" in page


MARKS = {"nearest": pytest.mark.slow, "addition": pytest.mark.rare}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=MARKS.get(name, pytest.mark.rare)) for name in PLACES],
)
def test_a_task_is_trained_evaluated_killed_and_resumed(
    name, place, tmp_path, monkeypatch, capsys
):
    words = own_flags(name, place(name), tmp_path)
    assert main.main([*words, f"--workdir={tmp_path / 'whole'}"]) == 0
    broken = [*words, f"--workdir={tmp_path / 'broken'}"]
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save", stop_after(RunFolder.save))
        assert main.main(broken) == 130
    assert main.main(broken) == 0
    whole, resumed = (
        jax.device_get(RunFolder.open(tmp_path / run).restore())
        for run in ("whole", "broken")
    )
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed)):
        np.testing.assert_array_equal(one, other)
    capsys.readouterr()
    assert evaluate.main([f"--workdir={tmp_path / 'whole'}", "--num_sequences=4"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["task"] == str(tmp_path / PLACES[name])
    assert 0 <= result["accuracy"] <= 1


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
        "addition",
        pytest.param("running_mean", marks=pytest.mark.rare),
        pytest.param("nearest", marks=pytest.mark.rare),
    ],
)
def test_a_task_is_drawn_and_shipped(name, place, tmp_path, monkeypatch, capsys):
    words, where = own_flags(name, place(name), tmp_path), tmp_path / "run"
    assert main.main([*words, f"--workdir={where}"]) == 0
    for more in ([], ["--html"]):
        assert visualize.main([f"--workdir={where}", *more]) == 0
    drawn = {path.name for path in (where / "figures").iterdir()}
    size = {"addition": "_4", "running_mean": "_20", "nearest": ""}[name]
    assert {f"answer{size}.png", f"memory{size}.gif", "learning.gif"} <= drawn
    assert "page.html" in drawn
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    assert ship.main([f"--workdir={where}"]) == 0
    short = registry.short_name(PLACES[name])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([f"--pretrained={short}"])
    assert "pass --task=path/to/file.py:MyTask" in capsys.readouterr().err
    task = f"--task={tmp_path / PLACES[name]}"
    assert evaluate.main([f"--pretrained={short}", task, "--num_sequences=2"]) == 0


def test_the_fields_of_a_task_are_flags_and_stand_in_its_config(place):
    config = parsed(f"--task={place('parity')}", "--task.longest=7", "--seed=3")
    assert config.make_task().difficulty == {"length": (1, 7)}
    assert config.make_task() is config.make_task()
    assert json.loads(config.to_json())["task_fields"] == {"longest": 7}
    assert TrainConfig.from_text(config.to_json()) == config
    assert parsed(*command(config).split()[3:]) == config
    unprefixed = parsed(f"--task={place('parity')}", "--longest", "7", "--seed=3")
    assert unprefixed == config
    default = parsed(f"--task={place('parity')}", "--seed=3")
    assert json.loads(default.to_json())["task_fields"] == {"longest": 10}
    assert hash(default) != hash(config)


def test_our_tasks_have_flags_too_and_the_old_spelling_works():
    config = parsed("--task=copy", "--task.num_bits=4")
    assert config.make_task() == tasks.Copy(num_bits=4)
    assert config.make_ntm_config().output_size == 4
    pulses = parsed("--task=repeat_copy", "--task.repeat_code=pulses")
    assert pulses == parsed("--task=repeat_copy", "--repeat_code=pulses")
    assert pulses == preset(
        "default", "repeat_copy", task_fields={"repeat_code": "pulses"}
    )
    old = json.loads(pulses.to_json())
    del old["task_fields"]
    assert TrainConfig.from_text(json.dumps(old | {"repeat_code": "pulses"})) == pulses
    assert parsed("--task=dynamic_ngrams", "--task.order=3").order == "read_first"


def test_a_path_is_the_same_from_any_folder(place, tmp_path, monkeypatch):
    place("parity")
    monkeypatch.chdir(tmp_path)
    config = parsed("--task=parity.py:Parity")
    assert config.task == f"{tmp_path / 'parity.py'}:Parity"
    assert config.task_name() == "parity"
    assert config.title() == "parity, seed 0"
    assert registry.short_name("a/b.py:RunningMean") == "running_mean"


def test_a_field_with_the_name_of_another_flag_of_a_command_is_prefixed(tmp_path):
    field = "workdir: str = 'a'"
    (tmp_path / "mine.py").write_text(HEAD.format(**GOOD | {"field": field}))
    words = [f"--task={tmp_path / 'mine.py'}:Mine", "--workdir=run"]
    flags = cli.parse_from_preset(main.Flags, words, prog="train.main")
    assert flags.workdir == Path("run")
    assert flags.config.task_fields == {}
    flags = cli.parse_from_preset(
        main.Flags, [*words, "--task.workdir=b"], prog="train.main"
    )
    assert flags.workdir == Path("run")
    assert flags.config.task_fields == {"workdir": "b"}


@pytest.fixture
def importable(place, tmp_path, monkeypatch):
    """The folder of a module beside a script, and of a package."""
    place("parity")
    (tmp_path / "own_tasks").mkdir()
    shutil.copy(EXAMPLES / "addition.py", tmp_path / "own_tasks")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    before = {*sys.modules}
    yield tmp_path
    for name in {*sys.modules} - before:
        del sys.modules[name]


def test_a_module_that_stands_alone_has_the_name_of_its_file(importable):
    config = parsed("--task=parity:Parity")
    assert config.task == f"{importable / 'parity.py'}:Parity"
    named = parsed("--task=parity.py:Parity", "--task.longest=7")
    own = importlib.import_module("parity").Parity
    assert type(named.make_task()) is own  # imported once
    given = arguments.config_for(own(longest=7))
    assert given.to_dict() == named.to_dict()
    assert arguments.with_task(own, given).task_fields == {"longest": 7}


def test_a_module_in_a_package_keeps_its_name(importable):
    config = parsed("--task=own_tasks.addition:Addition")
    assert config.task == "own_tasks.addition:Addition"
    own = importlib.import_module("own_tasks.addition").Addition
    assert str(outside.place_of(own)) == config.task
    for name in ("__main__:Mine", "dataclasses:Mine", "pytest:Mine", "nowhere:Mine"):
        assert outside.absolute(name) == name


def test_a_seventh_task_is_a_file_and_a_line_of_the_list(place, monkeypatch):
    own = registry.class_of(place("addition"))
    monkeypatch.setitem(registry._TASKS, "addition", own)
    for model in ("ntm", "lstm"):
        assert parsed("--task=addition", f"--model={model}") == (
            preset("default", "addition", model)
        )
    assert isinstance(tasks.get("addition"), own)
    sizes = evaluate.parse_sizes(evaluate.Flags, ["--digits=3"], prog="evaluate")
    assert sizes.difficulty() == {"digits": 3}


HEAD = """
import dataclasses, jax, jax.numpy as jnp, numpy as np, tasks
@dataclasses.dataclass(frozen={frozen}, kw_only=True)
class Mine(tasks.{base}):
    inputs = tasks.{inputs}
    targets = tasks.{targets}
    {field}
    difficulty = {difficulty}
    def {make}
"""
MAKE = """make(self, key, batch_size, ranges):
        shape = 3, batch_size
        return tasks.Batch({})"""
GOOD = {
    "base": "Task",
    "frozen": "True",
    "inputs": "Vectors(1)",
    "targets": "Categories(2)",
    "field": "",
    "difficulty": "{}",
    "make": MAKE.format(
        "jnp.zeros((*shape, 1)), jnp.zeros(shape, int), jnp.ones(shape, bool)"
    ),
}
LENGTH = {"difficulty": "{'length': (1, 3)}"}
DATA = """data(self, split):
        xs, ys = np.zeros((40, 3, 1)), np.zeros((40, 3), int)
        {}
        return tasks.Arrays(xs, ys).part(split)"""
STREAM = """batches(self, split, seed, batch_size):
        xs, ys = np.zeros((3, batch_size, 1)), np.zeros((3, batch_size), int)
        for _ in range({}):
            yield tasks.Batch(xs, ys, np.ones(ys.shape, bool))"""


def data(line: str) -> dict[str, str]:
    return {"base": "DatasetTask", "make": DATA.format(line)}


def made(arrays: str) -> dict[str, str]:
    return {"make": MAKE.format(arrays)}


BAD = {
    "no file": ({"file": "other.py:Mine"}, "but there is no file"),
    "no module": ({"file": "nowhere.tasks:Mine"}, "there is no module nowhere"),
    "no name": ({"file": "mine.py:Yours"}, "want mine.py:Mine"),
    "no task": ({"file": "mine.py:np"}, "want mine.py:Mine"),
    "no class": ({"file": "mine.py"}, "task: got 'mine.py', want one of copy"),
    "import": ({"field": "x = 1 / 0"}, "whose import raises ZeroDivisionError: divis"),
    "line": ({"field": "x = 1 / 0"}, "mine.py, line 7)"),
    "exit": ({"field": "raise SystemExit(3)"}, "whose import raises SystemExit: 3"),
    "no text": (
        {
            "field": "class E(Exception):\n        def __str__(self): 1 / 0\n"
            "    raise E()"
        },
        "whose import raises E (",
    ),
    "getattr": (
        {
            "make": "make(self): ...\ndef __getattr__(name): 1 / 0",
            "file": "mine.py:Yours",
        },
        "whose import raises ZeroDivisionError",
    ),
    "relative": ({"file": ".mine:Mine"}, "'.mine' is no name of a module; give"),
    "folder": ({"file": ".:Mine"}, "but '.' is no name of a module; give one such as"),
    "annotation": (
        {"field": "x: 'Nowhere' = 3"},
        "Mine: got an annotation that cannot be read",
    ),
    "factory": (
        {"field": "x: int = dataclasses.field(default_factory=lambda: 1 / 0)"},
        "x: got a default_factory that raises ZeroDivisionError",
    ),
    "elements": ({"field": "x: tuple[int, ...] = ('a',)"}, "task.x: got ('a',), want"),
    "hash": (
        {
            **data("pass"),
            "field": "x: dict = dataclasses.field(default_factory=dict)",
        },
        "Mine has a field that cannot be hashed, want values such as tuples",
    ),
    "field nan": ({"field": "x: float = float('nan')"}, "task.x: got nan, want"),
    "abstract": ({"make": "made(self): ..."}, "which lacks make, want a method"),
    "not frozen": ({"frozen": "False"}, "which is not frozen; write @dataclasses."),
    "clash": ({"field": "steps: int = 3"}, "steps: ", "has a field of this name"),
    "size": ({"difficulty": "{'num_slots': 3}"}, "num_slots: Mine has a difficulty"),
    "argument": (
        {"difficulty": "{'keys': 3}"},
        "keys: Mine has a difficulty of this name, which the trainer uses for a flag, "
        "an argument or a field of evaluation.json; rename it, for example to my_keys",
    ),
    "type": ({"field": "x: int = 'a'"}, "task.x: got 'a', want int"),
    "missing": ({"field": "x: int"}, "task.x"),
    "raises": (
        {"make": "make(self, key, batch_size, ranges): return {}['bits']"},
        "Mine.make raises KeyError: 'bits'",
    ),
    "traced": (
        {
            "difficulty": "{'length': (1, 3)}",
            "make": "make(self, key, size, ranges): return int(ranges['length']"
            ".draw(key, ()))",
        },
        "ConcretizationTypeError",
    ),
    "no return": (
        {"make": "make(self, key, batch_size, ranges): pass"},
        "batch: Mine makes a NoneType, want tasks.Batch(",
    ),
    "make exits": (
        {"make": "make(self, key, batch_size, ranges): raise SystemExit(3)"},
        "Mine.make raises SystemExit: 3",
    ),
    "no batch": (
        {"make": "make(self, key, batch_size, ranges): return {}"},
        "batch: Mine makes a dict, want tasks.Batch(",
    ),
    "width": (
        made("jnp.zeros((*shape, 2)), jnp.zeros(shape, int), jnp.ones(shape, bool)"),
        "inputs: Mine makes the shape [3, 4, 2], want [3, 4, 1] for Vectors(size=1)",
    ),
    "dtype": (
        made("jnp.zeros((*shape, 1)), jnp.zeros(shape), jnp.ones(shape, bool)"),
        "targets: Mine makes float32, want integer for Categories(size=2)",
    ),
    "mask": (
        made("jnp.zeros((*shape, 1)), jnp.zeros(shape, int), jnp.ones(shape)"),
        "mask: Mine makes float32, want bool",
    ),
    "never due": (
        made("jnp.zeros((*shape, 1)), jnp.zeros(shape, int), jnp.zeros(shape, bool)"),
        "mask: Mine makes a sequence without a step",
    ),
    "category": (
        made("jnp.zeros((*shape, 1)), jnp.full(shape, 2), jnp.ones(shape, bool)"),
        "targets: in Mine, got 2, want from 0 to 1 for Categories(size=2)",
    ),
    "nan": (
        made("jnp.nan * jnp.ones((*shape, 1)), jnp.zeros(shape, int), "
             "jnp.ones(shape, bool)"),
        "inputs: in Mine, got nan, want finite numbers",
    ),
    "kind": (
        {"targets": "Tokens(3)"},
        "Mine.targets: got Tokens(size=3, per_step=None), want tasks.Bits(...)",
    ),
    "targets class": ({"targets": "Bits"}, "Mine.targets: got <class 'tasks.targets."),
    "inputs method": (
        {"field": "def inputs(self): return tasks.Vectors(1)"},
        "Mine.inputs: got a method, want tasks.Vectors(...) or tasks.Tokens(...); "
        "write @property above it",
    ),
    "input size": (
        {"field": "del inputs; input_size = 2.5"},
        "Mine.input_size: got 2.5, want an integer >= 1",
    ),
    "two sizes": (
        {"field": "input_size = 3"},
        "Mine.input_size: got 3, want 1, the size of Vectors(size=1)",
    ),
    "no comma": (
        {**LENGTH, "field": "beyond = ({'length': 4})"},
        "Mine.beyond: got {'length': 4}, want a tuple of dicts, each with an integer ",
        ">= 1 for the names ['length']; write ({...},) for one",
    ),
    "beyond another": (
        {**LENGTH, "field": "beyond = ({'size': 4},)"},
        "Mine.beyond: got ({'size': 4},), want a tuple of dicts",
    ),
    "beyond a range": (
        {**LENGTH, "field": "beyond = ({'length': (4, 5)},)"},
        "Mine.beyond: got ({'length': (4, 5)},), want a tuple of dicts",
    ),
    "tolerance method": (
        {"field": "def tolerance(self): return 0.1"},
        "Mine.tolerance: got a method, want a number >= 0; write @property above it",
    ),
    "tolerance text": ({"field": "tolerance = '1'"}, "Mine.tolerance: got '1', want a"),
    "tolerance nan": (
        {"field": "tolerance = float('nan')"},
        "Mine.tolerance: got nan, want a number >= 0",
    ),
    "names": (
        {"field": "input_names = (1,)"},
        "Mine.input_names: got (1,), want a tuple of texts, one for each of Vectors(",
    ),
    "one name": ({"field": "input_names = 'a'"}, "Mine.input_names: got 'a', want a"),
    "error name": ({"field": "error_name = 3"}, "Mine.error_name: got 3, want text"),
    "difficulty method": (
        {"difficulty": "0\n    def difficulty(self): return {'length': 3}"},
        "Mine.difficulty: got a method, want a dict with a name such as 'length'",
    ),
    "difficulty name": (
        {"difficulty": "{'a length': 3}"},
        "Mine.difficulty: got {'a length': 3}, want a dict with a name such as",
    ),
    "easiest": (
        {**LENGTH, "field": "easiest = {'length': 9}"},
        "Mine.easiest: got {'length': 9}, want a dict with an integer >= 1 for "
        "the names ['length'], at most {'length': 3}",
    ),
    "trials": (
        {**LENGTH, "field": "def trials(self): return ()"},
        "Mine.trials(): got (), want a tuple of dicts",
    ),
    "min slots": (
        {"field": "def min_slots(self, ranges): return 2.5"},
        "Mine.min_slots(): got 2.5, want an integer >= 1",
    ),
    "errors": (
        {"field": "def errors(self, logits, batch): return batch.mask"},
        "errors: Mine makes the shape [3, 4], want [4], a number for each sequence",
    ),
    "errors of data": (
        {**data("pass"), "field": "def errors(self, logits, batch): return 'few'"},
        "errors: Mine makes str, want [4], a number for each sequence",
    ),
    "sample": (
        {"field": "def sample(self, key, batch_size, **difficulty): return 'a'"},
        "batch: Mine makes a str, want tasks.Batch(",
    ),
    "text in a batch": (made("'a', 'b', 'c'"), "mask: Mine makes str, want bool for"),
    "mask shape": (
        made("jnp.zeros((*shape, 1)), jnp.zeros(shape, int), jnp.ones((3, 4, 1)) > 0"),
        "mask: Mine makes the shape [3, 4, 1], want [3, 4] for the mask, which is True "
        "at the steps where an answer is due: time steps, then the 4 sequences of the",
    ),
    "batch first": (
        made("jnp.zeros((4, 3, 1)), jnp.zeros((4, 3), int), jnp.ones((4, 3), bool)"),
        "mask: Mine makes the shape [4, 3], want [4, 4] for the mask, which",
    ),
    "shorter than the mask": (
        made("jnp.zeros((*shape, 1)), jnp.zeros(shape, int), jnp.ones((5, 4), bool)"),
        "inputs: Mine makes the shape [3, 4, 1], want [5, 4, 1] for Vectors(size=1): "
        "time steps as in the mask, then the 4 sequences",
    ),
    "data nan": (data("xs[17, 1] = np.nan"), "inputs: in Mine, got nan, want fin"),
    "data category": (data("ys[39] = -1"), "targets: in Mine, got -1, want from 0"),
    "data beyond int32": (data("ys = ys + 2**32"), "targets: in Mine, got 2147483647"),
    "data exits": (data("raise SystemExit(3)"), "Mine.data raises SystemExit: 3"),
    "data shape": (data("ys = ys[:9]"), "ys: got shape [9, 3] for xs [40, 3, 1]"),
    "data width": (data("xs = xs[..., 0]"), "inputs: Mine makes the shape"),
    "no data": (data("xs, ys = xs[:2], ys[:2]"), "Mine.data: got no sequence for"),
    "data raises": (data("open('no.npy')"), "Mine.data raises FileNotFoundError"),
    "arrays": (data("return xs, ys"), "Mine: data: got ndarray of 40 for a"),
    "not indexed": (data("return 3"), "Mine.data: got int for"),
    "ends": (
        {"base": "StreamTask", "make": STREAM.format("1")},
        "Mine.batches: got 1 batches for training, want one for every update",
    ),
    "batches raise": (
        {"base": "StreamTask", "make": STREAM.format("int('x')")},
        "Mine.batches raises ValueError: invalid literal for int()",
    ),
    "batches raise later": (
        {
            "base": "StreamTask",
            "make": STREAM.format("int(split) if split == 'train' else 4"),
        },
        "Mine.batches raises ValueError: invalid literal for int()",
        "mine.py, line 11)",
    ),
    "no batches": (
        {"base": "StreamTask", "make": STREAM.format("9").replace("tasks.Batch", "")},
        "batch: Mine makes a tuple, want tasks.Batch(",
    ),
    "no iterable": (
        {"base": "StreamTask", "make": "batches(self, split, seed, size): return 3"},
        "Mine.batches: got int for validation, want an iterable of tasks.Batch",
    ),
    "held out": (
        {"base": "StreamTask", "make": "batches(self, split, seed, size): yield 3"},
        "Mine.batches: batch 0 for validation: batch: Mine makes a int, want",
    ),
    "large batch": (
        {
            "base": "StreamTask",
            "make": STREAM.format("9").replace("(3, batch_size", "(3, 8"),
        },
        "Mine.batches: batch 0 for validation: mask: Mine makes the shape [3, 8], want "
        "[3, 4] for the mask",
    ),
    "large batch later": (
        {
            "base": "StreamTask",
            "make": STREAM.format("9").replace(
                "(3, batch_size", "(3, batch_size + (split == 'train')"
            ),
        },
        "Mine.batches: batch 0: mask: Mine makes the shape [3, 3], want [3, 2] for",
    ),
    "empty": (
        {"base": "StreamTask", "make": STREAM.format("0")},
        "Mine.batches: got none for validation, want at least one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_one_clear_error_before_anything_is_written(
    case, tmp_path, monkeypatch, capsys
):
    changed, *messages = BAD[case]
    changed = dict(changed)
    file = changed.pop("file", "mine.py:Mine")
    (tmp_path / "mine.py").write_text(HEAD.format(**GOOD | changed))
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main.main([f"--task={file}", *flags(QUICK), "--workdir=run"])
    told = capsys.readouterr().err
    for message in messages:
        assert message in re.sub(r"\s*│\s*", " ", told)
    assert "Traceback" not in told
    left = {path for path in listing(tmp_path) if "__pycache__" not in str(path)}
    assert left == {*before}


@pytest.mark.parametrize("name", tasks.names())
def test_our_tasks_are_of_the_kinds_that_others_have_to_be_of(name):
    tasks.properties.check_kinds(tasks.get(name))
    tasks.properties.check_properties(tasks.get(name))


def test_settings_that_a_kind_of_task_cannot_have_are_refused(place, tmp_path):
    with pytest.raises(ValueError, match=r"carry_noise: got 0.1, want 0 with .*tokens"):
        TrainConfig(task=place("addition"), carry_noise=0.1)
    sorted_data = dataclasses.replace(QUICK, task=place("nearest"), sort_updates=2)
    with pytest.raises(ValueError, match="sort_updates: got 2, want 1 with a task of"):
        RunFolder.plan(tmp_path / "run", sorted_data).load()


def test_a_task_field_that_the_task_does_not_have_is_refused(place):
    for task, has in ((place("parity"), "longest"), ("copy", "num_bits")):
        with pytest.raises(ValueError, match=rf"task.x: got 1, but \w+ only has {has}"):
            TrainConfig(task=task, task_fields=Fields({"x": 1}))
    with pytest.raises(TypeError, match=r"task.longest: got '9', want int"):
        TrainConfig(task=place("parity"), task_fields=Fields({"longest": "9"}))
