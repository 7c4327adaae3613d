"""The study: choices by seeds, a folder for each, and a table of what came of them."""

import dataclasses
import json
import math
import shutil

import matplotlib.image
import pytest
from tiny import TINY, flags, listing, short_of_time, undrawn  # noqa: F401 (fixtures)

from train import study
from train.runs.config import TrainConfig
from train.runs.outcome import in_words, outcome

SMALL = dataclasses.replace(TINY, steps=4, validate_every=4, num_seeds=2)
CHOICES = ["preset", "initial_weighting=uniform", "num_slots=9,order=write_first"]


def command(workdir, *choices):
    """The arguments of a study of some choices."""
    return [f"--workdir={workdir}", *flags(SMALL), "--choices", *choices]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a study that the command took to its end."""
    workdir = tmp_path_factory.mktemp("study") / "study"
    assert study.main(command(workdir, *CHOICES)) == 0
    return workdir


@pytest.mark.slow
def test_a_study_leaves_a_run_for_each_choice_a_table_and_a_figure(finished):
    for choice in CHOICES:
        assert (finished / choice / "evaluation.json").exists()
    changed = TrainConfig.from_json(finished / CHOICES[2] / "config.json")
    assert changed == dataclasses.replace(SMALL, num_slots=9, order="write_first")
    lines = (finished / "study.md").read_text().splitlines()
    assert len(lines) == 2 + len(CHOICES)
    assert lines[3].startswith(
        "| initial_weighting=uniform | 0/2 | not solved | not solved | 0/2 | "
    )
    height, width = matplotlib.image.imread(finished / "study.png").shape[:2]
    assert width > height > 100


@pytest.mark.slow
def test_a_study_goes_on_where_it_was(finished, tmp_path):
    broken = tmp_path / "study"
    shutil.copytree(finished, broken)
    before = listing(broken)
    shutil.rmtree(broken / CHOICES[1])
    assert study.main(command(broken, *CHOICES)) == 0
    after = listing(broken)
    for path, content in before.items():
        if CHOICES[1] not in path.parts and path.suffix != ".png":
            assert after[path] == content


@pytest.mark.slow
def test_a_damaged_run_is_named(finished, tmp_path, capsys):
    broken = tmp_path / "study"
    shutil.copytree(finished, broken)
    path = broken / CHOICES[1] / "evaluation.json"
    entries = json.loads(path.read_text())
    lacking = [*entries[:-1], {"machine": entries[-1]["machine"]}]
    for damage in (
        *("[", "[]", '[{"step": 1}]', "null"),
        *(json.dumps(part) for part in (entries[:-1], lacking)),
    ):
        path.write_text(damage)
        before = listing(broken)
        with pytest.raises(SystemExit, match="2"):
            study.main(command(broken, *CHOICES))
        assert listing(broken) == before
        assert "evaluation.json, which is damaged" in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_is_written_where_another_study_is(finished, tmp_path, capsys):
    other = tmp_path / "study"
    shutil.copytree(finished, other)
    before = listing(other)
    with pytest.raises(SystemExit, match="2"):
        study.main([*command(other, "batch_size=3", CHOICES[1]), "--steps=2"])
    assert "steps: got 2" in capsys.readouterr().err
    assert listing(other) == before


def test_no_choice_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        study.main(command(tmp_path / "study"))
    assert "choices: got none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("colour=red", "choices: got 'colour=red', want FIELD=VALUE"),
        ("order", "choices: got 'order', want FIELD=VALUE"),
        ("task=copy", "choices: got 'task=copy', want --task, the same for all"),
        ("order=backwards", "order"),
        ("num_slots=0", "num_slots: got 0"),
        ("learn=zzz", "learn: got 'zzz', which no parameter matches"),
    ],
)
def test_a_bad_choice_is_named_and_nothing_is_written(
    choice, message, tmp_path, capsys
):
    with pytest.raises(SystemExit, match="2"):
        study.main(command(tmp_path / "study", "preset", choice))
    captured = capsys.readouterr()
    assert message in captured.out + captured.err
    assert not (tmp_path / "study").exists()


def test_outcome_counts_seeds():
    def entry(machine, length, solved_at, wrong):
        return {
            "machine": machine,
            "length": length,
            "solved_at": solved_at,
            "error_per_sequence": wrong,
            "perfect_fraction": 1.0 if wrong == 0 else 0.5,
        }

    solved = [100, None, 300, 200]
    entries = [
        entry(machine, length, at, wrong)
        for length, wrongs in ((120, (0, 9, 0.1, 0)), (20, (0, 0, 0, 0)))
        for machine, (at, wrong) in enumerate(zip(solved, wrongs))
    ]
    of = outcome(dataclasses.replace(SMALL, num_seeds=4, batch_size=16), entries)
    assert (of.seeds, of.solved, of.perfect) == (4, 3, 2)
    assert of.median_sequences == 300 * 16
    assert of.worst_sequences == math.inf
    assert of.perfect_fraction == 0.75
    assert (
        "3 of 4 seeds solved, after a median of 4,800 sequences; 2 of 4 without a "
        in in_words(of, SMALL.make_task())
    )
