"""The commands that measure: what they print is what they measured."""

import json
import sys
from typing import Any

import pytest

from benchmarks import peers, pytorch_ntm, solve, step, windows
from train.runs.config import TrainConfig

pytestmark = pytest.mark.usefixtures("quick_compilations")


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_run_that_fails_is_told(tmp_path):
    (tmp_path / "run").write_text("a file where a folder should be")
    with pytest.raises(
        ValueError, match="seed: got 0, whose run failed: error: workdir"
    ):
        solve.solve(0, tmp_path / "run")


# What we use of pytorch-ntm: modules called as ours are, and a word that attrs of today
# do not know.
CHECKOUT = {
    "attr.py": """
def attrib(default=None, converter=None):
    return converter(default) if converter else default
""",
    "torch.py": """
__version__ = "2.0"


def get_num_threads():
    return 3
""",
    "train.py": """
import sys

import torch


def train_batch(net, criterion, optimizer, x, y):
    if net == 7:
        sys.exit("seven is too many")
    assert (criterion, optimizer) == ("criterion", "optimizer")
    assert len(x) == net * len(y)
""",
    "ntm/aio.py": "",
    "tasks/__init__.py": "",
    "tasks/copytask.py": """
import attr


class CopyTaskParams:
    sequence_width = attr.attrib(default="8", convert=int)

    def __init__(self, batch_size):
        self.batch_size = batch_size


class CopyTaskModelTraining:
    def __init__(self, params):
        self.params = params
        self.net, self.criterion, self.optimizer = (
            params.batch_size,
            "criterion",
            "optimizer",
        )


def dataloader(num_batches, batch_size, width, shortest, longest):
    assert (num_batches, width) == (1, 8)
    assert 1 <= shortest == longest <= 20
    yield 1, range(batch_size * longest), range(longest)
""",
}


@pytest.fixture
def checkout(tmp_path):
    for name, text in CHECKOUT.items():
        path = tmp_path / "pytorch-ntm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "pytorch-ntm"


@pytest.mark.slow
def test_training_is_measured_beside_a_peer(checkout, capsys, monkeypatch):
    monkeypatch.setattr(peers, "_GROUPS", 1)
    monkeypatch.setattr(peers, "TrainConfig", small)
    asked = [f"--pytorch_ntm={checkout}", "--batch_size", "2", "3", "--turns=2"]
    assert peers.main(asked) == 0
    told = last_line(capsys)
    assert (told["torch"], told["threads"]) == ("2.0", 3)
    assert [cell["batch_size"] for cell in told["cells"]] == [2, 3]
    for cell in told["cells"]:
        for clock in ("", "_cpu"):
            ratio = cell[f"ratio{clock}"]
            assert ratio >= 0
            assert cell[f"ratio{clock}_lowest"] <= cell[f"ratio{clock}_highest"]
            assert cell[f"ours_per_s{clock}"] > 0


def small(**fields: Any) -> TrainConfig:
    """A machine that compiles in seconds."""
    return TrainConfig(**fields, num_slots=8, slot_size=4, controller_units=8)


def test_a_rate_is_the_median_over_the_turns():
    def turns(sequences, seconds):
        left = iter(seconds)

        def turn():
            wall = next(left)
            return {"sequences": sequences, "wall_s": wall, "cpu_s": 2 * wall}

        return turn

    # The first of each is there to warm up.
    cell = peers.compare(16, turns(600, [99, 1, 2, 3]), turns(20, [99, 4, 5, 1]), 3)
    assert (cell["ours_per_s"], cell["theirs_per_s"]) == (300, 5)
    assert (cell["ours_per_s_cpu"], cell["theirs_per_s_cpu"]) == (150, 2.5)
    assert cell["ratio"] == cell["ratio_cpu"] == 60
    assert (cell["ratio_lowest"], cell["ratio_highest"]) == (10, 120)


def test_our_turn_goes_on_learning_as_theirs_does(monkeypatch):
    made = []

    def train(states, config, num_steps):
        made.append((states, config, num_steps))
        return states + 1, 0, {}

    monkeypatch.setattr(peers, "train", train)
    monkeypatch.setattr(peers, "init_states", lambda config: 0)
    turn = peers.our_turn(16)
    assert [turn()["sequences"] for _ in range(2)] == [1600, 1600]
    assert [states for states, _, _ in made] == [0, 1]
    config = made[0][1]
    assert (config.batch_size, config.curriculum) == (16, "uniform")
    # Whole groups of updates, in which every length has its turn.
    assert made[0][2] % config.sort_updates == 0
    assert config.make_task().difficulty == {"length": (1, pytorch_ntm.LONGEST)}
    machine = config.make_ntm_config()
    assert (machine.num_slots, machine.slot_size) == (128, 20)
    assert (machine.num_read_heads, machine.num_write_heads) == (1, 1)
    assert config.controller_units == 100


def wrong(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        peers.main(arguments)
    return capsys.readouterr().err


def test_what_was_measured_is_in_the_page_and_not_measured_again(tmp_path, monkeypatch):
    record, page = tmp_path / "record.jsonl", tmp_path / "page.md"
    page.write_text("a\n<!-- long -->\n<!-- end -->\n<!-- recall -->\n<!-- end -->\n")
    asked = [{"length": 1000, "access": "window:3"}]
    monkeypatch.setattr(windows, "_RUNS", {"long": asked})
    made = []

    def measured(**asked):
        made.append(asked)
        return {"cpu_seconds": 0.12345, "solved": True}

    monkeypatch.setattr(windows, "MEASURES", {"long": measured})
    for _ in range(2):
        flags = ["--only", "long", f"--record={record}", f"--page={page}"]
        assert windows.main(flags) == 0
    assert made == asked
    assert page.read_text() == (
        "a\n<!-- long -->\n\n| length | access | cpu seconds | solved |\n"
        "| --- | --- | --- | --- |\n| 1,000 | window:3 | 0.123 | True |\n\n"
        "<!-- end -->\n<!-- recall -->\n\nNot measured.\n\n<!-- end -->\n"
    )
    with pytest.raises(SystemExit, match="2"):
        windows.main(["--only", "short"])


def test_what_is_no_peer_is_named(checkout, tmp_path, capsys, monkeypatch):
    asked = [f"--pytorch_ntm={checkout}"]
    other = wrong([f"--pytorch_ntm={tmp_path}"], capsys)
    assert f"pytorch_ntm: got {tmp_path}, which has no train.py, want a chec" in other
    assert "turns: got 0, want" in wrong([*asked, "--turns=0"], capsys)
    assert "batch_size: got 0" in wrong([*asked, "--batch_size", "1", "0"], capsys)
    nowhere = wrong([*asked, f"--python={tmp_path / 'python'}"], capsys)
    assert f"python: got {tmp_path / 'python'}, which does not start" in nowhere
    monkeypatch.setattr(peers, "our_turn", lambda size: lambda: None)
    failed = wrong([*asked, "--batch_size=7"], capsys)
    assert f"pytorch_ntm: got {checkout}, whose code failed: seven is" in failed
    (checkout / "torch.py").write_text("raise ImportError('No module named torch')")
    lacking = wrong(asked, capsys)
    assert f"python: got {sys.executable}, which says 'No module named to" in lacking
    assert "want one with torch, numpy, attrs and argcomplete" in lacking
