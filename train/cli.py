"""What the commands share: their flags, readable errors, the console, compilations."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from rich.console import Console

from train.flags import parse as parse
from train.flags import parse_from_preset as parse_from_preset


def keep_compilations() -> None:
    """Keeps compiled programs for the next process, in the user's cache folder.

    A run of copy spends half of its time on compilation. If the environment sets
    JAX_COMPILATION_CACHE_DIR, even to nothing, JAX follows that.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    jax.config.update("jax_compilation_cache_dir", str(caches / "ntm_jax"))


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Prints an error in the input without a traceback; exits with status 2."""
    try:
        yield
    except (OSError, TypeError, ValueError, jax.errors.JaxRuntimeError) as error:
        print(f"error: {in_words(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)


def check_name(name: str) -> str:
    """The name, if it can be the name of a file.

    Raises:
      ValueError: if it cannot.
    """
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise ValueError(f"name: got {name!r}, want letters, digits, - and _")
    return name


def check_free_name(path: Path, *, free: bool) -> None:
    """Raises a `ValueError` if the file exists, unless it can be replaced."""
    if path.exists() and not free:
        raise ValueError(
            f"name: got {path.stem!r}, want another or --overwrite: {path} exists"
        )


def make_console(*, quiet: bool = False) -> Console:
    """A console that prints text as it is: no markup, no wrapping, no colours.

    A quiet one prints nothing.
    """
    return Console(markup=False, highlight=False, soft_wrap=True, quiet=quiet)


def attempt(
    work: Callable[[], object], console: Console, *errors: type[Exception]
) -> int:
    """Does work that can be continued later; returns the exit status.

    0 if the work was completed, 130 if it was stopped, and 1 for one of the `errors` or
    a JAX error, which is printed.
    """
    try:
        work()
    except KeyboardInterrupt:
        console.print(
            "Stopped. The same command continues from the last checkpoint, if any."
        )
        return 130
    except (*errors, jax.errors.JaxRuntimeError) as error:
        print(f"error: {in_words(error)}", file=sys.stderr)
        return 1
    return 0


def in_words(error: Exception) -> str:
    """The message of an error; for lack of memory, with what to do about it."""
    if "RESOURCE_EXHAUSTED" not in str(error):
        return str(error)
    return (
        "not enough memory; use a smaller --batch_size, shorter sequences, fewer slots "
        f"(--num_slots) or fewer seeds (--num_seeds). JAX says: {error}"
    )
