"""Starting from trained parameters, and letting some of them learn."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import TINY, flags, listing, short_of_time, undrawn  # noqa: F401 (fixtures)

import ntm_jax
import train
from ntm_jax.tensors import by_path
from train import main
from train.runs.config import TrainConfig
from train.runs.folder import RunFolder
from train.training.learned import learned_of, paths_of

SHORT = dataclasses.replace(
    TINY, steps=4, steps_per_call=2, validate_every=4, polish_steps=4
)
PATHS = paths_of(train.member(train.init_states(SHORT).params, 0))


@pytest.fixture(autouse=True)
def loose_dtypes():
    """Optax's Adam mixes dtypes itself."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run, and its first machine in a file."""
    folder = tmp_path_factory.mktemp("source")
    config = dataclasses.replace(SHORT, seed=7, num_seeds=2)
    result = train.fit("copy", config, workdir=folder / "run")
    ntm_jax.save(
        folder / "machine.safetensors", result.params, config.make_ntm_config()
    )
    return folder, by_path(jax.device_get(result.params))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["run", "machine.safetensors"])
def test_parameters_are_taken_where_paths_and_shapes_fit(what, source, tmp_path):
    folder, arrays = source
    config = dataclasses.replace(
        SHORT, num_seeds=2, init_from=str(folder / what), task_fields={"num_bits": 4}
    )
    run = RunFolder(tmp_path / "run", config)
    params = by_path(jax.device_get(run.load().params))
    plain = dataclasses.replace(config, init_from=None)
    own = by_path(jax.device_get(train.init_states(plain).params))
    given = run.given
    assert given is not None
    of_other_size = {name for name in PATHS if name.startswith("output/")}
    of_other_size |= {f"controller/i{gate}/kernel" for gate in "figo"}
    assert {*given.initialised} == {*given.unused} == of_other_size
    assert {*given.taken} == {*PATHS} - of_other_size
    for name, values in params.items():
        for seed in (0, 1):
            want = arrays[name] if name in given.taken else own[name][seed]
            np.testing.assert_array_equal(values[seed], want)


@pytest.mark.rare
def test_a_shipped_machine_goes_on_as_it_is():
    config = train.config_for(
        "copy", init_from="copy", steps=1, validation_sequences=4, batch_size=2,
        learning_rate=1e-9,
    )  # fmt: skip
    result = train.fit("copy", config)
    assert result.solved
    assert result.given is not None
    assert not result.given.initialised
    assert not result.given.unused


@pytest.mark.slow
def test_the_command_says_what_it_takes(source, tmp_path, capsys, monkeypatch):
    folder, _ = source
    monkeypatch.chdir(folder)
    words = [
        *flags(SHORT),
        "--init_from=./run",
        "--num_bits=4",
        f"--workdir={tmp_path / 'run'}",
    ]
    assert main.main(words) == 0
    told = capsys.readouterr().out
    assert f"Taken from {folder / 'run'}: controller/hf/bias, " in told
    assert "Initialised: controller/if/kernel, " in told
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["init_from"] == str(folder / "run")
    monkeypatch.chdir(tmp_path)
    again = TrainConfig.from_text(json.dumps(config))
    assert again.init_from == str(folder / "run")


@pytest.mark.slow
def test_a_run_that_starts_from_another_ends_the_same_after_a_kill(source, tmp_path):
    folder, _ = source
    config = dataclasses.replace(SHORT, steps=8, init_from=folder / "run")
    whole = train.fit("copy", config)

    def stop(report):
        if report.step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.fit("copy", config, workdir=tmp_path / "run", callbacks=[stop])
    resumed = train.fit("copy", config, workdir=tmp_path / "run")
    assert resumed.given is None
    same(whole.population, resumed.population)


def same(one, other):
    for got, want in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
        np.testing.assert_array_equal(got, want)


@pytest.mark.rare
def test_params_are_where_a_run_starts(source, tmp_path):
    folder, _ = source
    params = ntm_jax.load(folder / "machine.safetensors")[0]
    result = train.fit("copy", SHORT, params=params, workdir=tmp_path / "run")
    by_file = dataclasses.replace(SHORT, init_from=folder / "machine.safetensors")
    same(result.population, train.fit("copy", by_file).population)
    assert str(result.config.init_from).startswith("sha256:")
    train.fit("copy", SHORT, params=params, workdir=tmp_path / "run")  # the same run
    other = jax.tree.map(lambda leaf: leaf + 1, params)
    with pytest.raises(ValueError, match="init_from: got 'sha256:"):
        train.fit("copy", SHORT, params=other, workdir=tmp_path / "run")
    with pytest.raises(ValueError, match="params, init_from: got params and 'copy'"):
        train.fit("copy", dataclasses.replace(SHORT, init_from="copy"), params=params)
    with pytest.raises(ValueError, match="want the parameters with this hash"):
        train.fit("copy", result.config)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [None, optax.adamw(1e-2, weight_decay=0.1)])
