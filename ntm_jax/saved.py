"""Machines as files: safetensors, which hold arrays and text but no code.

The text of a file is `ntm_config`, the config as JSON; `input_size`; and `sha256`, the
hash of all other text and of the arrays. Files of the trainer have more text.
"""

import importlib.resources
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.serialization import from_state_dict
from flax.traverse_util import unflatten_dict

from ntm_jax import controllers, tensors
from ntm_jax.arrays import canonical
from ntm_jax.checks import check_count
from ntm_jax.config import NTMConfig
from ntm_jax.files import read_json
from ntm_jax.fit import check_config, check_params
from ntm_jax.initial import init
from ntm_jax.types import Params, PyTree

CONFIG, INPUT_SIZE = "ntm_config", "input_size"


def save(path: str | os.PathLike[str], params: Params, config: NTMConfig) -> None:
    """Writes a machine to a file, from which `load` reads it.

    >>> import tempfile
    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = f"{folder.name}/machine.safetensors"
    >>> save(path, params, config)
    >>> load(path)[1] == config
    True
    >>> folder.cleanup()

    A kill or an error leaves the old file, if there is one, or the new one. Needs the
    package safetensors.

    Args:
      path: of the file, by convention with the suffix `.safetensors`.
      params: of `init`, trained or not.
      config: of the machine. Its controller must be plain data: one that `lstm`, `gru`
        or `feed_forward` makes.

    Raises:
      TypeError, ValueError: if the parameters do not fit the config, or the controller
        is not plain data.
      OSError: if the file cannot be written.
      ModuleNotFoundError: without safetensors.
    """
    params = canonical(params)
    tensors.write(Path(path), params, metadata_of(params, config))


def load(path: str | os.PathLike[str]) -> tuple[Params, NTMConfig]:
    """The parameters and the config of a machine that `save` wrote, or the trainer.

    >>> params, config = load(machine_file("copy"))
    >>> config.output_size
    8

    No code of the file is run. Needs the package safetensors.

    Args:
      path: of the file.

    Raises:
      ValueError: if the file does not hold a machine, or is damaged.
      OSError: if there is no such file, or it cannot be read.
      ModuleNotFoundError: without safetensors.
    """
    path = Path(path)
    with tensors.reading(path, "a machine of ntm_jax.save") as file:
        metadata = file.metadata() or {}
        headers = tensors.headers_of(file)
        config, input_size = _read_metadata(metadata, headers)
        wanted = _shapes(config, input_size, _dtype(headers))
        tensors.check_headers(headers, tensors.by_path(wanted))
        arrays = {name: file.get_tensor(name) for name in headers}
        if tensors.SHA256 not in metadata:
            raise ValueError(f"got no metadata {tensors.SHA256!r}")
        tensors.check_hash(metadata, arrays)
    return from_state_dict(wanted, unflatten_dict(arrays, sep="/")), config


def pretrained(machine: str) -> tuple[Params, NTMConfig]:
    """The parameters and the config of a trained machine that comes with the package.

    >>> params, config = pretrained("copy")
    >>> config.num_slots
    128

    Needs the package safetensors.

    Args:
      machine: its name, such as `"copy"`. The error for an unknown name lists all.

    Raises:
      ValueError: if no machine has this name.
      ModuleNotFoundError: without safetensors.
    """
    return load(machine_file(machine))


def machines() -> Path:
    """The folder of the trained machines: in a wheel, or at the top of a checkout."""
    package = Path(str(importlib.resources.files("ntm_jax")))
    installed = package / "machines"
    return installed if installed.is_dir() else package.parent / "pretrained"


def machine_names() -> tuple[str, ...]:
    """The names of the trained machines."""
    return tuple(sorted(path.stem for path in machines().glob("*.safetensors")))


def machine_file(name: str) -> Path:
    """The file of a trained machine.

    Raises:
      ValueError: if there is none.
    """
    if name not in machine_names():
        raise ValueError(
            f"machine: got {name!r}, want one of {', '.join(machine_names())}; use "
            "ntm_jax.load for the path of a file"
        )
    return machines() / f"{name}.safetensors"


