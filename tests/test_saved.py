"""`ntm_jax.save`, `load` and `pretrained`: machines as files, without the trainer."""

import json
import pickle
import subprocess
import sys

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.flax import save_file

import ntm_jax
from ntm_jax import files
from train import pretrained as shipped

CONFIG = ntm_jax.NTMConfig(
    output_size=3,
    num_slots=5,
    slot_size=4,
    num_read_heads=2,
    controller=ntm_jax.lstm(6),
    initial_memory="learned",
)


def make(config=CONFIG, input_size=7, dtype=jnp.float32):
    """Some numbers in the shapes of a machine's parameters, without a compilation."""
    shapes = jax.eval_shape(
        lambda: ntm_jax.init(jax.random.key(0), config, input_size, dtype)
    )
    draw = np.random.default_rng(0).standard_normal
    return jax.tree.map(lambda leaf: jnp.asarray(draw(leaf.shape), dtype), shapes)


@pytest.fixture(scope="module")
def params():
    return make()


@pytest.fixture
def path(params, tmp_path):
    """The file of a machine."""
    path = tmp_path / "machine.safetensors"
    ntm_jax.save(path, params, CONFIG)
    return path


def rewrite(path, *, text=None, **arrays):
    """The file again with some text or arrays changed, or left out where None."""
    with safe_open(path, framework="flax") as file:
        old_text = file.metadata()
        old = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    arrays = {name.replace("__", "/"): value for name, value in arrays.items()}
    merged, texts = {**old, **arrays}, {**old_text, **(text or {})}
    save_file(
        {name: value for name, value in merged.items() if value is not None},
        path,
        {name: value for name, value in texts.items() if value is not None},
    )


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        ntm_jax.NTMConfig(output_size=1, controller=ntm_jax.gru(3, 2)),
        ntm_jax.NTMConfig(
            output_size=2,
            controller=ntm_jax.feed_forward(4, activation=nn.relu),
            num_write_heads=2,
            sharpening="none",
        ),
        ntm_jax.NTMConfig(
            output_size=2,
            controller=ntm_jax.lstm(2, 11),  # the names of layers are not in order
            initial_carry="learned",
            initial_weighting="learned",
            num_slots=4,
        ),
    ],
)
def test_what_is_saved_is_loaded(config, tmp_path):
    params = make(config)
    ntm_jax.save(str(tmp_path / "a"), params, config)
    loaded, same = ntm_jax.load(str(tmp_path / "a"))
    assert same == config
    chex.assert_trees_all_equal(loaded, params)
    chex.assert_trees_all_equal_structs(loaded, params)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_what_is_not_finite_is_kept(params, path):
    params = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), params)
    ntm_jax.save(path, params, CONFIG)
    chex.assert_trees_all_equal(ntm_jax.load(path)[0], params)


def test_a_machine_in_bfloat16_stays_one(path):
    params = make(dtype=jnp.bfloat16)
    ntm_jax.save(path, params, CONFIG)
    loaded, _ = ntm_jax.load(path)
    assert loaded["output"]["bias"].dtype == jnp.bfloat16
    chex.assert_trees_all_equal(loaded, params)


