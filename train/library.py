"""Training as a library: `fit` and `evaluate`; `arguments` makes the config for both.

    from ntm_jax import train
    result = train.fit("copy", workdir="runs/copy")
    train.evaluate(result.params, "copy", result.config, length=100)

The command `train.main` makes the same runs.
"""

import contextlib
import dataclasses
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
from ntm_jax.tensors import by_path

from . import cli
from .arguments import TaskLike, with_optimizer, with_params, with_task
from .callbacks import Callback
from .cluster.together import is_one_of_many, num_processes
from .learn import run_to_the_end
from .runs.config import TrainConfig
from .runs.files import expanded
from .runs.folder import RunFolder
from .runs.given import Given
from .runs.lock import locked
from .runs.pretrained import shapes_of_params
from .training.measure import evaluate as measured
from .training.measure import evaluation_key
from .training.population import member

PyTree = Any


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
    if is_one_of_many():
        raise ValueError(
            f"fit: got {num_processes()} processes of jax.distributed, want one; the "
            "command train.main trains in many (docs/cluster.md)"
        )
    config = with_task(task, config)
    config, own = with_optimizer(config, optimizer)
    config = with_params(config, params)
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
    num_sequences: int = TrainConfig.evaluation_sequences,
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
    config = with_task(task, config).for_any_seed()
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
