"""The benchmark of the Chomsky hierarchy: its score, its records and its tables."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tasks
from benchmarks.chomsky import __main__ as command
from benchmarks.chomsky import cells, published, runs, score
from tasks import chomsky
from train.training.model import Model

pytestmark = pytest.mark.usefixtures("quick_compilations")


@dataclasses.dataclass(frozen=True)
class Always(Model):
    """Answers with one symbol."""

    symbol: int
    output_size: int

    def init(self, key, input_size):
        raise NotImplementedError

    def logits(self, params, inputs, mask=None):
        shape = (*inputs.shape[:2], self.output_size)
        return jnp.broadcast_to(jax.nn.one_hot(self.symbol, self.output_size), shape)


@dataclasses.dataclass(frozen=True)
class CountsOnes(Model):
    """Knows the parity of strings of at most 60 symbols; answers 0 to longer ones."""

    def init(self, key, input_size):
        raise NotImplementedError

    def logits(self, params, inputs, mask=None):
        ones = jnp.cumsum(inputs[..., 1], axis=0).astype(jnp.int32)
        symbols = jnp.cumsum(inputs[..., 0] + inputs[..., 1], axis=0)
        answer = jnp.where(symbols <= 60, ones % 2, 0)
        return jax.nn.one_hot(answer, 2, dtype=jnp.float32)


@dataclasses.dataclass(frozen=True)
class Config:
    """What the score asks of a config."""

    task: tasks.Task
    model: Model

    def make_task(self):
        return self.task

    def make_model(self, num_slots):
        return self.model


@pytest.mark.parametrize(
    "task",
    [
        chomsky.EvenPairs(),
        pytest.param(chomsky.BinaryAddition(), marks=pytest.mark.slow),
    ],
)
def test_the_shares_of_all_symbols_are_one(task):
    """Of a symbol that is always the answer, the accuracy is its share."""
    size = len(task.answers)
    lengths = range(41, 60, 9)
    found = np.array(
        [
            score.accuracies({}, Config(task, Always(i, size)), each=5, lengths=lengths)  # type: ignore[arg-type]
            for i in range(size)
        ]
    )
    np.testing.assert_allclose(found.sum(axis=0), 1)
    if type(task) is chomsky.BinaryAddition:
        # A sum has 21 to 41 bits, and one symbol of each answer is the last.
        assert (found[-1] > 1 / 60).all()
        assert (found[-1] < 1 / 20).all()


def test_each_length_has_its_own_accuracy():
    config = Config(chomsky.Parity(), CountsOnes())
    lengths = range(51, 131, 10)
    found = score.accuracies({}, config, each=20, lengths=lengths)  # type: ignore[arg-type]
    assert found[0] == 1
    assert all(0.1 < one < 0.9 for one in found[1:])
    assert found == score.accuracies({}, config, each=20, lengths=lengths)  # type: ignore[arg-type]
    other = score.accuracies({}, config, each=20, lengths=lengths, seed=1)  # type: ignore[arg-type]
    assert found != other
    assert (score.LENGTHS[0], score.LENGTHS[-1]) == (41, 500)


def test_every_cell_has_settings_that_there_are():
    """At most 100,000 sequences each, as the page says of the NTM."""
    every = [*cells.cells(tuple(cells.PLACES), tuple(cells.MODELS))]
    assert len(every) == 15 * 5
    assert {*cells.PLACES} == {*published.SCORES}
    for cell in every:
        assert len({json.dumps(each) for each in cell.settings}) == len(cell.settings)
        for settings in cell.settings:
            config = cell.config(settings, seed=3)
            assert config.steps * config.batch_size <= 100_000
            assert config.seed == 3


def test_names_that_there_are_not_are_named(capsys):
    for flag, name in (("tasks", "Parity"), ("models", "rnn")):
        with pytest.raises(SystemExit):
            command.main([f"--{flag}", name])
        assert f"{flag}: got '{name}'" in capsys.readouterr().err


BLOCK = "before\n<!-- scores -->\nold\n<!-- end -->\nafter\n"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The command with folders of its own, and what it makes of each run."""
    made = []

    def of_run(cell, settings, config, path, each):
        made.append((cell.name, config.seed))
        return {
            "settings": json.loads(json.dumps(settings)),
            "seed": config.seed,
            "sequences": 9600,
            "seconds": 30,
            "cpu_seconds": 66.0,
            "strings": each,
            "score": {0: 99.996, 1: 50.0}.get(config.seed, 100.0),
            "accuracies": [1.0],
        }

    monkeypatch.setattr(runs, "of_run", of_run)
    (tmp_path / "page.md").write_text(BLOCK)
    folders = [f"--{name}={tmp_path / name}" for name in ("runs", "records")] + [
        f"--page={tmp_path / 'page.md'}"
    ]
    return lambda *flags: command.main([*folders, *flags]), made, tmp_path


