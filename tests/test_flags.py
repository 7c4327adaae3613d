"""The command line: sections of the help, old names of flags, facts of every task."""

import dataclasses
import warnings

import pytest

import tasks
from benchmarks.record import TRIALS
from benchmarks.tables import DESCRIPTIONS
from train import cli, main, study
from train.flags import renamed
from train.runs.config import RENAMED, TrainConfig
from train.runs.presets import DEFAULTS, PRESETS, preset
from train.runs.settings import GROUPS
from train.show.draw import OF_TASK


def parsed(*words: str) -> TrainConfig:
    """The config of the training command with these flags."""
    return cli.parse_from_preset(main.Flags, words, prog="train.main").config


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--falling=0.25"], "lr_decay_fraction", 0.25),
        (["--falling", "0.25"], "lr_decay_fraction", 0.25),
        (["--previous_focus=read"], "previous_weighting", "read"),
        (["--initial-focus", "uniform"], "initial_weighting", "uniform"),
    ],
)
def test_an_old_flag_works_and_says_its_new_name(words, field, value, capsys):
    config = parsed("--task=copy", *words)
    assert config == dataclasses.replace(preset("default", "copy"), **{field: value})
    old = words[0].partition("=")[0]
    line = f"{old} is now called --{field}; the old name will go in 0.3\n"
    assert capsys.readouterr().err == line


def test_nested_old_flags_keep_their_path(capsys):
    assert renamed(["--config.falling=0.5"], RENAMED) == [
        "--config.lr_decay_fraction=0.5"
    ]
    assert "--config.falling is now called --config.lr" in capsys.readouterr().err
    same = ["--lr_decay_fraction=0", "falling", "--beside", "runs/falling=1"]
    assert renamed(same, RENAMED) == same
    assert capsys.readouterr().err == ""


def test_a_study_takes_old_names_in_its_choices(capsys):
    config = study.choose(TrainConfig(), "falling=0.0,steps=100")
    assert config == TrainConfig(lr_decay_fraction=0.0, steps=100)
    assert "--falling is now called --lr_decay_fraction" in capsys.readouterr().err


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_old_fields_are_taken_in_python_and_read_from_files(old, new):
    changed = {
        "falling": 0.25,
        "initial_focus": "uniform",
        "previous_focus": "read",
    }[old]
    wanted = TrainConfig(**{new: changed})
    with pytest.warns(DeprecationWarning, match=f"{old} is now called {new}"):
        assert TrainConfig(**{old: changed}) == wanted
    text = wanted.to_json().replace(f'"{new}"', f'"{old}"')
    assert f'"{old}"' in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert TrainConfig.from_text(text) == wanted


def test_help_has_sections_and_ends_with_examples(capsys):
    with pytest.raises(SystemExit, match="0"):
        parsed("--help")
    shown = capsys.readouterr().out
    places = [shown.index(f" {group} options ") for group in GROUPS]
    assert places == sorted(places)
    for name in TrainConfig().settings():
        assert f"--{name} " in shown
    assert "python -m train.main --task=copy\n" in shown[shown.index("Examples:") :]


def test_the_sections_are_all_of_the_config():
    fields = [
        field.name for group in GROUPS.values() for field in dataclasses.fields(group)
    ]
    assert fields == [field.name for field in dataclasses.fields(TrainConfig)]


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_has_all_its_facts(name):
    for facts in (DEFAULTS, OF_TASK, TRIALS, DESCRIPTIONS):
        assert set(facts) <= set(tasks.names())
    for model in ("ntm", "lstm"):
        assert preset(PRESETS[0], name, model).task == name
    assert parsed(f"--task={name}").task == name


def test_an_unknown_task_is_refused_with_the_names_of_all():
    with pytest.raises(ValueError, match="task: got 'sudoku', want one of copy, rep"):
        TrainConfig(task="sudoku")
