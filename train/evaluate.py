r"""Evaluates a trained machine, at any difficulty and with any number of slots.

    python -m train.evaluate --workdir=runs/copy
    python -m train.evaluate --workdir=runs/copy --length=120 --num_sequences=1000
    python -m train.evaluate --pretrained=copy --length=1000 --num_slots=1024
    python -m train.evaluate --pretrained=repeat_copy --length=20 --repeats=20
    python -m train.evaluate --pretrained=copy --length=1000000 --num_slots=1000008 \
      --access=window:9 --num_sequences=1

The last line printed is one JSON object. In Python, `train.evaluate(params, task)` is a
function; see `train.library`.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, ClassVar, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from ntm_jax import tasks
from ntm_jax.checks import check_count

from . import cli
from .cluster import start
from .cluster.start import Processes
from .cluster.together import agreed, check_read, is_one_of_many, is_writer
from .runs.config import TrainConfig
from .runs.files import hash_of_arrays
from .runs.folder import RunFolder
from .runs.pretrained import load_run
from .training.devices import use_all_cores
from .training.measure import evaluate, evaluation_key, slots_of
from .training.state import without_arrays

PyTree = Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes:
    """The size of the sequences and of the memory."""

    length: int | None = None
    """Vectors, bits or symbols in a sequence; None uses the longest of training."""
    repeats: int | None = None
    """Copies to output (repeat_copy); None uses the largest number in training."""
    items: int | None = None
    """Items before the query (associative_recall).
    None uses the largest number in training."""
    answers: int | None = None
    """Vectors to output (priority_sort); None uses as many as in training."""
    num_slots: int | None = None
    """Slots of the memory; None uses as many as in training.
    Longer sequences need more: copy needs a slot for every vector."""

    sizes: ClassVar[tuple[str, ...]] = ("length", "repeats", "items", "answers")

    def difficulty(self) -> dict[str, int]:
        """The sizes of a sequence that are given."""
        given = {name: getattr(self, name) for name in self.sizes}
        return {name: size for name, size in given.items() if size is not None}


SizesT = TypeVar("SizesT", bound=Sizes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Sizes):
    """Evaluates the newest checkpoint of a run, or a machine that ships with the code.

    The sequences are not from the training data. A run of several seeds prints one JSON
    object for each machine and one for all.
    """

    workdir: Path | None = None
    """Folder of the run."""
    pretrained: str | None = None
    """Name of a trained machine, or a .safetensors file, instead of a run."""
    task: str | None = None
    """Place of the task of a --pretrained file, such as path/to/file.py:MyTask.
    A machine of a task of yours needs it: its file does not run code."""
    model: str | None = None
    """Place of the model of a --pretrained file, such as path/to/file.py:MyCell.
    A model of yours needs it for the same reason."""
    access: str | None = None
    """The slots that a weighting keeps: dense, window:W or sparse:K, such as window:9.
    None uses that of training. With few, memories can have millions of slots."""
    num_sequences: int = 100
    """Sequences to evaluate on."""
    seed: int = 0
    """Seed of the sequences; every machine of the run gets the same sequences."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = Processes()  # noqa: RUF009


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = parse_sizes(Flags, arguments, prog="python -m train.evaluate")
    with cli.readable_errors():
        same = {name: str(value) for name, value in vars(flags).items()}
        del same["processes"], same["workdir"]  # each process has its own
        same["command"] = "train.evaluate"
        return start.run(flags.processes, same, lambda: work(flags))


def work(flags: Flags) -> int:
    """What one process of the command does; returns its exit status."""
    with cli.readable_errors():
        cli.keep_compilations()
        params, config, steps = agreed(
            lambda: open_machines(
                flags.workdir, flags.pretrained, flags.task, flags.model
            )
        )
        if flags.access is not None:
            config = dataclasses.replace(config, access=flags.access)
        if is_one_of_many():
            read = {"checkpoint": steps, "params": hash_of_arrays(params)}
            check_read(**config.settings(), **read)
        difficulty: dict[str, Any] = {**flags.difficulty()}
        check_fits(config, flags.num_slots, **difficulty)
        key = evaluation_key(flags.seed)
        started = time.perf_counter()
        results = evaluate(
            params,
            config,
            keys=jnp.broadcast_to(key, (config.num_seeds,)),
            num_sequences=flags.num_sequences,
            num_slots=flags.num_slots,
            **difficulty,
        )
        seconds = round(time.perf_counter() - started, 3)
        asked = {"seed": flags.seed, "seconds": seconds}
        if not is_writer():
            return 0
        if len(results) == 1:
            print(json.dumps({**results[0], **asked, "step": steps[0]}))
        else:
            for result, seed, step in zip(results, config.seeds(), steps):
                print(json.dumps({"machine": seed, **result, "step": step}))
            print(json.dumps({**summary(results), **asked}))
    return 0


