"""What the commands share: their flags, readable errors, the console, compilations."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
from rich.console import Console

from . import flags, starting
from .cluster.start import wait_for_verdict

FlagsT = TypeVar("FlagsT")
# A shell's status of a command that SIGPIPE has ended. Python ignores that signal and
# raises an error instead; who reads the status gets what other commands give.
_PIPE_CLOSED = 141
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Colours and other commands to a terminal, and what else cannot be read.
_CONTROL = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b."
    r"|[\x00-\x08\x0b-\x1f\x7f]"
)


def parse(flags_of: type[FlagsT], arguments: Sequence[str] | None, **kw: Any) -> FlagsT:
    """As `flags.parse`, with readable errors."""
    with readable_errors():
        return flags.parse(flags_of, arguments, **kw)


def parse_from_preset(
    flags_of: type[FlagsT], arguments: Sequence[str] | None, **kw: Any
) -> FlagsT:
    """As `flags.parse_from_preset`, with readable errors."""
    with readable_errors():
        return flags.parse_from_preset(flags_of, arguments, **kw)


def keep_compilations() -> None:
    """Keeps compiled programs for the next process, in the user's cache folder.

    A run of copy spends half of its time on compilation. If the environment sets
    JAX_COMPILATION_CACHE_DIR, even to nothing, JAX follows that. Without a home folder,
    nothing is kept.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return
    jax.config.update("jax_compilation_cache_dir", str(caches / "ntm_jax"))


# What an error in the input raises.
_SHOWN = (OSError, TypeError, ValueError, jax.errors.JaxRuntimeError)


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Prints an error without a traceback and exits.

    The status is 2 for an error in the input, 1 for a full disk, 130 for Ctrl-C, and
    141, without a message, if nobody reads the output any more.
    """
    starting.ready()
    try:
        try:
            yield
        finally:
            finish_output()
    except KeyboardInterrupt:
        tell("Stopped.")
        sys.exit(starting.stopped())
    except BrokenPipeError:
        sys.exit(_PIPE_CLOSED)
    except _SHOWN as error:
        wait_for_verdict(error)
        tell(f"error: {in_words(error)}")
        sys.exit(1 if is_full(error) else 2)
    except (AssertionError, RuntimeError):  # both come from JAX without devices
        if (why := why_no_devices()) is None:
            raise
        tell(f"error: {why}")
        sys.exit(2)


def finish_output() -> None:
    """Writes what is printed; drops it if that is not possible.

    Raises:
      OSError: in that case.
    """
    if sys.stdout is None:  # closed by who started the process
        return
    try:
        sys.stdout.flush()
    except OSError:
        # Or Python would try again at its end, and report that in its own way.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def tell(line: str) -> None:
    """Prints a line on the standard error, if there is one."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr)


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


def check_out(path: Path, *, overwrite: bool) -> None:
    """Raises a `ValueError` unless a machine can be written to that path."""
    if path.suffix != ".safetensors":
        raise ValueError(f"out: got {path}, want a .safetensors file")
    if path.is_dir() or (path.parent.exists() and not path.parent.is_dir()):
        raise ValueError(f"out: got {path}, want a file in a folder")
    if path.exists() and not overwrite:
        raise ValueError(f"out: got {path}, which exists; pass --overwrite")


def make_console(*, quiet: bool = False) -> Console:
    """A console that prints text as it is: no markup, no wrapping, no colours.

    A quiet one prints nothing.
    """
    return _Console(markup=False, highlight=False, soft_wrap=True, quiet=quiet)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # the error, for `readable_errors`


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
        finish_output()
        return starting.stopped()
    except BrokenPipeError:
        raise
    except (*errors, jax.errors.JaxRuntimeError) as error:
        wait_for_verdict(error)
        tell(f"error: {in_words(error)}")
        return 1
    return 0


def in_words(error: Exception) -> str:
    """The message of an error, with what to do about it if that is known."""
    message = _CONTROL.sub("", str(error))
    if is_full(error):
        path = getattr(error, "filename", None)
        where = f" for {path}" if path else ""
        return (
            f"no space left on the disk{where}; make room, and repeat the command: it "
            "continues a run from its last checkpoint"
        )
    first_line = message.partition("\n")[0]
    if "RESOURCE_EXHAUSTED" in message:
        return (
            "not enough memory; use a smaller --batch_size, shorter sequences, fewer "
            "slots (--num_slots) or fewer seeds (--num_seeds). JAX says: "
            f"{first_line}"
        )
    return message


def is_full(error: Exception) -> bool:
    """Whether an error says that there is no space to write to."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(os.strerror(number) in str(error) for number in _FULL)


def why_no_devices() -> str | None:
    """Why JAX has no devices; None if it has some."""
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        says = _CONTROL.sub("", str(error)).partition("\n")[0]
        return (
            f"JAX_PLATFORMS: got {os.environ.get('JAX_PLATFORMS')!r}, want a platform "
            "that this machine has, such as cpu"
            + (f". JAX says: {says}" if says else "")
        )
    return None
