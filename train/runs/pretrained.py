"""Trained machines as files: safetensors, which hold arrays and text but no code.

To the text of `ntm_jax.save`, the trainer adds `config`, the config of a run of this
one machine, and `made`, its provenance: an object with at least the fields in
PROVENANCE. Files of other models, and older ones, lack the text of `ntm_jax.save`;
those of 0.1 may lack the hash. This command exports a machine of a complete run:

    python -m train.ship --workdir=runs/copy
"""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.serialization import from_state_dict
from flax.traverse_util import unflatten_dict

from ntm_jax import NTMConfig, saved, tasks, tensors
from ntm_jax.tasks import outside
from ntm_jax.tensors import by_path as by_path

from ..models import registry as models
from ..training.model import NTM
from . import schema
from .config import TrainConfig
from .entries import EVALUATED, evaluated
from .files import check_spelling, expanded, read_json

PyTree = Any
FOLDER = saved.machines()
PROVENANCE: schema.Fields = {
    "command": schema.text,
    "seed": schema.count,
    "step": schema.count,
    "sequences": schema.total,
    "seconds": schema.seconds,
    "versions": schema.record_of({}),
    "evaluation": schema.records_of(EVALUATED),
}
# Fields of the machine that are at most the size of an array.
_IN_A_SHAPE = (
    "num_read_heads",
    "num_write_heads",
    "slot_size",
    "shift_range",
)
# ntm_jax guarantees finite results up to here.
_LARGEST = 1e18


