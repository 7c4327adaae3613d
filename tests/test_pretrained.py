"""Trained machines as files: what is saved is loaded, and nothing else is."""

import dataclasses
import json
import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from machines import slow_unless
from safetensors.flax import save_file
from tiny import TINY, flags, listing, short_of_time, undrawn  # noqa: F401 (fixtures)

import ntm_jax
from benchmarks.tables import DESCRIPTIONS
from train import evaluate, main, ship
from train.runs import pretrained
from train.runs.folder import RunFolder
from train.training import measure
from train.training.population import member
from train.training.state import init_states

EVALUATED = {
    "machine": 0,
    "step": 3,
    "solved_at": None,
    "num_sequences": 2,
    "error_per_sequence": 1.0,
    "wrong_bits_per_sequence": 1.0,
    "perfect_fraction": 0.5,
}
MADE = {
    "command": "python -m train.main",
    "seed": TINY.seed,
    "step": EVALUATED["step"],
    "sequences": EVALUATED["step"] * TINY.batch_size,
    "seconds": 1,
    "versions": {},
    "evaluation": [EVALUATED],
}


def texts(config=None, made=None, **fields):
    """A file's metadata, of a config with these fields unless given as text."""
    own = dataclasses.replace(TINY, **fields).to_json()
    return {"config": config or own, "made": made or json.dumps(MADE)}


@pytest.fixture(scope="module")
def params():
    """Of a tiny machine, as it starts."""
    return member(init_states(TINY).params, 0)


@pytest.fixture
def saved(params, tmp_path):
    """Its file."""
    path = tmp_path / "machine.safetensors"
    pretrained.save(path, params, TINY, MADE)
    return path


def rewrite(path, **changed):
    """The file again with some arrays changed, or left out where None."""
    params, config, made = pretrained.load_run(path)
    arrays = {
        "/".join(str(entry.key) for entry in entries): leaf
        for entries, leaf in jax.tree.leaves_with_path(params)
    }
    arrays |= {name.replace("__", "/"): value for name, value in changed.items()}
    metadata = {"config": config.to_json(), "made": json.dumps(made)}
    save_file({k: v for k, v in arrays.items() if v is not None}, path, metadata)


@pytest.mark.slow
def test_what_is_saved_is_loaded(params, saved):
    loaded, config = pretrained.load(saved)
    chex.assert_trees_all_equal(loaded, params)
    assert config == TINY.make_ntm_config()
    assert pretrained.load_run(saved)[1:] == (TINY, MADE)
    state = ntm_jax.initial_state(loaded, config, num_slots=12)
    ntm_jax.step(loaded, state, jnp.zeros(9), config=config)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


@pytest.mark.slow
def test_a_first_carry_of_many_layers_is_loaded_as_it_was(tmp_path):
    # So many that the names of the layers are not in order.
    config = dataclasses.replace(
        TINY, initial_carry="learned", controller_layers=11, controller_units=1
    )
    params = member(init_states(config).params, 0)
    params["initial"]["carry"] = jax.tree.unflatten(
        jax.tree.structure(params["initial"]["carry"]),
        [jnp.full(1, i, jnp.float32) for i in range(22)],
    )
    path = tmp_path / "machine.safetensors"
    pretrained.save(path, params, config, MADE)
    chex.assert_trees_all_equal(pretrained.load_run(path)[0], params)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"output__bias": None}, "got no array 'output/bias'"),
        ({"extra": jnp.zeros(1)}, "got an unknown array 'extra'"),
        ({"output__bias": jnp.zeros(9)}, "output/bias: got F32[9], want F32[8]"),
        ({"output__bias": jnp.zeros(8, jnp.float16)}, "output/bias: got F16[8]"),
        ({"output__bias": jnp.zeros(8, jnp.float8_e4m3fn)}, "output/bias: got F8_E4M3"),
        ({"output__bias": jnp.full(8, jnp.nan)}, "output/bias: got numbers that are"),
        ({"output__bias": jnp.full(8, 3e38)}, "not finite, or beyond 1e18"),
    ],
)
def test_arrays_that_do_not_fit_are_named(saved, changed, message):
    rewrite(saved, **changed)
    with pytest.raises(ValueError, match=r"machine\.safetensors: not a t") as error:
        pretrained.load(saved)
    assert message in str(error.value)


def test_numbers_of_other_widths_are_not_narrowed(saved, x64):
    rewrite(saved, output__bias=jnp.zeros(8, jnp.float64))
    with pytest.raises(ValueError, match=r"output/bias: got F64\[8\], want F32"):
        pretrained.load(saved)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (texts(config="[" * 200_000), "nested too deeply"),
        (texts(made="[" * 200_000), "nested too deeply"),
        (
            texts(TINY.to_json().replace('_layers": 1,', '_layers": 100000000,')),
            "controller_layers: got 100000000, want at most",
        ),
        (texts(num_read_heads=10**9), "num_read_heads: got 1000000000, but only"),
        (texts(num_seeds=3), "num_seeds: got 3, want 1"),
    ],
)
def test_what_a_file_says_is_checked_before_it_is_built(saved, metadata, message):
    save_file({"output/bias": jnp.zeros(8)}, saved, metadata)
    with pytest.raises(ValueError, match=message):
        pretrained.load(saved)


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_a_truncated_file_is_named(saved, size):
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"machine\.safetensors: not a trained"):
        pretrained.load(saved)


