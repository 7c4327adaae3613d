"""The config of a run from arguments in Python, as `flags` makes it from flags."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

import optax

from ntm_jax import tasks
from ntm_jax.renamed import with_new_names
from ntm_jax.tasks import outside, registry

from .runs import given, named, presets
from .runs.config import RENAMED, TrainConfig
from .runs.own_fields import Fields
from .runs.settings import OWN

PyTree = Any
TaskLike = str | tasks.Task | type[tasks.Task]


def config_for(
    task: TaskLike, *, preset: str = "default", **settings: Any
) -> TrainConfig:
    """The config that the command line makes for a task.

    >>> config_for("copy", steps=100).num_slots
    128

    Args:
      task: as `fit` takes it.
      preset: `"default"`, or `"paper"` for the settings of the paper of 2014.
      **settings: by the names of the flags, and fields of the task by their names. A
        `model` can also be a class; its fields are in `model_fields`, a dict.

    Raises:
      TypeError, ValueError: for an unknown setting or a wrong value.
    """
    settings = with_new_names(settings, RENAMED)
    if isinstance(model := settings.get("model", TrainConfig.model), type):
        settings["model"] = model = outside.place_of(model)
    for each in ("task_fields", "model_fields"):
        if not isinstance(given_fields := settings.get(each, {}), Mapping):
            raise TypeError(f"{each}: got {given_fields!r}, want a dict")
    of_model = settings["model_fields"] = Fields(settings.get("model_fields", {}))
    name, own = _named(task)
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    of_task = {*named.task_fields(name).names()} - {*known}
    fields = {**own, **settings.pop("task_fields", {})}
    fields |= {each: settings.pop(each) for each in of_task & {*settings}}
    for each in settings:
        if each not in known or each == "task":
            near = difflib.get_close_matches(each, [*known, *of_task])
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(f"{each}: got a setting that there is not{hint}")
    made = presets.preset(
        preset, name, model, settings.get("controller"), Fields(fields), of_model
    )
    return dataclasses.replace(made, **settings)


def _named(task: Any) -> tuple[str, Mapping[str, Any]]:
    """The name or place of a task, and the fields of an instance."""
    if isinstance(task, str):
        return task, {}
    if isinstance(task, type) and issubclass(task, tasks.Task):
        return registry.name_of(task), {}
    if isinstance(task, tasks.Task):
        if not dataclasses.is_dataclass(task) and vars(task):
            raise TypeError(
                f"task: got {task!r}, whose class is no dataclass, so that its fields "
                "are not known; write @dataclasses.dataclass(frozen=True) above it"
            )
        name = registry.name_of(type(task))
        return name, named.task_fields(name).values_of(task)
    raise TypeError(
        f"task: got {task!r}, want a name such as 'copy', a place such as "
        "'path/to/file.py:MyTask', or a class or an instance of tasks.Task"
    )


def with_task(task: Any, config: TrainConfig | None) -> TrainConfig:
    """The config with that task; the fields of a task that is named are kept."""
    if config is None:
        return config_for(task)
    if not isinstance(config, TrainConfig):
        raise TypeError(f"config: got {config!r}, want that of train.config_for")
    name, fields = _named(task)
    if not isinstance(task, tasks.Task):
        place = outside.absolute(name) if outside.is_place(name) else name
        fields = config.task_fields if place == config.task else fields
    return dataclasses.replace(config, task=name, task_fields=Fields(fields))


def with_optimizer(
    config: TrainConfig, optimizer: Any
) -> tuple[TrainConfig, optax.GradientTransformation | None]:
    """The config that names the optimizer; and that, if it has no name."""
    if optimizer is None:
        return config, None
    if isinstance(optimizer, str):
        return dataclasses.replace(config, optimizer=optimizer), None  # type: ignore[arg-type]
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"optimizer: got {optimizer!r}, want a name, or a transformation of Optax "
            "such as optax.adam(1e-3)"
        )
    # What the config says of clipping is not done then.
    config = dataclasses.replace(config, optimizer=OWN, clip="none", update_clip=None)
    return config, optimizer


def with_params(config: TrainConfig, params: PyTree) -> TrainConfig:
    """The config that says which parameters the run starts from."""
    if params is None:
        return config
    if not isinstance(params, Mapping):
        raise TypeError(
            f"params: got {type(params).__name__}, want the dict of one machine's "
            "parameters, such as result.params"
        )
    if config.init_from is not None and not given.is_hash(config.init_from):
        raise ValueError(
            f"params, init_from: got params and {config.init_from!r}, want one of them"
        )
    return dataclasses.replace(config, init_from=given.name_of(params))