def parse_sizes(
    flags: type[SizesT], arguments: Sequence[str] | None, *, prog: str
) -> SizesT:
    """As `cli.parse`, with a flag for every difficulty of the tasks.

    These are ours, and the one that the command names: that of --task, or of the run in
    --workdir.
    """
    with cli.readable_errors():
        given = sys.argv[1:] if arguments is None else arguments
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        first.add_argument("--task", nargs="?")
        first.add_argument("--workdir", type=Path, nargs="?")
        known, _ = first.parse_known_args(given)
        all_tasks = [tasks.get(name) for name in tasks.names()]
        if known.task is not None:
            all_tasks.append(TrainConfig(task=known.task).make_task())
        elif known.workdir is not None and (known.workdir / "config.json").is_file():
            all_tasks.append(RunFolder.open(known.workdir).config.make_task())
        names = {name: None for task in all_tasks for name in task.difficulty}
        return cli.parse(with_sizes(flags, [*names]), arguments, prog=prog)


def with_sizes(flags: type[SizesT], names: Sequence[str]) -> type[SizesT]:
    """The flags with one for each of these difficulties."""
    new = [name for name in names if name not in flags.sizes]
    if not new:
        return flags
    words = "Of a sequence; None uses the largest in training."
    wider = dataclasses.make_dataclass(
        flags.__name__,
        [
            (name, Annotated[int | None, tyro.conf.arg(help=words)], None)
            for name in new
        ],
        bases=(flags,),
        frozen=True,
        kw_only=True,
        namespace={
            "__doc__": flags.__doc__,
            "__module__": flags.__module__,
            "sizes": (*flags.sizes, *new),
        },
    )
    return cast("type[SizesT]", wider)


def open_machines(
    workdir: Path | None,
    pretrained: str | None,
    task: str | None = None,
    model: str | None = None,
) -> tuple[PyTree, TrainConfig, list[int]]:
    """The machines of a run or the pretrained one: `[S, ...]`, config and updates.

    A pretrained machine of a task or model from outside needs its place.

    Raises:
      ValueError: unless exactly one of both is given, and there.
    """
    if workdir is None and pretrained is not None:
        params, config, made = load_run(pretrained, task, model)
        return jax.tree.map(lambda leaf: leaf[None], params), config, [made["step"]]
    if workdir is None or pretrained is not None:
        got = "none" if workdir is None else "both"
        raise ValueError(
            f"workdir, pretrained: got {got}, want one of them: --workdir=runs/copy or "
            "--pretrained=copy"
        )
    run = RunFolder.open(workdir)
    use_all_cores(run.config.num_seeds, run.config.batch_size)
    states = run.restore()
    return states.params, run.config, without_arrays(states).step.tolist()


def index_of_machine(config: TrainConfig, seed: int | None) -> int:
    """The place of the machine with that seed in its run; None takes the first.

    Raises:
      ValueError: if the run has none with it.
    """
    seeds = config.seeds()
    if seed is None:
        return 0
    if seed not in seeds:
        raise ValueError(
            f"machine: got {seed}, want one of the run's, {seeds[0]} to {seeds[-1]}"
        )
    return seeds.index(seed)


def check_fits(
    config: TrainConfig, num_slots: int | None, **difficulty: tasks.Difficulty
) -> None:
    """Raises a `ValueError` if the sequences need more slots than there are.

    Such a machine must fail, which says nothing about what it learned. Other models
    cannot have slots at all.
    """
    if not config.has_slots():
        if num_slots is not None:
            config.check_has_slots(num_slots)
        return
    task = config.make_task()
    needed = task.min_slots(task.ranges(**difficulty))
    slots = slots_of(config, num_slots)
    check_count("num_slots", slots)
    trained_to_pack = config.num_slots < task.min_slots(task.ranges())
    if slots < needed and not trained_to_pack:
        raise ValueError(
            f"num_slots: got {slots}, want at least {needed} for sequences of this "
            f"size; pass --num_slots={needed}"
        )


def summary(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Several machines: the means, the worst, and how many made no error."""

    def mean(name: str) -> float:
        return float(np.mean([result[name] for result in results]))

    worst = next(name for name in results[0] if name.startswith("worst_"))
    means = [name for name in results[0] if name.endswith("_per_sequence")]
    return {
        **results[0],
        **{name: mean(name) for name in (*means, "perfect_fraction", "accuracy")},
        worst: max(result[worst] for result in results),
        "machines": len(results),
        "perfect_machines": sum(result[worst] == 0 for result in results),
    }


class _Callable(ModuleType):
    """This module, as a function: `train.evaluate(params, task)`."""

    def __call__(self, *arguments: Any, **named: Any) -> list[dict[str, Any]]:
        from .library import evaluate

        return evaluate(*arguments, **named)


if __name__ == "__main__":
    sys.exit(main())
else:
    sys.modules[__name__].__class__ = _Callable
