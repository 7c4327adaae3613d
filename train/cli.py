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
