"""The page of results says what the records say, and a record what a run did."""

import copy
import dataclasses
import json
import re

import numpy as np
import pytest
from tiny import TINY, flags, listing, short_of_time, undrawn  # noqa: F401 (fixtures)

from benchmarks import figures, record, records, results, tables, waits
from benchmarks.tables import DESCRIPTIONS
from benchmarks.trials import trials
from train import evaluate, main
from train.runs import pretrained
from train.runs.presets import preset

RECORD = {
    "task": "copy",
    "learner": "NTM, LSTM",
    "command": "python -m train.main --task=copy --seed=3",
    "seconds": 90,
    "machines": [
        {
            "seed": 3,
            "sequences": 1200,
            "solved_after": 800,
            "validated_after": [400, 800, 1200],
            "errors": [7.5, 0.0, 0.0],
        },
        {
            "seed": 4,
            "sequences": 1600,
            "solved_after": None,
            "validated_after": [400, 800, 1200, 1600],
            "errors": [9.0, 8.0, 7.0, 0.125],
        },
    ],
    "trials": [
        {
            "length": length,
            "num_sequences": 10,
            "errors": errors,
            "loss_bits": [2 * error for error in errors],
        }
        for length, errors in ((120, [0.0, 31.25]), (20, [0.0, 0.5]))
    ],
}


def test_the_page_is_what_the_records_say():
    """The command was run after the last record was made."""
    for path in results.PAGES:
        page = path.read_text()
        assert results.rendered(page, records.load()) == page


def test_every_task_has_a_block_on_the_page():
    readme, page, choosing = (
        re.findall(r"<!-- (\w+) -->", path.read_text()) for path in results.PAGES
    )
    assert readme == ["tasks", "end"]
    assert choosing == ["choosing", "end"]
    assert sorted({*page} - {"end"}) == sorted([*DESCRIPTIONS, "summary"])


def test_the_page_opens_with_a_table_of_all_learners():
    alone = RECORD | {"learner": "LSTM, 3 × 256"}
    shipped = RECORD | {"learner": "NTM, LSTM, as shipped (seed 0)"}
    page = "<!-- summary -->\n<!-- end -->\n"
    lines = results.rendered(page, [alone, shipped, RECORD]).splitlines()
    numbers = "1 of 2 | not solved (800 to not solved) | 1,600 | 0.5 (0 to 0.5)"
    assert lines[3:5] == [
        f"| copy | NTM, LSTM | {numbers} wrong bits |",
        f"| copy | LSTM alone, 3 × 256 | {numbers} wrong bits |",
    ]
    unsolved = [machine | {"solved_after": None} for machine in RECORD["machines"]]
    page = results.rendered(page, [RECORD | {"machines": unsolved}])
    assert "| 0 of 2 | – | 1,600 |" in page


def test_a_machine_stands_beside_an_lstm_that_had_ten_times_more():
    own = RECORD | {"config": dataclasses.asdict(preset("default", "copy"))}

    def alone(factor):
        machines = [
            machine | {"sequences": factor * machine["sequences"]}
            for machine in RECORD["machines"]
        ]
        return RECORD | {"learner": f"LSTM, {factor} × 9", "machines": machines}

    page = "<!-- choosing -->\n<!-- end -->\n"
    page = results.rendered(page, [alone(8), own, alone(9)])
    learners = [line.split(" | ")[1:4] for line in page.splitlines() if "copy" in line]
    assert learners == [
        ["NTM, LSTM", "1 of 2", "1,600"],
        ["LSTM alone, 9 × 9", "1 of 2", "14,400"],  # the machines had 1,200 and 1,600
    ]
    assert "| 120 | 31.2 (0 to 31.2) |" in page


