"""The commands that measure: what they print is what they measured."""

import json

import pytest

from benchmarks import solve, step

pytestmark = pytest.mark.usefixtures("quick_compilations")


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_step_is_measured_beside_an_lstm_s(capsys, monkeypatch):
    monkeypatch.setattr(step, "_TURN", 1e-3)
    asked = ["--batch_size=2", "--length=3", "--num_slots=5", "--turns=3"]
    assert step.main(asked) == 0
    told = last_line(capsys)
    assert (told["batch_size"], told["length"], told["num_slots"]) == (2, 3, 5)
    assert told["ratio_lowest"] <= told["ratio_to_lstm"] <= told["ratio_highest"]
    assert told["ratio_to_lstm"] == pytest.approx(
        told["ntm_ms"] / told["lstm_ms"], rel=0.1
    )
    assert told["ntm_peak_mib"] > told["lstm_peak_mib"] > 0


def test_turns_measure_every_call_as_often(monkeypatch):
    made = []
    calls = {name: (lambda name=name: made.append(name)) for name in ("a", "b")}
    monkeypatch.setattr(step, "repeats_for", {calls["a"]: 2, calls["b"]: 3}.get)
    times = step.take_turns(calls, turns=2)
    assert made == list("aabbb" * 2)
    assert {name: len(each) for name, each in times.items()} == {"a": 2, "b": 2}


@pytest.mark.parametrize("flag", ["--turns=0", "--batch_size=0", "--num_slots=-1"])
def test_sizes_that_there_are_not_are_named(flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        step.main([flag])
    name, value = flag.removeprefix("--").split("=")
    assert f"error: {name}: got {value}" in capsys.readouterr().err


def test_seconds_to_a_solution_count_only_where_there_is_one(monkeypatch, capsys):
    def of(seed, folder):
        solved = seed != 4
        return {
            "seed": seed,
            "solved": solved,
            "seconds": 10.0 + seed,
            "training_s": 5,
            "sequences": 16,
            "lengths": [20, 120],
            "wrong_bits": [0.0, 0.0 if solved else 3.5],
        }

    monkeypatch.setattr(solve, "solve", of)
    assert solve.main(["--seed=2", "--num_seeds=3"]) == 0
    told = last_line(capsys)
    assert (told["solved"], told["median_s"], told["worst_s"]) == (2, 13.0, None)
    assert solve.main(["--seed=1", "--num_seeds=3"]) == 0
    told = last_line(capsys)
    assert (told["solved"], told["median_s"], told["worst_s"]) == (3, 12.0, 13.0)


def test_a_run_that_fails_is_told(tmp_path):
    (tmp_path / "run").write_text("a file where a folder should be")
    with pytest.raises(
        ValueError, match="seed: got 0, whose run failed: error: workdir"
    ):
        solve.solve(0, tmp_path / "run")
