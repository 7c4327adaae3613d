"""Training as a library: `fit`, `evaluate`, and the config for both.

    from ntm_jax import train
    result = train.fit("copy", workdir="runs/copy")
    train.evaluate(result.params, "copy", result.config, length=100)

The command `train.main` makes the same runs.
"""

import contextlib
import dataclasses
import difflib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ntm_jax import NTMConfig, tasks
from ntm_jax.renamed import with_new_names
from ntm_jax.tasks import outside, registry
from ntm_jax.tensors import by_path

from . import cli
from .callbacks import Callback
from .learn import FINAL_SEQUENCES, run_to_the_end
from .runs import given, named, presets
from .runs.belongs import check_free
from .runs.config import RENAMED, TrainConfig
from .runs.files import expanded
from .runs.folder import RunFolder
from .runs.given import Given
from .runs.lock import locked
from .runs.own_fields import Fields
from .runs.pretrained import shapes_of_params
from .runs.settings import OWN
from .training.measure import evaluate as measured
from .training.measure import evaluation_key
from .training.population import member

PyTree = Any
TaskLike = str | tasks.Task | type[tasks.Task]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What `fit` has made.

    Attributes:
      population: the parameters of all machines, `[S, ...]`.
      config: of the run.
      metrics: what was reported: dicts with `step`, `kind`, `seed` and numbers.
      evaluation: at the end, a dict for each machine and difficulty.
      given: what the machines started from; None for initial parameters, and for a run
        that was continued.
    """

    population: PyTree
    config: TrainConfig
    metrics: list[dict[str, Any]]
    evaluation: list[dict[str, Any]]
    given: Given | None = None

    @property
    def params(self) -> PyTree:
        """The parameters of the first machine."""
        return member(self.population, 0)

    @property
    def ntm_config(self) -> NTMConfig | None:
        """The config for `ntm_jax.unroll`; None for a model that is no such machine.

        If the task has tokens, the machine's own parameters are `params["model"]`.
        """
        return self.config.make_ntm_config() if self.config.model == "ntm" else None

    @property
    def solved(self) -> bool:
        """Whether the last validation of every machine was within the tolerance."""
        return all(entry["solved_at"] is not None for entry in self.evaluation)


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


def fit(
    task: TaskLike,
    config: TrainConfig | None = None,
    *,
    workdir: str | os.PathLike[str] | None = None,
    optimizer: str | optax.GradientTransformation | None = None,
    params: PyTree = None,
    callbacks: Sequence[Callback] = (),
    verbose: bool = False,
) -> Result:
    """Trains machines on a task and evaluates them.

    The same config gives the same numbers as the command `train.main`, to the last bit,
    if JAX has the same devices.

    Args:
      task: a name such as `"copy"`, a place such as `"path/to/file.py:MyTask"`, a class
        that derives from `tasks.Task`, or an instance of one.
      config: of the run, apart from its task; None uses `config_for(task)`.
      workdir: the run's folder, as the command makes it. The same call continues a run
        that was stopped, and gives the result of a complete one. None leaves nothing on
        disk and draws nothing.
      optimizer: a name as `--optimizer` has, or any transformation of Optax. That is
        used as it is: clipping and learning rate are its own. The decay at the end of
        training (`lr_decay_fraction`, `polish_steps`) still scales its updates.
      params: of one machine, from which every seed starts as far as paths and shapes
        fit. `config.init_from` starts from a file or a run instead.
      callbacks: called with a `Report` after every compiled call.
      verbose: print what the command prints while it trains.

    Raises:
      TypeError, ValueError: for wrong input. Nothing is written then.
      DivergedError: if no machine has finite numbers left.
      tasks.DataError: if data end, or do not fit the task.
    """
    config = _with_task(task, config)
    config, own = _with_optimizer(config, optimizer)
    config = _with_params(config, params)
    for callback in callbacks if isinstance(callbacks, Sequence) else [callbacks]:
        if (
            callback is callbacks
            or isinstance(callback, type)
            or not callable(callback)
        ):
            raise TypeError(
                f"callbacks: got {callback!r}, want functions of a Report in a list"
            )
    console = cli.make_console(quiet=not verbose)
    with _folder(workdir) as path:
        run = RunFolder.plan(path, config, own, params)
        if run.result() is None:
            with locked(path):
                check_free(path, config)  # another process may just have begun a run
                states = run.load()
                drawn = workdir is not None
                run_to_the_end(run, states, console, callbacks, drawn=drawn)
        return Result(
            population=run.restore().params,
            config=config,
            metrics=run.metrics(),
            evaluation=run.evaluation() or [],
            given=run.given,
        )


def evaluate(
    params: PyTree,
    task: TaskLike,
    config: TrainConfig | None = None,
    *,
    num_sequences: int = FINAL_SEQUENCES,
    num_slots: int | None = None,
    seed: int = 0,
    **difficulty: tasks.Difficulty,
) -> list[dict[str, Any]]:
    """Evaluates one machine on new sequences of a task.

    Args:
      params: of the machine, such as `result.params`.
      task: as `fit` takes it. It can be another one than in training.
      config: of the machine; None uses `config_for(task)`.
      num_sequences: of each difficulty; of data, at most as many as there are.
      num_slots: of the memory, in place of the config's.
      seed: of the sequences.
      **difficulty: of the task, such as `length=100`; without any, the result has one
        dict for each difficulty of `task.trials()`.

    Returns:
      The settings and the means over the sequences, one dict for each difficulty.

    Raises:
      TypeError, ValueError: for sizes that the task or the machine cannot have, and for
        parameters that do not fit the config.
    """
    config = _with_task(task, config).for_any_seed()
    _check_params(params, config)
    population = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], params)
    asked: dict[str, Any] = {**difficulty}
    each = (asked,) if asked else config.make_task().trials()
    keys = evaluation_key(seed)[None]
    return [
        {
            **measured(
                population,
                config,
                keys=keys,
                num_sequences=num_sequences,
                num_slots=num_slots,
                split="evaluation",
                **of_one,
            )[0],
            "seed": seed,
        }
        for of_one in each
    ]


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


def _with_task(task: Any, config: TrainConfig | None) -> TrainConfig:
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


def _with_optimizer(
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


def _with_params(config: TrainConfig, params: PyTree) -> TrainConfig:
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


@contextlib.contextmanager
def _folder(workdir: Any) -> Iterator[Path]:
    """The folder of the run; without one, a folder that is removed at the end."""
    if workdir is not None:
        if not isinstance(workdir, str | os.PathLike):
            raise TypeError(f"workdir: got {workdir!r}, want a path or None")
        yield expanded(os.fspath(workdir), "workdir")
        return
    with tempfile.TemporaryDirectory(prefix="ntm_jax_") as folder:
        yield Path(folder) / "run"


def _check_params(params: PyTree, config: TrainConfig) -> None:
    """Raises a `ValueError` unless parameters are those of the config's model."""
    wanted = by_path(shapes_of_params(config))
    got = by_path(params) if isinstance(params, Mapping) else {}
    for name in {**wanted, **got}:
        have, want = (
            None if one is None else list(np.shape(one))
            for one in (got.get(name), wanted.get(name))
        )
        if have != want:
            raise ValueError(
                f"params: got {have or 'none'} for {name!r}, want {want or 'none'}; "
                "pass the config of the machine, and the parameters of one seed"
            )