def test_the_table_of_tasks_is_of_the_presets_machines():
    own = RECORD | {"config": dataclasses.asdict(preset("default", "copy"))}
    changed = own | {"config": own["config"] | {"steps": 3}}
    page = "<!-- tasks -->\n<!-- end -->\n"
    lines = results.rendered(page, [changed, own]).splitlines()
    (row,) = [line for line in lines if line.startswith("| `copy` |")]
    assert row.endswith("| 1 of 2 | 1,200 to 1,600 | 0.8 | 0.5 (0 to 0.5) wrong bits |")
    assert results.rendered(page, [changed]).count("| | | | |") == len(DESCRIPTIONS)


def test_the_tables_say_how_often_a_seed_has_restarted():
    machines = [
        machine | {"restarts": count}
        for machine, count in zip(RECORD["machines"], (2, 0))
    ]
    assert tables.solved(RECORD) == "1 of 2"
    assert tables.solved(RECORD | {"machines": machines}) == "1 of 2 (restarts: 2, 0)"


def test_a_seed_waits_for_a_better_validation_until_it_has_learned():
    own = RECORD | {"config": dataclasses.asdict(preset("default", "copy"))}
    machine = {
        "validated_after": [16 * step for step in (100, 200, 300, 400, 500, 900)],
        "errors": [10.0, 9.6, 9.4, 9.5, 0.19, 0.19],
    }
    assert waits.longest_wait(own, machine) == (100, True)
    cut = {name: values[:4] for name, values in machine.items()}
    assert waits.longest_wait(own, cut) == (100, False)
    assert list(waits.table([own]))[2:] == ["| copy | NTM, LSTM | 6,000 | 0, 0 |  |"]


@pytest.mark.parametrize("name", pretrained.names())
def test_what_ships_is_recorded(name):
    _, config, made = pretrained.load_run(name)
    shipped = {
        tuple(entry[n] for n in config.make_task().difficulty): entry
        for entry in made["evaluation"]
    }
    size = tuple(config.make_task().trials()[0].values())
    same = [
        own
        for own in records.load()
        if records.config_of(own).for_any_seed() == config.for_any_seed()
    ]
    # Its own evaluation, or with as many slots as the table has for all.
    assert any(own.get("evaluation") == made["evaluation"] for own in same) or any(
        trials(config.task, own)[size][seeds.index(made["seed"])]
        == pytest.approx(shipped[size]["error_per_sequence"], rel=1e-2, abs=1e-2)
        for own in same
        if made["seed"] in (seeds := [one["seed"] for one in own["machines"]])
    )


def test_a_section_says_how_many_how_soon_and_how_far():
    page = "before\n<!-- copy -->\nold\n<!-- end -->\nafter\n"
    lines = results.rendered(page, [RECORD]).splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "old" not in lines
    assert RECORD["command"] in lines
    assert (
        "| NTM, LSTM | 1 of 2 | not solved (800 to not solved) | 1,600 | 2 |" in lines
    )
    for wrong, cost in (("0.5 (0 to 0.5)", "31.2 (0 to 31.2)"), ("1 (0 to 1)", "62.5")):
        at = lines.index(f"| 20 | {wrong} |")
        assert lines[at + 1].startswith(f"| 120 | {cost}")


@pytest.mark.parametrize("own", records.load(), ids=lambda own: own["learner"])
def test_what_was_tried_can_be_tried_again(own):
    config = records.config_of(own)
    due = record.trials_up_to(10_000, config)
    assert own["trials"]
    assert list(map(record.setting, own["trials"])) == due[: len(own["trials"])]
    seeds = [machine["seed"] for machine in own["machines"]]
    assert len(set(seeds)) == len(seeds)
    for trial in own["trials"]:
        assert {len(trial[name]) for name in records.EACH} == {len(seeds)}


@pytest.fixture
def page(monkeypatch, tmp_path):
    """A page and a folder of figures that the command may write."""
    monkeypatch.setattr(results, "IMAGES", tmp_path)
    monkeypatch.setattr(results, "PAGES", (tmp_path / "RESULTS.md",))
    monkeypatch.setattr(results, "load", lambda: [RECORD])
    (tmp_path / "RESULTS.md").write_text("<!-- copy -->\n<!-- end -->\n")
    return tmp_path / "RESULTS.md"