def test_a_foreign_file_is_named_and_runs_no_code(saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").touch, ()

    saved.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="not a trained machine"):
        pretrained.load(saved)
    assert not (tmp_path / "sprung").exists()
    save_file({"a": jnp.zeros(2)}, saved)
    with pytest.raises(ValueError, match="got no metadata 'config'"):
        pretrained.load(saved)
    save_file({"a": jnp.zeros(2)}, saved, {"config": "{}", "made": "{}"})
    with pytest.raises(ValueError, match="not the config of a run"):
        pretrained.load(saved)
    save_file({"a": jnp.zeros(2)}, saved, {"config": TINY.to_json(), "made": "3"})
    with pytest.raises(ValueError, match="made: got 3, want a JSON object"):
        pretrained.load(saved)
    save_file({"a": jnp.zeros(2)}, saved, {"config": TINY.to_json(), "made": "{}"})
    with pytest.raises(ValueError, match=r"made\.command: got none, want"):
        pretrained.load(saved)
    for evaluation in ("good", [], [3], [{}]):
        made = json.dumps({**MADE, "evaluation": evaluation})
        save_file({"a": jnp.zeros(2)}, saved, {"config": TINY.to_json(), "made": made})
        with pytest.raises(ValueError, match=r"made\.evaluation"):
            pretrained.load(saved)


def test_an_lstm_alone_is_no_machine_to_compose_with(tmp_path):
    config = dataclasses.replace(TINY, model="lstm")
    path = tmp_path / "lstm.safetensors"
    pretrained.save(path, member(init_states(config).params, 0), config, MADE)
    assert pretrained.load_run(path)[1] == config
    with pytest.raises(ValueError, match="which is an LSTM alone, want a Neural"):
        pretrained.load(path)


def test_a_name_that_there_is_not():
    with pytest.raises(ValueError, match="pretrained: got 'sudoku', want one of"):
        pretrained.load("sudoku")
    with pytest.raises(ValueError, match=r"want one of .* or a \.safetensors file"):
        pretrained.load("/nowhere/x.safetensors")


@pytest.mark.slow
def test_a_run_becomes_a_file_that_evaluates_alike(tmp_path, monkeypatch, capsys):
    config = dataclasses.replace(TINY, steps=4, validate_every=4, num_seeds=2)
    workdir = tmp_path / "run"
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    assert main.main([f"--workdir={workdir}", *flags(config)]) == 0
    assert ship.main([f"--workdir={workdir}", "--seed=1", "--name=mine"]) == 0
    assert pretrained.names() == ("mine",)
    before = listing(tmp_path)
    for flag, message in (
        ("--name=mine", "name: got 'mine', want another or --overwrite"),
        ("--name=../mine", "name: got '../mine', want letters"),
        ("--seed=2", "seed: got 2, want one of the run's"),
    ):
        with pytest.raises(SystemExit, match="2"):
            ship.main([f"--workdir={workdir}", flag])
        assert message in capsys.readouterr().err
    assert listing(tmp_path) == before
    over = [f"--workdir={workdir}", "--seed=1", "--name=mine", "--overwrite"]
    assert ship.main(over) == 0
    capsys.readouterr()
    asked = ["--num_sequences=3", "--length=5", "--num_slots=9"]
    assert evaluate.main([f"--workdir={workdir}", *asked]) == 0
    of_run = [json.loads(line) for line in capsys.readouterr().out.splitlines()][1]
    assert evaluate.main(["--pretrained=mine", *asked]) == 0
    of_file = json.loads(capsys.readouterr().out.splitlines()[-1])
    for name in ("wrong_bits_per_sequence", "num_slots", "step", "length"):
        assert of_file[name] == of_run[name]
    _, _, made = pretrained.load_run("mine")
    assert made["seed"] == 1
    assert made["sequences"] == 4 * config.batch_size
    assert made["command"].startswith("python -m train.main --task=copy --seed=0 ")
    assert {entry["machine"] for entry in made["evaluation"]} == {1}
    small = tmp_path / "small.safetensors"
    assert (
        ship.main([f"--workdir={workdir}", f"--out={small}", "--dtype=bfloat16"]) == 0
    )
    rounded, _, _ = pretrained.load_run(small)
    first = RunFolder.open(workdir).restore().params
    jax.tree.map(
        lambda leaf, all: np.testing.assert_array_equal(
            leaf, np.asarray(all[0].astype(jnp.bfloat16), np.float32), strict=True
        ),
        rounded,
        first,
    )
    mine = tmp_path / "pretrained" / "mine.safetensors"
    assert small.stat().st_size < mine.stat().st_size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "workdir, pretrained: got none, want one of them"),
        (["--pretrained=a", "--workdir=b"], "got both, want one of them"),
        (["--pretrained=sudoku"], "pretrained: got 'sudoku'"),
    ],
)
def test_evaluate_wants_one_source(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(arguments)
    assert message in capsys.readouterr().err


def test_a_machine_ships_for_every_task():
    assert set(pretrained.names()) >= set(DESCRIPTIONS)


@pytest.mark.parametrize("name", slow_unless(["copy"], pretrained.names()))
def test_a_shipped_machine_does_what_is_recorded_of_it(name):
    params, config, made = pretrained.load_run(name)
    check = made["check"]
    assert name.startswith(config.task)
    result = measure.evaluate(
        jax.tree.map(lambda leaf: leaf[None], params),
        config,
        keys=measure.evaluation_key(check["seed"])[None],
        num_sequences=check["num_sequences"],
    )[0]
    # Where some are wrong, another processor may have one more or less.
    wrong = f"{config.make_task().targets.wrong_name}_per_sequence"
    np.testing.assert_allclose(result[wrong], check[wrong], rtol=0.2)
    np.testing.assert_allclose(
        result["loss_bits_per_sequence"], check["loss_bits_per_sequence"], rtol=1e-2
    )
