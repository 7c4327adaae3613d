"""Flags from dataclasses: sections in the help, old names, defaults from a preset."""

import argparse
import contextlib
import dataclasses
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from ntm_jax import tasks
from ntm_jax.tasks import class_of

from .runs.commands import spelled
from .runs.config import RENAMED, TrainConfig
from .runs.files import expanded
from .runs.presets import preset
from .runs.settings import GROUPS
from .runs.task_fields import check_defaults, fields_of, names_of

FlagsT = TypeVar("FlagsT")
_REGISTRY = ConstructorRegistry()
# On a narrower terminal, Tyro does not find an end.
_FEWEST_COLUMNS = 40


@_REGISTRY.struct_rule
def sections(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Shows a `TrainConfig` as one section of flags for each group of settings."""
    if info.type is not TrainConfig:
        return None
    config = info.default if isinstance(info.default, TrainConfig) else TrainConfig()

    def together(own: tasks.Task | None = None, **groups: Any) -> TrainConfig:
        fields: dict[str, Any] = {}
        for group in groups.values():
            fields |= vars(group)
        if own is not None:
            fields["task_fields"] = fields_of(own)
        return TrainConfig(**fields)

    def part(group: type) -> Any:
        names = [field.name for field in dataclasses.fields(group)]
        return group(**{name: getattr(config, name) for name in names})

    task = config.make_task()
    own = StructFieldSpec("own", _prefixed(type(task)), task, type(task).__doc__)
    return StructConstructorSpec(
        together,
        (
            *(
                StructFieldSpec(
                    name, tyro.conf.OmitArgPrefixes[group], part(group), group.__doc__
                )
                for name, group in GROUPS.items()
            ),
            *([own] if names_of(config.task) else []),
        ),
    )


def _prefixed(own: type) -> Any:
    """The class of a task, whose fields are flags such as `--task.num_bits=4`."""
    named = tyro.conf.arg(name="task")
    return Annotated[tyro.conf.FlagConversionOff[own], named]  # type: ignore[valid-type]


def parse(
    flags: type[FlagsT],
    arguments: Sequence[str] | None,
    *,
    prog: str,
    default: FlagsT | None = None,
) -> FlagsT:
    """The flags given on the command line; a wrong one ends the program with 2.

    `--help` ends with the commands in the docstring of the module that has the flags.
    """
    arguments = renamed(sys.argv[1:] if arguments is None else arguments, RENAMED)
    config = default if isinstance(default, TrainConfig) else None
    config = getattr(default, "config", config)
    if config is not None:
        arguments = with_prefix(arguments, config.task)
    given: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with wide_enough():
            parsed = tyro.cli(
                flags,
                prog=spelled(prog),
                args=arguments,
                use_underscores=True,
                registry=_REGISTRY,
                **given,
            )
    except SystemExit:
        if {"-h", "--help"} & {*arguments}:
            print("\n".join(["Examples:", *examples(flags)]))
        raise
    return with_homes(parsed)


def with_homes(flags: FlagsT) -> FlagsT:
    """The flags with the home folder for `~` in every path.

    Raises:
      ValueError: for a home folder that does not exist.
    """
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(flags):  # type: ignore[arg-type]
        name, value = field.name, getattr(flags, field.name)
        if isinstance(value, Path):
            changed[name] = expanded(value, name)
        elif isinstance(value, tuple):
            changed[name] = tuple(
                expanded(one, name) if isinstance(one, Path) else one for one in value
            )
    return dataclasses.replace(flags, **changed) if changed else flags  # type: ignore[type-var]


@contextlib.contextmanager
def wide_enough() -> Iterator[None]:
    """Lets a terminal count as at least `_FEWEST_COLUMNS` wide."""
    before = os.environ.get("COLUMNS")
    if shutil.get_terminal_size().columns < _FEWEST_COLUMNS:
        os.environ["COLUMNS"] = str(_FEWEST_COLUMNS)
    try:
        yield
    finally:
        os.environ.pop("COLUMNS", None)
        if before is not None:
            os.environ["COLUMNS"] = before


def examples(flags: type) -> list[str]:
    """The commands in the docstring of the module that has these flags."""
    lines = (sys.modules[flags.__module__].__doc__ or "").splitlines()
    shown = [line.strip() for line in lines if line.strip().startswith("python")]
    return [f"  {spelled(line)}" for line in shown]


def renamed(arguments: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """The arguments with the old names of flags replaced; reports each on stderr.

    >>> renamed(["--colour=red", "--size", "3"], {"colour": "color"})
    ['--color=red', '--size', '3']
    """
    result = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        path, dot, last = flag.removeprefix("--").rpartition(".")
        new = names.get(last.replace("-", "_"))
        if flag.startswith("--") and new is not None:
            current = f"--{path}{dot}{new}"
            print(
                f"{flag} is now called {current}; the old name will go in 0.3",
                file=sys.stderr,
            )
            argument = current + equals + value
        result.append(argument)
    return result


def with_prefix(arguments: Sequence[str], task: str) -> list[str]:
    """The arguments with `--task.` before the fields of the task that are without it.

    >>> with_prefix(["--num_bits=4", "--seed=1"], "copy")
    ['--task.num_bits=4', '--seed=1']
    """
    flags = {field.name for field in dataclasses.fields(TrainConfig)}
    own = {*names_of(task)} - flags

    def prefixed(argument: str) -> str:
        name = argument.partition("=")[0].removeprefix("--").replace("-", "_")
        if not argument.startswith("--") or name not in own:
            return argument
        return argument.replace("--", "--task.", 1)

    return [prefixed(argument) for argument in arguments]


def parse_own(task: str, arguments: Sequence[str], *, prog: str) -> dict[str, Any]:
    """The fields of a task that the command line gives, with the defaults of others."""
    if not names_of(task):
        return {}
    check_defaults(task)
    own: list[str] = []
    taken = False
    for argument in with_prefix(arguments, task):
        if argument.startswith("--"):
            taken = argument.startswith("--task.")
        own += [argument] * taken
    of_task = dataclasses.make_dataclass("Own", [("own", _prefixed(class_of(task)))])
    parsed = tyro.cli(of_task, prog=prog, args=own, use_underscores=True)
    return fields_of(parsed.own)  # type: ignore[attr-defined]


def parse_from_preset(
    flags: type[FlagsT], arguments: Sequence[str] | None, *, prog: str, **changed: Any
) -> FlagsT:
    """The flags of a class with a `preset` and a `config`.

    Flags that are not given take the value of the preset for the task, the task's
    fields, the model and the controller, except for the values in `changed`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--task", default="copy", nargs="?", const="copy")
    first.add_argument("--preset", default="default", nargs="?", const="default")
    first.add_argument("--model", default="ntm", nargs="?", const="ntm")
    first.add_argument("--controller", nargs="?")
    known, _ = first.parse_known_args(arguments)
    own = parse_own(known.task, arguments, prog=prog)
    given = known.task, known.model, known.controller, own
    config = dataclasses.replace(preset(known.preset, *given), **changed)
    default = flags(preset=known.preset, config=config)  # type: ignore[call-arg]
    return parse(flags, arguments, prog=prog, default=default)