def test_help_writes_nothing(page, capsys):
    before = listing(page.parent)
    with pytest.raises(SystemExit, match="0"):
        results.main(["--help"])
    assert "docs/RESULTS.md" in capsys.readouterr().out
    assert listing(page.parent) == before


def test_the_page_and_its_figures_are_made_together(page):
    assert results.main([]) == 0
    made = {path.name for path in page.parent.iterdir()} - {page.name}
    assert made == {"learning_copy.png", "beyond_copy.png"}
    assert "(images/learning_copy.png)" in page.read_text()


def test_what_was_not_tried_stays_empty():
    other = copy.deepcopy(RECORD) | {"learner": "LSTM, 3 × 256", "trials": []}
    page = results.rendered("<!-- copy -->\n<!-- end -->\n", [other, RECORD])
    assert "| length | NTM, LSTM | LSTM, 3 × 256 |" in page  # machines first
    assert "| 120 | 31.2 (0 to 31.2) |  |" in page


def test_figures_show_every_seed():
    figure = figures.learning_curves("copy", [RECORD])
    (axes,) = figure.axes
    curves = [line for line in axes.get_lines() if line.get_visible()]
    lines = [np.asarray(line.get_xdata()).tolist() for line in curves]
    assert lines[:2] == [[0.4, 0.8, 1.2], [0.4, 0.8, 1.2, 1.6]]
    median = np.asarray(curves[2].get_ydata())
    np.testing.assert_allclose(median, [8.25, 4.0, 3.5, 0.0625])
    assert axes.get_ylim() == pytest.approx((0, 1.3 * 9))
    (axes,) = figures.generalization("copy", [RECORD]).axes
    assert axes.get_ylim() == pytest.approx((0, 1.3 * 31.25))
    (curve, *_) = [line for line in axes.get_lines() if line.get_visible()]
    assert np.asarray(curve.get_xdata()).tolist() == [0, 1]  # the easiest first
    assert [label.get_text() for label in axes.get_xticklabels()] == ["20", "120"]


@pytest.mark.slow
def test_a_run_becomes_a_record(tmp_path, monkeypatch, capsys):
    config = dataclasses.replace(TINY, steps=4, validate_every=4, num_seeds=2)
    workdir = tmp_path / "run"
    trial = {"length": 5, "num_slots": 9, "num_sequences": 3}
    monkeypatch.setattr(record, "FOLDER", tmp_path / "records")
    monkeypatch.setitem(record.TRIALS, "copy", [trial, {**trial, "length": 50}])
    with pytest.raises(SystemExit, match="2"):
        record.main([f"--workdir={workdir}"])
    assert main.main([f"--workdir={workdir}", *flags(config)]) == 0
    assert record.main([f"--workdir={workdir}", "--hardest=20"]) == 0
    (path,) = (tmp_path / "records").iterdir()
    assert path.name == "copy_ntm_lstm.json"
    kept = json.loads(path.read_text())
    assert kept["config"] == dataclasses.asdict(config)
    assert [machine["seed"] for machine in kept["machines"]] == [0, 1]
    assert kept["machines"][0]["validated_after"] == [8]
    (tried,) = kept["trials"]
    assert {name: tried[name] for name in trial} == trial
    assert len(tried["errors"]) == 2
    assert "| 5 |" in results.rendered("<!-- copy -->\n<!-- end -->\n", [kept])


