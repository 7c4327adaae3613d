"""What the commands share: flags from a dataclass, and errors a person can read."""

import argparse
import contextlib
import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import tyro
from rich.console import Console

from train.runs.presets import preset

FlagsT = TypeVar("FlagsT")


def parse(
    flags: type[FlagsT],
    arguments: Sequence[str] | None,
    *,
    prog: str,
    default: FlagsT | None = None,
) -> FlagsT:
    """The flags given on the command line; a wrong one ends the program with 2."""
    given: dict[str, Any] = {} if default is None else {"default": default}
    return tyro.cli(flags, prog=prog, args=arguments, use_underscores=True, **given)


def parse_from_preset(
    flags: type[FlagsT], arguments: Sequence[str] | None, *, prog: str, **changed: Any
) -> FlagsT:
    """The flags of a class with a `preset` and a `config`.

    What is not given comes from the preset for the task, the model, the controller and
    the code of repeats, but for what is `changed`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--task", default="copy", nargs="?", const="copy")
    first.add_argument("--preset", default="default", nargs="?", const="default")
    first.add_argument("--model", default="ntm", nargs="?", const="ntm")
    first.add_argument("--controller", nargs="?")
    first.add_argument("--repeat_code", default="scalar", nargs="?", const="scalar")
    known, _ = first.parse_known_args(arguments)
    given = known.task, known.model, known.controller, known.repeat_code
    config = dataclasses.replace(preset(known.preset, *given), **changed)
    default = flags(preset=known.preset, config=config)  # type: ignore[call-arg]
    return parse(flags, arguments, prog=prog, default=default)


def keep_compilations() -> None:
    """Keeps compiled programs for the next process, in the user's cache folder.

    A run of copy spends half of its time on them. Where JAX was told of a folder, or of
    none, by JAX_COMPILATION_CACHE_DIR, that is left as it is.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(caches / "ntm_jax"))


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Prints what is wrong with the input, and no traceback, and ends with 2."""
    try:
        yield
    except (OSError, TypeError, ValueError, jax.errors.JaxRuntimeError) as error:
        print(f"error: {in_words(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)


def check_name(name: str) -> str:
    """The name, if a file may have it.

    Raises:
      ValueError: if not.
    """
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise ValueError(f"name: got {name!r}, want letters, digits, - and _")
    return name


def check_free_name(path: Path, *, free: bool) -> None:
    """Raises a `ValueError` if there is such a file, unless it may be replaced."""
    if path.exists() and not free:
        raise ValueError(
            f"name: got {path.stem!r}, want another or --overwrite: there is a {path}"
        )


def make_console(*, quiet: bool = False) -> Console:
    """Paths and numbers as they are: no markup, no wrapping, no colours of Rich's.

    A quiet one prints nothing.
    """
    return Console(markup=False, highlight=False, soft_wrap=True, quiet=quiet)


def attempt(
    work: Callable[[], object], console: Console, *errors: type[Exception]
) -> int:
    """Does work that can be gone on with; its exit status.

    0 if it came to its end, 130 if it was stopped, and 1 for one of the `errors` or of
    JAX's own, which is printed.
    """
    try:
        work()
    except KeyboardInterrupt:
        console.print(
            "Stopped. The same command goes on from the last checkpoint, if any."
        )
        return 130
    except (*errors, jax.errors.JaxRuntimeError) as error:
        print(f"error: {in_words(error)}", file=sys.stderr)
        return 1
    return 0


def in_words(error: Exception) -> str:
    """What to tell a person of an error: JAX does not say what needs so much memory."""
    if "RESOURCE_EXHAUSTED" not in str(error):
        return str(error)
    return (
        "there is not memory enough; ask for fewer or shorter sequences at once, fewer "
        f"slots or fewer seeds. JAX says: {error}"
    )
