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

from .runs.commands import spelled
from .runs.config import RENAMED, TrainConfig
from .runs.files import expanded
from .runs.named import model_fields, task_fields
from .runs.own_fields import OwnFields
from .runs.presets import preset
from .runs.settings import GROUPS

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

    own = [own for own in config.own_fields() if own.names()]

    def together(**groups: Any) -> TrainConfig:
        fields: dict[str, Any] = {}
        for each in own:
            values = each.values_of(groups.pop(f"{each.flag}_fields"))
            fields[f"{each.flag}_fields"] = values
        for group in groups.values():
            fields = vars(group) | fields
        return TrainConfig(**fields)

    def part(group: type) -> Any:
        names = [field.name for field in dataclasses.fields(group)]
        return group(**{name: getattr(config, name) for name in names})

    def own_part(each: OwnFields) -> StructFieldSpec:
        name, made_of = f"{each.flag}_fields", each.flags_class()
        values = each.typed(each.all_of(getattr(config, name)))
        spec = _prefixed(each.flag, made_of)
        return StructFieldSpec(name, spec, made_of(**values), made_of.__doc__)

    return StructConstructorSpec(
        together,
        (
            *(
                StructFieldSpec(
                    name, tyro.conf.OmitArgPrefixes[group], part(group), group.__doc__
                )
                for name, group in GROUPS.items()
            ),
            *map(own_part, own),
        ),
    )


def _prefixed(flag: str, own: type) -> Any:
    """The class of a task or model, whose fields are flags such as `--task.x=4`."""
    named = tyro.conf.arg(name=flag)
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
        arguments = with_prefix(arguments, config.task, flags)
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


def with_value(arguments: Sequence[str], flag: str, value: Any) -> list[str]:
    """The arguments with that value for a flag that is given without one.

    >>> with_value(["--serve", "--quiet"], "--serve", 8088)
    ['--serve=8088', '--quiet']
    >>> with_value(["--serve", "80"], "--serve", 8088)
    ['--serve', '80']
    """
    following = [*arguments[1:], "--"]
    return [
        f"{flag}={value}" if word == flag and after.startswith("--") else word
        for word, after in zip(arguments, following)
    ]


def with_prefix(
    arguments: Sequence[str], task: str, flags_of: type = TrainConfig
) -> list[str]:
    """The arguments with `--task.` before the fields of the task that are without it.

    >>> with_prefix(["--num_bits=4", "--seed=1"], "copy")
    ['--task.num_bits=4', '--seed=1']

    Args:
      arguments: of the command line.
      task: its name or place.
      flags_of: whose fields, and those of a config, are flags of their own.
    """
    flags = {
        field.name
        for each in (TrainConfig, flags_of)
        for field in dataclasses.fields(each)
    }
    own = {*task_fields(task).names()} - flags

    def prefixed(argument: str) -> str:
        name = argument.partition("=")[0].removeprefix("--").replace("-", "_")
        if not argument.startswith("--") or name not in own:
            return argument
        return argument.replace("--", "--task.", 1)

    return [prefixed(argument) for argument in arguments]


def parse_own(own: OwnFields, arguments: Sequence[str], *, prog: str) -> dict[str, Any]:
    """The own fields that the command line gives, with the defaults of others."""
    if not own.names():
        return {}
    own.check_defaults()
    words: list[str] = []
    taken = False
    for argument in arguments:
        if argument.startswith("--"):
            taken = argument.startswith(f"--{own.flag}.")
        words += [argument] * taken
    spec = _prefixed(own.flag, own.flags_class())
    flags = dataclasses.make_dataclass("Own", [("own", spec)])
    parsed = tyro.cli(flags, prog=prog, args=words, use_underscores=True)
    return own.values_of(parsed.own)  # type: ignore[attr-defined]


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
    prefixed = with_prefix(arguments, known.task, flags)
    own = [
        parse_own(task_fields(known.task), prefixed, prog=prog),
        parse_own(model_fields(known.model), arguments, prog=prog),
    ]
    given = known.task, known.model, known.controller, *own
    config = dataclasses.replace(preset(known.preset, *given), **changed)
    default = flags(preset=known.preset, config=config)  # type: ignore[call-arg]
    return parse(flags, arguments, prog=prog, default=default)