def test_a_machine_in_float64_is_not_narrowed(path, x64):
    params = make(dtype=jnp.float64)
    ntm_jax.save(path, params, CONFIG)
    chex.assert_trees_all_equal(ntm_jax.load(path)[0], params)
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        ntm_jax.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p | {"output": {}}, r"got no params\['output'\]\['bias'\]"),
        (lambda p: {k: v for k, v in p.items() if k != "initial"}, "got no array"),
        (lambda p: p | {"more": jnp.zeros(1)}, "got an unknown array 'more'"),
        (lambda p: p | {"initial": {"memory": jnp.zeros(2)}}, "for 'initial/memory'"),
        (lambda p: p | {"controller": {}}, r"params\['controller'\]: got parameters"),
    ],
)
def test_parameters_of_another_machine_are_not_saved(params, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        ntm_jax.save(tmp_path / "a", change(params), CONFIG)
    assert not list(tmp_path.iterdir())


def test_a_controller_that_is_no_plain_data_is_refused(tmp_path):
    config = ntm_jax.NTMConfig(output_size=2, controller=nn.SimpleCell(3))
    with pytest.raises(ValueError, match="controller: got SimpleCell, want one that"):
        ntm_jax.save(tmp_path / "a", make(config), config)
    with pytest.raises(TypeError, match="config: got dict, want an NTMConfig"):
        ntm_jax.save(tmp_path / "a", make(config), config={})  # type: ignore
    assert not list(tmp_path.iterdir())


def test_an_error_while_writing_leaves_the_old_file(params, path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr(files.Path, "write_bytes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ntm_jax.save(path, params, CONFIG)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_path_that_there_is_not_is_the_systems_error(params, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ntm_jax.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ntm_jax.save(tmp_path / "nowhere" / "a", params, CONFIG)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"output__bias": None}, "got no array 'output/bias'"),
        ({"extra": jnp.zeros(1)}, "got an unknown array 'extra'"),
        ({"initial__memory": jnp.zeros((5, 3))}, r"initial/memory: got F32\[5, 3\]"),
        ({"output__bias": jnp.zeros(3, jnp.float16)}, "output/bias: got F16, want F32"),
        ({"output__bias": jnp.ones(3)}, "sha256: got other content"),
        ({"text": {"input_size": "6"}}, r"controller/.* got F32\[15, 6\], want F32"),
        ({"text": {"input_size": "[" * 200_000}}, "nested too deeply"),
        ({"text": {"input_size": None}}, "input_size: got None, want an integer"),
        ({"text": {"sha256": None}}, "got no metadata 'sha256'"),
        ({"text": {"ntm_config": None}}, "got no metadata 'ntm_config'"),
        ({"text": {"ntm_config": "3"}}, "ntm_config: got int, want a JSON object"),
        ({"text": {"ntm_config": "{}"}}, "output_size: got none, want a value"),
        ({"text": {"ntm_config": '{"a": 1}'}}, "fields: got 'a', want one of"),
    ],
)
def test_what_does_not_fit_is_named(path, changed, message):
    rewrite(path, **changed)
    with pytest.raises(ValueError, match=message) as error:
        ntm_jax.load(path)
    assert f"{path}: not a machine of ntm_jax.save: " in str(error.value)


@pytest.mark.parametrize(
    ("field", "size"),
    [("slot_size", 10**9), ("units", 10**9), ("num_layers", 10**5), ("num_slots", 1e6)],
)
def test_what_a_file_says_is_checked_before_it_is_built(path, field, size):
    fields = CONFIG.to_dict()
    (fields["controller"] if field in fields["controller"] else fields)[field] = int(
        size
    )
    rewrite(path, text={"ntm_config": json.dumps(fields)})
    with pytest.raises(ValueError, match=f"{field}: got {int(size)}, but only"):
        ntm_jax.load(path)


@pytest.mark.parametrize("size", [0, 4, 100, -1])
def test_a_truncated_file_is_named(path, size):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="not a machine of ntm_jax"):
        ntm_jax.load(path)


def test_every_byte_counts(path):
    content = path.read_bytes()
    for place in range(0, len(content), len(content) // 40):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="not a machine of ntm_jax"):
            ntm_jax.load(path)


def test_a_foreign_file_runs_no_code(path, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").touch, ()

    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="not a machine of ntm_jax"):
        ntm_jax.load(path)
    assert not (tmp_path / "sprung").exists()


def test_a_trained_machine_behind_an_embedding_is_not_one_of_the_library():
    with pytest.raises(ValueError, match=r"train\.pretrained\.load_run opens it"):
        ntm_jax.pretrained("poems")


@pytest.mark.parametrize("name", sorted({*shipped.names()} - {"poems"}))
def test_the_trained_machines_need_no_trainer(name):
    params, config = ntm_jax.pretrained(name)
    ntm_jax.initial_state(params, config)
    same_params, same_config = shipped.load(name)
    assert config == same_config
    chex.assert_trees_all_equal(params, same_params)


def test_a_trained_machine_that_there_is_not():
    for name in ("sudoku", "../copy", "", 3):
        with pytest.raises(ValueError, match=r"machine: got .*, want one of .*copy"):
            ntm_jax.pretrained(name)  # pyright: ignore


def test_a_file_of_the_library_is_no_run(path):
    with pytest.raises(ValueError, match=r"no metadata 'config'; ntm_jax\.load opens"):
        shipped.load(path)


WITHOUT = """
import sys
sys.modules["safetensors"] = None  # as if it were not installed
import ntm_jax
try:
    ntm_jax.pretrained("copy")
except ModuleNotFoundError as error:
    print(error)
assert not {"train", "tasks", "optax"} & {*sys.modules}
"""


def test_without_safetensors_an_error_says_what_to_install(tmp_path):
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True
    )
    assert "pip install safetensors" in told.stdout
