"""Tasks and models from outside: classes in a Python file or a module, by their place.

A place is `path/to/file.py:MyTask` or `package.module:MyTask`. To load a class is to
import its file or module, which runs it.
"""

import functools
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from .task import Task


class Kind(NamedTuple):
    """What a class has to be.

    Attributes:
      flag: that names it, for errors.
      bases: it derives from one of these.
      in_words: what that is.
    """

    flag: str
    bases: tuple[type, ...]
    in_words: str


TASK = Kind("task", (Task,), "tasks.Task")
# The names of the modules that classes were loaded from.
_LOADED: set[str] = set()


def is_place(name: Any) -> bool:
    """Whether that is a place, and not the name of one of ours."""
    return isinstance(name, str) and ":" in name


def absolute(place: str) -> str:
    """The same place from any folder.

    >>> absolute("package.module:MyTask")
    'package.module:MyTask'
    """
    where, _, name = place.rpartition(":")
    return f"{_resolved(where)}:{name}" if _is_file(where) else place


def short_name(place: str) -> str:
    """The name of the class as the name of a file.

    >>> short_name("path/to/file.py:RunningMean")
    'running_mean'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", place.rpartition(":")[2]).lower()


def load(place: str, kind: Kind = TASK) -> type:
    """The class at a place.

    Raises:
      ValueError: if there is none, its import raises, or it is not of that kind.
    """
    flag, (where, _, name) = kind.flag, place.rpartition(":")
    try:
        module = _import_file(_resolved(where)) if _is_file(where) else _import(where)
    except FileNotFoundError as error:
        raise ValueError(f"{flag}: got {place!r}, but {error}") from None
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"{flag}: got {place!r}, whose import raises {in_words(error)}"
        ) from error
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, kind.bases)):
        raise ValueError(f"{flag}: got {place!r}, want {_wanted(module, where, kind)}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"{flag}: got {place!r}, which lacks {missing}, want a method")
    if found.__hash__ is None:
        raise ValueError(
            f"{flag}: got {place!r}, which is not frozen; write "
            f"@dataclasses.dataclass(frozen=True) above the class"
        )
    return found


def in_words(error: BaseException) -> str:
    """An error with the line of the user's file that raised it, if there is one.

    >>> in_words(KeyError("bits"))
    "KeyError: 'bits'"
    """
    first = next(iter(str(error).splitlines()), "")
    line = line_of(error)
    where = f" ({line})" if line else ""
    return f"{type(error).__name__}{': ' * bool(first)}{first}{where}"


def line_of(error: BaseException) -> str | None:
    """The last line of a user's file that an error passed; None if it passed none."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") in _LOADED:
            line = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return line


def _is_file(where: str) -> bool:
    return where.endswith(".py")


def _resolved(where: str) -> Path:
    return Path(where).expanduser().resolve()


def _import(where: str) -> ModuleType:
    """The module of that name."""
    _LOADED.add(where)
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name and f"{where}.".startswith(f"{error.name}."):
            raise FileNotFoundError(
                f"there is no module {error.name}; install it, start Python where it "
                "is, or give the path of a .py file"
            ) from None
        raise


@functools.cache
def _import_file(path: Path) -> ModuleType:
    """The module in that file, which can import its neighbours."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}; give the path of one, or put it back"
        )
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{digest}", path)
    assert spec is not None
    assert spec.loader is not None
    _LOADED.add(spec.name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their annotations up
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module


def _wanted(module: ModuleType, where: str, kind: Kind) -> str:
    """The names of the classes of that kind of a module."""
    found = [
        f"{where}:{name}"
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, kind.bases)
        and value.__module__ == module.__name__
    ]
    wanted = f"the name of a class that derives from {kind.in_words}"
    return " or ".join(found) or wanted
