"""What the commands share: flags from a dataclass, and errors a person can read."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import jax
import tyro

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


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Prints what is wrong with the input, and no traceback, and ends with 2."""
    try:
        yield
    except (OSError, TypeError, ValueError, jax.errors.JaxRuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
