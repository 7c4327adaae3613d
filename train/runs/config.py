"""The config of a run: everything that decides what it computes."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn

from ntm_jax import NTMConfig, feed_forward, gru, lstm, tasks
from ntm_jax.config import RENAMED as RENAMED_OF_MACHINE
from ntm_jax.renamed import renamed_fields, with_new_names
from ntm_jax.tasks import name_in_words, outside, short_name

from ..models import registry as models
from ..models.layers import Layers, SkipLayers
from ..training.model import NTM, Embedded, Model
from . import given, named
from .checks import check_config
from .files import read_json
from .own_fields import Fields, OwnFields
from .settings import (
    OWN,
    MachineSettings,
    OptimizerSettings,
    RunSettings,
    ScheduleSettings,
    TaskSettings,
)

_CONTROLLERS: dict[str, Callable[..., nn.Module]] = {
    "lstm": lstm,
    "gru": gru,
    "feed_forward": feed_forward,
}
# Fields that had another name before 0.2. Files are read with either name for good; in
# Python and on the command line, the old names work until 0.3.
RENAMED = {"falling": "lr_decay_fraction", **RENAMED_OF_MACHINE}


# The bases in reverse: a dataclass takes its fields from the last base first.
@renamed_fields(**RENAMED)
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(
    RunSettings, ScheduleSettings, OptimizerSettings, MachineSettings, TaskSettings
):
    """A run, as the flags set it and as its `config.json` keeps it.

    A file that is older than a field lacks it and is read with the field's default. The
    default of a new field must therefore be what runs did before there was the field.

    Raises:
      TypeError, ValueError: for a field of the wrong kind, by its name.
    """

    def __post_init__(self) -> None:
        for flag in ("task", "model"):
            if outside.is_place(name := getattr(self, flag)):
                object.__setattr__(self, flag, outside.absolute(name))
        object.__setattr__(self, "init_from", given.absolute(self.init_from))
        for own in self.own_fields():  # checks the names too
            field = f"{own.flag}_fields"
            object.__setattr__(self, field, own.differing(getattr(self, field)))
        check_config(self)

    def own_fields(self) -> tuple[OwnFields, OwnFields]:
        """The fields of the task and of the model.

        Raises:
          ValueError: for an unknown name, and a place without one of them.
        """
        return named.task_fields(self.task), named.model_fields(self.model)

    def seeds(self) -> range:
        """The seeds of all machines."""
        return range(self.seed, self.seed + self.num_seeds)

    def title(self) -> str:
        """The task and the seeds, in words."""
        seeds = f"seed {self.seed}"
        if self.num_seeds > 1:
            seeds = f"seeds {self.seed} to {self.seed + self.num_seeds - 1}"
        return f"{name_in_words(self.task)}, {seeds}"

    def for_any_seed(self) -> "TrainConfig":
        """The same config for any choice of seeds, so that they share a compilation."""
        return dataclasses.replace(self, seed=0, num_seeds=1, init_from=None)

    def can_restart(self) -> bool:
        """Whether a seed that is stuck restarts, see `train.training.restarts`."""
        return self.restart_after is not None and self.init_from is None

    def make_task(self) -> tasks.Task:
        """The task, which makes batches: the same object for the same config."""
        return named.make_task(self.task, Fields(self.task_fields))

    def task_name(self) -> str:
        """The name of the task as the name of a file."""
        return short_name(self.task)

    def has_slots(self) -> bool:
        """Whether the model is the machine, whose memory can have other slots."""
        return self.model == "ntm"

    def has_own_optimizer(self) -> bool:
        """Whether the optimizer is one that `train.fit` is given, beside the config."""
        return self.optimizer == OWN

    def make_model(self, num_slots: int | None = None) -> Model:
        """The model, with the sizes of the task.

        Args:
          num_slots: of the memory, instead of the config's.

        Raises:
          ValueError: for a number of slots, if the model has no memory with slots.
        """
        if num_slots is not None:
            self.check_has_slots(num_slots)
        task, output_size = self.make_task(), self.model_output_size()
        model = self._model_of_vectors(output_size, num_slots)
        if isinstance(task.inputs, tasks.Tokens):
            tied = task.targets.size if self.tied_embedding else None
            return Embedded(model, self.embedding_size, tied)
        return model

    def model_output_size(self) -> int:
        """The O of the model: that of the task, or the size of an embedding."""
        if self.tied_embedding:
            return self.embedding_size
        return self.make_task().output_size

    def check_has_slots(self, num_slots: int) -> None:
        """Raises a `ValueError` if the model cannot have another number of slots."""
        if not self.has_slots():
            raise ValueError(
                f"num_slots: got {num_slots}, but {models.in_words(self.model)} has no "
                "memory with slots; leave out num_slots"
            )

    def _model_of_vectors(self, output_size: int, num_slots: int | None) -> Model:
        if self.model == "ntm":
            return NTM(self.make_ntm_config(), num_slots, self.access)
        if self.model in ("lstm", "gru"):
            sizes = self.controller_units, self.controller_layers
            return Layers(SkipLayers(self.model, *sizes, output_size))  # type: ignore[arg-type]
        return named.make_model(self.model, Fields(self.model_fields), output_size)

    def make_controller(self) -> nn.Module:
        """The controller's module."""
        make = _CONTROLLERS[self.controller]
        scale: dict[str, float] = {}
        if self.input_scale is not None:
            scale["input_scale"] = self.input_scale
        return make(self.controller_units, self.controller_layers, **scale)

    def make_ntm_config(self) -> NTMConfig:
        """The config of the machine, with the sizes of the task."""
        shared = {field.name for field in dataclasses.fields(NTMConfig)} & {
            field.name for field in dataclasses.fields(self)
        }
        fields = {name: getattr(self, name) for name in shared - {"controller"}}
        return NTMConfig(
            output_size=self.model_output_size(),
            controller=self.make_controller(),
            **fields,
        )

    def to_dict(self) -> dict[str, Any]:
        """The config as plain data, with all fields of the task and of the model."""
        names = {"task": str(self.task), "model": str(self.model)}
        own_fields = {
            f"{own.flag}_fields": own.all_of(getattr(self, f"{own.flag}_fields"))
            for own in self.own_fields()
        }
        return dataclasses.asdict(self) | names | own_fields

    def settings(self) -> dict[str, Any]:
        """All settings by the names of their flags."""
        settings = self.to_dict()
        for flag in ("task", "model"):
            own = settings.pop(f"{flag}_fields")
            settings |= {f"{flag}.{name}": value for name, value in own.items()}
        return settings

    def to_json(self) -> str:
        """The text of a `config.json`, which `from_json` reads."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, path: Path) -> "TrainConfig":
        """The config in that file.

        Raises:
          ValueError: if the file does not hold one.
        """
        try:
            return cls.from_text(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def from_text(cls, text: str) -> "TrainConfig":
        """The config in a text that `to_json` wrote, in this version or an older one.

        Raises:
          ValueError: if the text is not that of one.
        """
        try:
            fields = read_json(text)
            if not isinstance(fields, dict):
                raise ValueError(f"got {type(fields).__name__}, want a JSON object")
            if "task" not in fields:
                raise ValueError("task: got none, want a value")
            return cls(**with_own_fields(with_new_names(fields, RENAMED)))
        except (TypeError, ValueError) as error:
            raise ValueError(f"not the config of a run: {error}") from None


def with_own_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a config, of which one was not always a field of the task.

    Raises:
      ValueError: for that field with a task that does not have it.
    """
    for name in ("task_fields", "model_fields"):
        if not isinstance(own := fields.get(name, {}), dict):
            raise ValueError(f"{name}: got {own!r}, want a JSON object")
    code = fields.pop("repeat_code", "scalar")
    if code != "scalar":
        own = {"repeat_code": code, **fields.get("task_fields", {})}
        return {**fields, "task_fields": own}
    return fields