@pytest.mark.slow
def test_runs_of_other_seeds_make_one_record(tmp_path, monkeypatch, capsys):
    config = dataclasses.replace(TINY, steps=4, validate_every=4)
    runs = [tmp_path / "first", tmp_path / "second"]
    trial = {"length": 5, "num_slots": 9, "num_sequences": 3}
    monkeypatch.setattr(record, "FOLDER", tmp_path / "records")
    monkeypatch.setitem(record.TRIALS, "copy", [trial])
    for seed, run in enumerate(runs):
        own = dataclasses.replace(config, seed=seed)
        assert main.main([f"--workdir={run}", *flags(own)]) == 0
    assert record.main(["--workdir", *map(str, runs), "--name=both"]) == 0
    both = json.loads((tmp_path / "records" / "both.json").read_text())
    assert [machine["seed"] for machine in both["machines"]] == [0, 1]
    command = "python -m train.main --task=copy --seed=$seed"
    assert both["command"].startswith(f"for seed in 0 1; do {command} ")
    assert both["command"].endswith(" --workdir=runs/copy_ntm_lstm_$seed; done")
    for i, run in enumerate(runs):
        assert record.main([f"--workdir={run}", "--name=one", "--overwrite"]) == 0
        one = json.loads((tmp_path / "records" / "one.json").read_text())
        assert one["machines"] == both["machines"][i : i + 1]
        assert one["trials"][0]["errors"] == both["trials"][0]["errors"][i : i + 1]
    with pytest.raises(SystemExit, match="2"):
        record.main([f"--workdir={runs[0]}", "--name=one"])
    assert "name: got 'one', want another or --overwrite" in capsys.readouterr().err
    assert record.main([f"--workdir={runs[1]}", "--name=one", "--overwrite"]) == 0
    assert record.main([f"--workdir={runs[0]}", "--name=one", "--add"]) == 0
    assert json.loads((tmp_path / "records" / "one.json").read_text()) == both
    other = copy.deepcopy(both)
    other["machines"].pop()
    for name in records.EACH:
        other["trials"][0][name].pop()
    other["trials"][0]["num_sequences"] = 4
    for name, text in (
        ("other", json.dumps(other)),
        ("list", "[]"),
        ("empty", json.dumps(other | {"trials": [{}]})),
        ("number", json.dumps(other | {"machines": 3})),
        ("text", "of another kind"),
    ):
        (tmp_path / "records" / f"{name}.json").write_text(text)
    before = listing(tmp_path)
    for arguments, message in (
        (["--workdir", *map(str, runs[:1] * 2)], "got seed 0 twice"),
        ([f"--workdir={runs[1]}", "--name=one", "--add"], "got seed 1 twice"),
        ([f"--workdir={runs[1]}", "--name=none", "--add"], "got 'none', want that of"),
        ([f"--workdir={runs[1]}", "--name=../one"], "name: got '../one', want letters"),
        ([f"--workdir={runs[1]}", "--hardest=4"], "hardest: got 4, want at least 5"),
        ([f"--workdir={runs[1]}", "--name=other", "--add"], "has other trials"),
        ([f"--workdir={runs[1]}", "--name=list", "--add"], "not a record"),
        ([f"--workdir={runs[1]}", "--name=empty", "--add"], "not a record"),
        ([f"--workdir={runs[1]}", "--name=number", "--add"], "not a record"),
        ([f"--workdir={runs[1]}", "--name=text", "--add"], "Expecting value"),
    ):
        with pytest.raises(SystemExit, match="2"):
            record.main(arguments)
        assert message in capsys.readouterr().err
    assert listing(tmp_path) == before


def of_strings(errors, learner="NTM, feed-forward"):
    """A record with such errors of two machines at 40 and in some ranges."""
    sizes = [40, [1, 40], [41, 100], [101, 500]]
    trials = [
        {"length": size, "num_sequences": 10, "errors": of_both, "loss_bits": of_both}
        for size, of_both in zip(sizes, errors)
    ]
    return RECORD | {"task": "reverse_string", "learner": learner, "trials": trials}


