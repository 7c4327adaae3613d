"""A state dict becomes a file that evaluates."""

import json
import sys
import types
import zipfile

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.flax import save_file as save_in_jax
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
        ("theirs.npz", "clemkoa", interop.from_clemkoa, {"revision": "723d4eb"}),
        ("theirs.safetensors", "pytorch_ntm", interop.from_pytorch_ntm, {}),
    ],
)
@pytest.mark.slow
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


def npz_of_header(path, header: bytes):
    """A .npz file of one array, of which there is nothing but this header."""
    padded = header.ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        size = len(padded).to_bytes(2, "little")
        archive.writestr("fc.bias.npy", b"\x93NUMPY\x01\x00" + size + padded)


@pytest.mark.parametrize(
    "shape",
    ["(1000000000000,)", "(10**12,)", "(3000000000, 3000000000)", f"({10**30},)"],
)
def test_an_npz_that_promises_more_than_it_holds_is_named(shape, tmp_path):
    path = tmp_path / "model.npz"
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    npz_of_header(path, header.encode())
    with pytest.raises(ValueError, match=r"weights: got .*model\.npz: \w"):
        import_torch.read_state_dict(path)


def test_a_safetensors_file_that_promises_more_than_it_holds_is_named(tmp_path):
    path = tmp_path / "model.safetensors"
    told = {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}
    header = json.dumps({"fc.bias": told}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ValueError, match=r"weights: got .*model\.safetensors: \w"):
        import_torch.read_state_dict(path)


def test_an_encrypted_npz_is_named(saved):
    path = saved / "theirs.npz"
    content = bytearray(path.read_bytes())
    for start, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # its two headers
        content[content.index(start) + flag] |= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights: got .*theirs\.npz: .*encrypted"):
        import_torch.read_state_dict(path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (EOFError(), r"model\.pt: EOFError"),
        (RuntimeError("Invalid magic\nnumber"), r"model\.pt: Invalid magic$"),
        (KeyError("storage"), r"model\.pt: 'storage'"),
        (MemoryError(), r"model\.pt: MemoryError"),
    ],
)
def test_what_pytorch_cannot_read_is_named(error, message, tmp_path, monkeypatch):
    def load(*_, **__):
        raise error

    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(load=load))
    path = tmp_path / "model.pt"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        import_torch.read_state_dict(path)


class Bfloat16Tensor:
    """PyTorch's, as far as it is asked: NumPy cannot have it as it is."""

    dtype = "torch.bfloat16"

    def __init__(self, array):
        self._array = array

    def __array__(self, *_, **__):
        raise TypeError("Got unsupported ScalarType BFloat16")

    def float(self):
        return self._array.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_bfloat16_is_read(suffix, tmp_path, monkeypatch):
    w = clemkoa_dict(**WIDTHS)
    narrow = {name: np.asarray(jnp.asarray(w[name], jnp.bfloat16)) for name in w}
    path = tmp_path / f"theirs{suffix}"
    if suffix == ".npz":
        np.savez(path, allow_pickle=False, **narrow)
    elif suffix == ".safetensors":
        save_in_jax({name: jnp.asarray(narrow[name]) for name in narrow}, path)
    else:
        path.write_bytes(b"")
        tensors = {name: Bfloat16Tensor(narrow[name]) for name in narrow}
        torch = types.SimpleNamespace(load=lambda *_, **__: tensors)
        monkeypatch.setitem(sys.modules, "torch", torch)
    given = [f"--weights={path}", "--source=clemkoa", "--revision=723d4eb"]
    assert import_torch.main([*given, f"--out={tmp_path / 'ours.safetensors'}"]) == 0
    params, _ = pretrained.load(tmp_path / "ours.safetensors")
    wide = {name: narrow[name].astype(np.float32) for name in narrow}
    chex.assert_trees_all_equal(
        params, interop.from_clemkoa(wide, revision="723d4eb")[1]
    )


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