def test_runs_of_a_record_are_not_made_again(asked):
    run, made, folder = asked
    cell = ["--tasks", "parity", "--models", "lstm"]
    assert run(*cell, "--num_seeds=2") == 0
    assert made == [("parity_lstm", 0), ("parity_lstm", 1)]
    assert run(*cell, "--num_seeds=3") == 0
    assert made[2:] == [("parity_lstm", 2)]
    kept = json.loads((folder / "records" / "parity_lstm.json").read_text())["runs"]
    assert [each["seed"] for each in kept] == [0, 1, 2]


def test_the_page_has_the_best_score_and_all_seeds(asked):
    run, _, folder = asked
    assert run("--tasks", "parity", "--models", "lstm", "--num_seeds=2") == 0
    text = (folder / "page.md").read_text()
    assert text.startswith("before\n<!-- scores -->\n|")
    assert text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text
    theirs = "*100* | *100* | *100* | *52* | *100*"
    assert f"| parity |  |  |  |  | 99.9 | {theirs} |" in text
    # The worst of two is their lower median, too.
    wanted = "| regular | parity | LSTM | 2 | 1 | 99.9 | 50.0 | 50.0 | 9,600 | 1.1 |"
    assert wanted in text


def test_a_damaged_record_is_named(asked, capsys):
    run, _, folder = asked
    (folder / "records").mkdir()
    (folder / "records" / "parity_lstm.json").write_text('{"runs": [{}]}')
    with pytest.raises(SystemExit):
        run("--tasks", "parity", "--models", "lstm")
    assert "parity_lstm.json: not a record" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_trained_evaluated_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(score, "_PAD_TO", (50,))
    monkeypatch.setattr(
        runs,
        "accuracies",
        lambda *a, each: score.accuracies(*a, each=each, lengths=range(41, 44)),
    )
    tiny = {"steps": 20, "steps_per_call": 10, "validate_every": 10, "batch_size": 2}
    tiny |= {"checkpoint_every": 10, "validation_sequences": 2, "num_slots": 8}
    monkeypatch.setitem(cells.OF_TASK, ("parity", "ntm_lstm"), (tiny,))
    cell = cells.cell("parity", "ntm_lstm")
    folders = {"runs": tmp_path / "runs", "records": tmp_path / "records"}
    made = runs.add(cell, cell.settings[0], 4, **folders, each=2)
    assert made is not None
    assert (made["seed"], made["sequences"]) == (4, 40)
    assert made["score"] == pytest.approx(100 * np.mean(made["accuracies"]), abs=1e-3)
    assert made["cpu_seconds"] > 0
    assert runs.read(tmp_path / "records", cell.name) == [made]
    # Without its record, the run is complete: nothing is trained again.
    (tmp_path / "records" / f"{cell.name}.json").unlink()
    again = runs.add(cell, cell.settings[0], 4, **folders, each=2)
    assert again == {**made, "cpu_seconds": None}