def test_strings_are_told_by_accuracy_and_score():
    own = of_strings([[0, 0], [0, 1e-9], [0.23, 0], [0, 0.46]])
    page = results.rendered("<!-- reverse_string -->\n<!-- end -->\n", [own])
    lines = page.splitlines()
    at = lines.index("Accuracy, in per cent of the symbols:")
    assert lines[at + 2 : at + 9] == [
        "| length | NTM, feed-forward |",
        "| --- | --- |",
        "| 1 to 40 | 99.99 (100 to 99.99) |",  # some wrong, however few
        "| 40 | 100 (100 to 100) |",
        "| 41 to 100 | 77.00 (100 to 77.00) |",
        "| 101 to 500 | 54.00 (100 to 54.00) |",
        # 60 lengths and 400: 1 - 0.23 * 60 / 460, and 1 - 0.46 * 400 / 460.
        "| score | 60.00 (97.00 to 60.00) |",
    ]
    assert "wrong per sequence" not in page
    nothing = of_strings([], "LSTM, 1 × 256")
    page = results.rendered("<!-- reverse_string -->\n<!-- end -->\n", [own, nothing])
    assert "| score | 60.00 (97.00 to 60.00) |  |" in page


def test_accuracy_is_drawn_by_length():
    own = of_strings([[0, 0], [0, 0.5], [0.25, 0], [0, 0.5]])
    made = figures.drawn([own])
    assert set(made) == {"learning_reverse_string.png", "beyond_reverse_string.png"}
    (axes,) = made["beyond_reverse_string.png"].axes
    first, second, median, *_ = axes.get_lines()
    for line, accuracies in (
        (first, [1, 0.75, 1]),
        (second, [0.5, 1, 0.5]),
        (median, [0.75, 0.875, 0.75]),
    ):
        np.testing.assert_allclose(np.asarray(line.get_xdata()), [20.5, 70.5, 300.5])
        np.testing.assert_allclose(np.asarray(line.get_ydata()), accuracies)


@pytest.mark.rare
def test_trials_of_ranges_are_tried(tmp_path, monkeypatch, capsys):
    config = dataclasses.replace(TINY, steps=4, validate_every=4, task="reverse_string")
    trial = {"length": [2, 5], "num_slots": 9, "num_sequences": 3}
    monkeypatch.setattr(record, "FOLDER", tmp_path / "records")
    monkeypatch.setitem(
        record.TRIALS, "reverse_string", [trial, {**trial, "length": [6, 9]}]
    )
    workdir = tmp_path / "run"
    words = [*flags(config), "--controller=lstm", "--initial_heads=tape"]
    assert main.main([f"--workdir={workdir}", *words, "--sort_updates=1"]) == 0
    assert evaluate.main([f"--workdir={workdir}", "--length=3"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["accuracy"] == 1 - result["error_per_sequence"]
    assert result["error_per_sequence"] == pytest.approx(
        result["wrong_bits_per_sequence"] / 3
    )
    assert record.main([f"--workdir={workdir}", "--hardest=5"]) == 0
    (path,) = (tmp_path / "records").iterdir()
    (tried,) = records.read(path)["trials"]
    assert record.setting(tried) == trial
    assert 0 < tried["errors"][0] <= 1
    assert "| 2 to 5 |" in results.rendered(
        "<!-- reverse_string -->\n<!-- end -->\n", [records.read(path)]
    )


def test_costs_stand_beside_those_of_the_best_predictor():
    trial = {
        "length": 200,
        "num_sequences": 10,
        "errors": [0.5, 0.25, 1.0],
        "loss_bits": [128.5, 128.25, 129.0],
    }
    own = RECORD | {"task": "dynamic_ngrams", "trials": [trial]}
    page = results.rendered("<!-- dynamic_ngrams -->\n<!-- end -->\n", [own])
    assert "| 200 | 0.5 (0.25 to 1) |" in page
    assert "| 200 | 128.5 (128.2 to 129.0) |" in page
    assert "The best possible predictor costs 128.00 bits." in page