def names() -> tuple[str, ...]:
    """The names of the trained machines."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.safetensors")))


def load(name: str | Path, task: str | None = None) -> tuple[PyTree, NTMConfig]:
    """The parameters and the config of a machine, for the functions of `ntm_jax`.

    Args:
      name: one of `names`, or the path of a file that `save` wrote.
      task: as `load_run` takes it.

    Raises:
      ValueError: for an unknown name, and for a file that holds no machine, another
        model, or a machine behind an embedding.
    """
    params, config, _ = load_run(name, task)
    if config.model != "ntm":
        raise ValueError(
            f"pretrained: got {str(name)!r}, which is "
            f"{models.in_words(config.model)} alone, want a Neural Turing Machine; use "
            "load_run, which opens all models"
        )
    if isinstance(config.make_task().inputs, tasks.Tokens):
        raise ValueError(
            f"pretrained: got {str(name)!r}, whose inputs are tokens, want one for "
            "vectors; use load_run: its params are those of the embedding and the model"
        )
    return params, config.make_ntm_config()


def load_run(
    name: str | Path, task: str | None = None, model: str | None = None
) -> tuple[PyTree, TrainConfig, dict[str, Any]]:
    """The parameters, the config of their run, and their provenance.

    Args:
      name: as `load` takes it.
      task: the place of the machine's task, if that is one from outside: the file of a
        machine does not decide which code is run.
      model: the same of the model.

    Raises:
      ValueError: as `load` does.
    """
    path = find(name)
    check_spelling("pretrained", path)
    with tensors.reading(path, "a trained machine") as file:
        metadata = file.metadata() or {}
        config, made = read_metadata(metadata, task=task, model=model)
        headers = tensors.headers_of(file)
        check_sizes(tensors.numbers_in(headers), config)
        wanted = shapes_of_params(config)
        tensors.check_headers(headers, by_path(wanted), rounded=True)
        arrays = {name: file.get_tensor(name) for name in headers}
        check_numbers(arrays)
        tensors.check_hash(metadata, arrays)
    params = from_state_dict(wanted, unflatten_dict(arrays, sep="/"))
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params), config, made


def read_metadata(
    metadata: dict[str, str], **places: str | None
) -> tuple[TrainConfig, dict[str, Any]]:
    """The config and the provenance in the metadata of a file, or a `ValueError`."""
    for key in ("config", "made"):
        if key not in metadata:
            hint = "; ntm_jax.load opens it" if saved.CONFIG in metadata else ""
            raise ValueError(f"got no metadata {key!r}{hint}")
    config = TrainConfig.from_text(with_places(metadata["config"], **places))
    if config.num_seeds > 1:
        raise ValueError(f"num_seeds: got {config.num_seeds}, want 1")
    made = read_json(metadata["made"])
    schema.check_record("made", made, PROVENANCE)
    if not made["evaluation"]:
        raise ValueError("made.evaluation: got no entry, want at least one")
    schema.check_records("made.evaluation", made["evaluation"], evaluated(config))
    check_equal("made.seed", made["seed"], config.seed)
    check_equal("made.sequences", made["sequences"], made["step"] * config.batch_size)
    for i, entry in enumerate(made["evaluation"]):
        name = f"made.evaluation[{i}]"
        check_equal(f"{name}.machine", entry["machine"], made["seed"])
        check_equal(f"{name}.step", entry["step"], made["step"])
    if saved.CONFIG in metadata:
        machine = saved.read_config(metadata)
        if config.model != "ntm" or machine != config.make_ntm_config():
            raise ValueError(f"{saved.CONFIG}: got another machine than that of config")
    return config, made


def with_places(text: str, **places: str | None) -> str:
    """The text of a config, with the places of its task and its model as given.

    Raises:
      ValueError: if one of them is from outside and its place is not given.
    """
    fields = read_json(text)
    if not isinstance(fields, dict):
        return text
    for flag, of in (("task", "MyTask"), ("model", "MyModel")):
        if not outside.is_place(fields.get(flag)):
            continue
        if places.get(flag) is None:
            raise ValueError(
                f"{flag}: got none, want the place of {fields[flag]}, which this "
                "machine has and which is code from outside; pass "
                f"--{flag}=path/to/file.py:{of}"
            )
        fields[flag] = places[flag]
    return json.dumps(fields)


def check_equal(name: str, got: int, want: int) -> None:
    """Raises a `ValueError` unless two parts of a file say the same."""
    if got != want:
        raise ValueError(f"{name}: got {got}, want {want}, as in the rest of the file")


def save(path: Path, params: PyTree, config: TrainConfig, made: dict[str, Any]) -> None:
    """Writes a machine with the config of its run and its provenance."""
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"config": config.to_json(), "made": json.dumps(made)}
    if isinstance(config.make_model(), NTM):  # not behind an embedding
        metadata |= saved.metadata_of(params, config.make_ntm_config())
    tensors.write(path, params, metadata)


def find(name: str | Path) -> Path:
    """The file with that name, or at that path.

    Raises:
      ValueError: if there is none.
    """
    path = expanded(name, "pretrained")
    if path.suffix != ".safetensors":
        path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        raise ValueError(
            f"pretrained: got {str(name)!r}, want one of {', '.join(names())}, or a "
            ".safetensors file"
        )
    return path


def check_sizes(numbers: int, config: TrainConfig) -> None:
    """Raises a `ValueError` if a file holds fewer numbers than its config needs."""
    fields = ("controller_units",) if config.model in ("ntm", "lstm", "gru") else ()
    fields += _IN_A_SHAPE if config.has_slots() else ()
    for field in fields:
        if (size := getattr(config, field)) > numbers:
            raise ValueError(f"{field}: got {size}, but only {numbers} numbers in all")


def shapes_of_params(config: TrainConfig) -> PyTree:
    """The shapes of the parameters of a machine with that config."""
    input_size = config.make_task().input_size
    return jax.eval_shape(
        lambda: config.make_model().init(jax.random.key(0), input_size)
    )


def check_numbers(arrays: dict[str, Any]) -> None:
    """Raises a `ValueError` for numbers with which a machine may not stay finite."""
    for name, array in arrays.items():
        if not (jnp.abs(array) <= _LARGEST).all():
            raise ValueError(f"{name}: got numbers that are not finite, or beyond 1e18")