def test_what_does_not_learn_stays_to_the_last_bit(optimizer):
    config = dataclasses.replace(SHORT, learn="^output/|read_heads")
    before = by_path(jax.device_get(train.init_states(config, optimizer).params))
    result = train.fit("copy", config, optimizer=optimizer)
    after = by_path(jax.device_get(result.population))
    for name, values in after.items():
        learns = name.startswith(("output/", "read_heads/"))
        assert np.array_equal(values, before[name]) != learns, name
    state = train.init_states(config, optax.adam(1e-2)).opt_state
    learned = [name for name in PATHS if name.startswith(("output", "read_heads"))]
    assert len(jax.tree.leaves(state)) == 1 + 2 * len(learned)


@pytest.mark.slow
def test_a_negative_zero_that_does_not_learn_stays_one():
    config = dataclasses.replace(SHORT, learn="output")
    state = train.member(train.init_states(config), 0)
    params = jax.tree.map(lambda leaf: jnp.full_like(leaf, -0.0), state.params)
    update = jax.jit(train.update, static_argnames="config")
    batch = train.batch_of(config, 0, 0)
    state, _ = update(state.replace(params=params), batch, config=config)
    assert np.signbit(state.params["read_heads"]["bias"]).all()
    assert not np.signbit(state.params["output"]["bias"]).all()


@pytest.mark.parametrize("pattern", ["bias$", "heads", "^controller/"])
def test_a_pattern_is_looked_for_anywhere_in_a_path(pattern):
    config = dataclasses.replace(SHORT, learn=pattern)
    params = train.member(train.init_states(SHORT).params, 0)
    wanted = [name for name in PATHS if re.search(pattern, name)]
    assert sorted(paths_of(learned_of(config, params))) == sorted(wanted)


@pytest.mark.rare
def test_if_all_match_all_learn():
    everything = train.fit("copy", dataclasses.replace(SHORT, learn="."))
    same(everything.population, train.fit("copy", SHORT).population)


@pytest.mark.slow
def test_embedded_and_lone_models_have_such_paths():
    lstm = train.config_for("copy", model="lstm", controller_units=4)
    paths = paths_of(train.member(train.init_states(lstm).params, 0))
    assert "Dense_0/kernel" in paths


def test_config_files_from_before_are_read_as_before():
    fields = json.loads(SHORT.to_json())
    for name in ("init_from", "learn"):
        assert fields.pop(name) is None
    assert TrainConfig.from_text(json.dumps(fields)) == SHORT


BAD = {
    "name": ("sudoku", "init_from: got 'sudoku', want one of associative_recall, "),
    "folder without path": ("run", "or a run, such as ./run"),
    "no folder": ("./nowhere", "init_from: got .*nowhere, want the folder of a run"),
    "no file": ("no.safetensors", "init_from: got .*no.safetensors, want a file"),
    "not one": ("text.safetensors", "init_from: .*text.safetensors: not a file of a m"),
    "damaged": ("damaged.safetensors", "init_from: .*not a file of a machine: sha256"),
    "nan": ("nan.safetensors", "numbers that are not finite in controller/"),
    "none fits": ("other.safetensors", "of which no array fits, want at least one of"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_what_is_no_source_is_named(case, tmp_path, monkeypatch, source):
    what, message = BAD[case]
    monkeypatch.chdir(tmp_path)
    whole = (source[0] / "machine.safetensors").read_bytes()
    (tmp_path / "text.safetensors").write_text("not one")
    (tmp_path / "damaged.safetensors").write_bytes(whole[:-1] + b"x")
    params, config = ntm_jax.load(source[0] / "machine.safetensors")
    nan = jax.tree.map(lambda leaf: leaf * jnp.nan, params)
    ntm_jax.save("nan.safetensors", nan, config)
    other = ntm_jax.NTMConfig(output_size=3, controller=ntm_jax.gru(5))
    machine = ntm_jax.init(jax.random.key(0), other, 2)
    ntm_jax.save("other.safetensors", machine, other)
    before = listing(tmp_path)
    with pytest.raises(ValueError, match=message):
        train.fit("copy", dataclasses.replace(SHORT, init_from=what), workdir="made")
    assert listing(tmp_path) == before
