"""A state dict becomes a file that evaluates."""

import json
import sys
import types

import chex
import numpy as np
import pytest
from safetensors.numpy import save_file
from state_dicts import PAIR, clemkoa_dict, pytorch_ntm_dict
from tiny import listing, short_of_time  # noqa: F401 (a fixture)

from ntm_jax import interop
from train import evaluate, import_torch
from train.runs import pretrained

# Of the copy task.
WIDTHS = {"inputs": 9, "outputs": 8}


@pytest.fixture
def saved(tmp_path):
    """Two state dicts in files."""
    np.savez(tmp_path / "theirs.npz", allow_pickle=False, **clemkoa_dict(**WIDTHS))
    w = pytorch_ntm_dict(PAIR * 2, layers=2, **WIDTHS)
    contiguous = {name: np.ascontiguousarray(array) for name, array in w.items()}
    save_file(contiguous, tmp_path / "theirs.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "source", "convert", "options"),
    [
        pytest.param(
            *("theirs.npz", "clemkoa", interop.from_clemkoa, {"revision": "723d4eb"}),
            marks=pytest.mark.slow,
        ),
        ("theirs.safetensors", "pytorch_ntm", interop.from_pytorch_ntm, {}),
    ],
)
def test_a_file_evaluates(saved, file, source, convert, options, capsys):
    out = saved / "ours.safetensors"
    given = [f"--weights={saved / file}", f"--source={source}", f"--out={out}"]
    given += [f"--{name}={value}" for name, value in options.items()]
    assert import_torch.main(given) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    params, config = pretrained.load(out)
    theirs, expected = convert(import_torch.read_state_dict(saved / file), **options)
    assert config == theirs
    chex.assert_trees_all_equal(params, expected)
    arguments = [f"--pretrained={out}", "--num_sequences=2", "--length=3"]
    assert evaluate.main(arguments) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["step"] == 0
    assert 0 < result["wrong_bits_per_sequence"] < said["wrong_bits_per_sequence"]
    made = pretrained.load_run(out)[2]
    assert f"--weights={file} --source={source}" in made["command"]
    assert str(saved) not in made["command"]


def test_a_file_of_pytorch_is_read_by_pytorch(tmp_path, monkeypatch):
    asked = {}

    def load(path, **options):
        asked.update(options)
        return json.loads(path.read_text())

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
    path = tmp_path / "model.pt"
    path.write_text('{"fc.bias": [1.0]}')
    assert import_torch.read_state_dict(path) == {"fc.bias": [1.0]}
    assert asked == {"map_location": "cpu", "weights_only": True}
    for text, message in (
        ("[]", "which holds a list, want a state dict"),
        ("[", "model.pt: Expecting value"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            import_torch.read_state_dict(path)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r"weights: .*only PyTorch can read it"):
        import_torch.read_state_dict(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"text", bytes(300)])
def test_a_file_that_holds_something_else_is_named(tmp_path, suffix, content):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"weights: got .*model{suffix}: "):
        import_torch.read_state_dict(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": "nowhere.npz"}, "nowhere.npz, want a file that exists"),
        ({"source": "pytorch_ntm"}, "state_dict: got no 'ntm.memory.mem_bias'"),
        ({"task": "repeat_copy"}, "task: got 'repeat_copy', which has 10 inputs and 9"),
        ({"out": "ours.npz"}, "ours.npz, want a .safetensors file"),
        ({"out": "theirs.safetensors"}, "which exists; pass --overwrite"),
        ({"source": "pytorch_ntm", "revision": "f6da298"}, "revision: got 'f6da298'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    saved, changed, message, capsys
):
    given = {"weights": "theirs.npz", "source": "clemkoa", "out": "ours.safetensors"}
    given |= changed
    for name in ("weights", "out"):
        given[name] = str(saved / given[name])
    before = listing(saved)
    with pytest.raises(SystemExit, match="2"):
        import_torch.main([f"--{name}={value}" for name, value in given.items()])
    assert message in capsys.readouterr().err
    assert listing(saved) == before
