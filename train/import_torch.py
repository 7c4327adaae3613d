"""Converts a machine that was trained with PyTorch to a file for `train.evaluate`.

    python -m train.import_torch --weights=model.pt --source=clemkoa --out=a.safetensors
    python -m train.evaluate --pretrained=a.safetensors --length=20

PyTorch is needed to read its own files, but not to read a state dict in `.npz` or
`.safetensors`.
"""

import dataclasses
import importlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from safetensors.numpy import load_file

from ntm_jax import NTMConfig, interop
from ntm_jax.tasks import TaskName

from . import cli
from .runs import pretrained
from .runs.commands import spelled
from .runs.config import TrainConfig
from .runs.files import check_spelling
from .ship import versions
from .training.measure import evaluate, evaluation_key

# Sequences for a check that the machine knows the task in our layout.
_CHECKED = 20
_SOURCES: dict[str, Callable[..., tuple[NTMConfig, dict[str, Any]]]] = {
    "pytorch_ntm": interop.from_pytorch_ntm,
    "clemkoa": interop.from_clemkoa,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Converts a PyTorch state dict to a .safetensors file, and evaluates it."""

    weights: Path
    """The state dict: a .pt, .npz or .safetensors file."""
    source: Literal["pytorch_ntm", "clemkoa"]
    """The code that trained it.
    - pytorch_ntm: loudinthecloud/pytorch-ntm.
    - clemkoa: clemkoa/ntm."""
    out: Path
    """The .safetensors file to write."""
    revision: interop.ClemkoaRevision | None = None
    """Revision of clemkoa's code; None uses f6da298, that of the trained models."""
    task: TaskName = "copy"
    """The task it was trained on.
    Its input layout must match ours; for copy it does."""
    overwrite: bool = False
    """Replace the file if it exists."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m train.import_torch")
    with cli.readable_errors():
        cli.keep_compilations()
        out = flags.out
        cli.check_out(out, overwrite=flags.overwrite)
        options: dict[str, Any] = {}
        if flags.revision is not None:
            if flags.source != "clemkoa":
                raise ValueError(
                    f"revision: got {flags.revision!r}, want none: {flags.source} has "
                    "one revision only; leave out --revision"
                )
            options["revision"] = flags.revision
        state_dict = read_state_dict(flags.weights)
        machine, params = _SOURCES[flags.source](state_dict, **options)
        config = run_config(machine, params, flags.task)
        pretrained.check_numbers(pretrained.by_path(params))
        result = evaluate(
            jax.tree.map(lambda leaf: leaf[None], params),
            config,
            keys=evaluation_key(0)[None],
            num_sequences=_CHECKED,
        )[0]
        pretrained.save(out, params, config, how_made(flags, result))
        print(f"Wrote {out}.")
        print(json.dumps(result))
    return 0


def read_state_dict(path: Path) -> dict[str, Any]:
    """The names and arrays in a file; no code of the file is run.

    Raises:
      ValueError: if it is not a state dict, or PyTorch is needed but not installed.
    """
    if not path.is_file():
        raise ValueError(f"weights: got {path}, want a file that exists")
    check_spelling("weights", path)
    with path.open("rb"):
        pass  # or the system says why not
    readers: dict[str, Callable[[Path], Any]] = {
        ".npz": _read_npz,
        ".safetensors": load_file,
    }
    try:
        state_dict = readers.get(path.suffix, _read_torch)(path)
    except Exception as error:  # Readers raise errors of every kind.
        raise ValueError(f"weights: got {path}: {first_line(error)}") from None
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            f"weights: got {path}, which holds a {type(state_dict).__name__}, want a "
            "state dict"
        )
    return dict(state_dict)


def _read_npz(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return dict(np.lib.npyio.NpzFile(file, allow_pickle=False))


def _read_torch(path: Path) -> Any:
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise ValueError(
            "only PyTorch can read it, which is not installed; pip install torch, or "
            "save the state dict as .npz or .safetensors"
        ) from None
    return torch.load(path, map_location="cpu", weights_only=True)


def first_line(error: Exception) -> str:
    """The first line of an error's message; its name if there is no message."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def run_config(machine: NTMConfig, params: dict[str, Any], task: str) -> TrainConfig:
    """The config of a run that would train a machine of this kind.

    Raises:
      ValueError: if the sizes of the machine do not fit the task.
    """
    cells = getattr(machine.controller, "cells", (machine.controller,))
    shared = {field.name for field in dataclasses.fields(TrainConfig)}
    fields: dict[str, Any] = {
        field.name: getattr(machine, field.name)
        for field in dataclasses.fields(NTMConfig)
        if field.name in shared - {"controller"}
    }
    config = TrainConfig(
        task=task,
        controller_units=cells[0].features,
        controller_layers=len(cells),
        **fields,
    )
    wanted = config.make_task()
    first = params["controller"].get("cells_0", params["controller"])
    read_size = machine.num_read_heads * machine.slot_size
    inputs = first["ii"]["kernel"].shape[0] - read_size
    if (inputs, machine.output_size) != (wanted.input_size, wanted.output_size):
        raise ValueError(
            f"task: got {task!r}, which has {wanted.input_size} inputs and "
            f"{wanted.output_size} outputs, want one with the {inputs} and "
            f"{machine.output_size} of the machine"
        )
    return config


def how_made(flags: Flags, result: dict[str, Any]) -> dict[str, Any]:
    """The provenance of a machine that was not trained here."""
    revision = "" if flags.revision is None else f" --revision={flags.revision}"
    return {
        "command": spelled(
            f"python -m train.import_torch --weights={flags.weights.name} "
            f"--source={flags.source}{revision} --task={flags.task} "
            f"--out={flags.out.name}"
        ),
        "seed": 0,
        "step": 0,
        "sequences": 0,
        "seconds": 0.0,
        "versions": versions(),
        "evaluation": [{"machine": 0, "step": 0, "solved_at": None, **result}],
    }


if __name__ == "__main__":
    sys.exit(main())