def metadata_of(params: Params, config: NTMConfig) -> dict[str, str]:
    """The text that `load` needs, of parameters that fit the config.

    Raises:
      TypeError, ValueError: if they do not fit, or the config is not plain data.
    """
    check_config(config)
    check_params(params, config)
    fields = config.to_dict()
    bias = params["output"]["bias"]
    read_size = config.num_read_heads * config.slot_size
    size = controllers.fitting_input_size(
        config.controller,
        jax.tree.map(lambda leaf: _in_float32(leaf.shape), params["controller"]),
        controllers.initial_carry(config.controller, 1, ()),
        _in_float32((1,)),
    )
    if size is None or size <= read_size:
        raise ValueError(
            "params['controller']: got parameters that do not fit the config's "
            "controller, want those of init"
        )
    input_size = size - read_size
    _check_shapes(
        tensors.by_path(params),
        tensors.by_path(_shapes(config, input_size, bias.dtype)),
    )
    return {CONFIG: json.dumps(fields), INPUT_SIZE: str(input_size)}


def read_config(metadata: Mapping[str, str]) -> NTMConfig:
    """The config of the machine.

    Raises:
      TypeError, ValueError: if there is none.
    """
    return NTMConfig.from_dict(_plain_config(metadata))


def _plain_config(metadata: Mapping[str, str]) -> dict[str, Any]:
    if CONFIG not in metadata:
        hint = "; train.pretrained.load_run opens it" if "made" in metadata else ""
        raise ValueError(f"got no metadata {CONFIG!r}{hint}")
    fields = read_json(metadata[CONFIG])
    if not isinstance(fields, dict):
        raise TypeError(f"{CONFIG}: got {type(fields).__name__}, want a JSON object")
    return fields


def _read_metadata(
    metadata: Mapping[str, str], headers: Mapping[str, Any]
) -> tuple[NTMConfig, int]:
    """The config and the input size, neither larger than what the file holds."""
    fields = _plain_config(metadata)
    controller = fields.get("controller")
    of_controller = controller if isinstance(controller, dict) else {}
    input_size = read_json(metadata.get(INPUT_SIZE, "null"))
    check_count(INPUT_SIZE, input_size)
    # Before anything is made in these sizes.
    sizes = {**fields, **of_controller, INPUT_SIZE: input_size}
    if "learned" not in fields.values():
        sizes.pop("num_slots", None)
    most = tensors.numbers_in(headers)
    for name, size in sizes.items():
        if isinstance(size, int) and size > most:
            raise ValueError(f"{name}: got {size}, but only {most} numbers in all")
    layers = of_controller.get("num_layers", 1)
    if isinstance(layers, int) and layers > len(headers):
        raise ValueError(
            f"num_layers: got {layers}, but only {len(headers)} arrays in all"
        )
    return read_config(metadata), input_size


def _dtype(headers: Mapping[str, Any]) -> str:
    """The dtype of all parameters, which is that of the output's bias."""
    if "output/bias" not in headers:
        raise ValueError("got no array 'output/bias'")
    kind = headers["output/bias"].get_dtype()
    if kind not in tensors.DTYPES:
        raise ValueError(f"output/bias: got {kind}, want {' or '.join(tensors.DTYPES)}")
    if kind == "F64" and not jax.config.read("jax_enable_x64"):
        raise ValueError(
            "output/bias: got F64, want F32 or BF16 without jax_enable_x64; set it: "
            "jax.config.update('jax_enable_x64', True)"
        )
    return tensors.DTYPES[kind]


def _in_float32(shape: tuple[int, ...]) -> Any:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _shapes(config: NTMConfig, input_size: int, dtype: Any) -> PyTree:
    """The shapes of the parameters of such a machine."""
    return jax.eval_shape(lambda: init(jax.random.key(0), config, input_size, dtype))


def _check_shapes(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises a `ValueError` unless parameters have the names and shapes wanted."""
    try:
        tensors.check_names(got, wanted)
    except ValueError as error:
        raise ValueError(f"params: {error}, want those of init") from None
    for name, want in wanted.items():
        if got[name].shape != want.shape or got[name].dtype != want.dtype:
            raise ValueError(
                f"params: got {got[name].dtype}{list(got[name].shape)} for {name!r}, "
                f"want {want.dtype}{list(want.shape)}"
            )
