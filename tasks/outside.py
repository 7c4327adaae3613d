"""Tasks and models from outside: classes in a Python file or a module, by their place.

A place is `path/to/file.py:MyTask` or `package.module:MyTask`. To load a class is to
import its file or module, which runs it. A class that this process has already is not
imported again.
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
# What users' code can raise. Ctrl-C is no error of theirs.
ERRORS = (Exception, SystemExit)
# The names of the modules that classes were loaded from.
_LOADED: set[str] = set()
# Classes that were given as such, by their places.
_GIVEN: dict[str, type] = {}
# The names that modules got which were loaded from files.
_FROM_FILES: set[str] = set()
_MAIN = "__main__"


class Place(str):
    """The place of a class that was given as such, together with the class.

    Two of them are equal if their classes are the same. So a class that is defined anew
    under the same place, as in a cell of a notebook, is another one to every cache.
    """

    own: type

    def __new__(cls, text: str, own: type) -> "Place":  # noqa: D102
        place = super().__new__(cls, text)
        place.own = own
        return place

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True and (
            getattr(other, "own", None) is self.own
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((str(self), self.own))

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)  # another process has to find the class


def place_of(own: type) -> Place:
    """The place of a class. From here on, `load` finds the class there.

    Places in a file or an importable module can be loaded by other processes too.
    """
    module = sys.modules.get(own.__module__)
    where, file = own.__module__, getattr(module, "__file__", None)
    if file and (where == _MAIN or where in _FROM_FILES):
        where = str(_resolved(file))
    text = f"{_users_file(where) or where}:{own.__qualname__}"
    _GIVEN[text] = own
    _LOADED.add(own.__module__)
    return Place(text, own)


def is_place(name: Any) -> bool:
    """Whether that is a place, and not the name of one of ours."""
    return isinstance(name, str) and ":" in name


def absolute(place: str) -> str:
    """The same place from any folder, and by whichever name the file was given.

    >>> absolute("package.module:MyTask")
    'package.module:MyTask'
    """
    if isinstance(place, Place):
        return place
    where, _, name = place.rpartition(":")
    file = _resolved(where) if _is_file(where) else _users_file(where)
    text = f"{file or where}:{name}"
    return Place(text, _GIVEN[text]) if text in _GIVEN else text


def short_name(place: str) -> str:
    """The name of the class as the name of a file.

    >>> short_name("path/to/file.py:RunningMean")
    'running_mean'
    """
    name = place.rpartition(":")[2].rpartition(".")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def load(place: str, kind: Kind = TASK) -> type:
    """The class at a place.

    Raises:
      ValueError: if there is none, its import raises, or it is not of that kind.
    """
    flag, known = kind.flag, absolute(place)
    found = known.own if isinstance(known, Place) else _imported(place, kind)
    if not _is_of(kind, found):
        raise ValueError(
            f"{flag}: got {place!r}, want a class that derives from {kind.in_words}"
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"{flag}: got {place!r}, which lacks {missing}, want a method")
    if found.__hash__ is None:
        raise ValueError(
            f"{flag}: got {place!r}, which is not frozen; write "
            f"@dataclasses.dataclass(frozen=True) above the class"
        )
    return found


def _imported(place: str, kind: Kind) -> type:
    """The class at a place, whose file or module is imported.

    Raises:
      ValueError: if there is none, its import raises, or it is not of that kind.
    """
    flag, (where, _, name) = kind.flag, place.rpartition(":")
    try:
        module = _module_at(where)
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part, None)  # which can import more
    except FileNotFoundError as error:
        raise ValueError(f"{flag}: got {place!r}, but {error}") from None
    except ERRORS as error:
        raise ValueError(
            f"{flag}: got {place!r}, whose import raises {in_words(error)}"
        ) from error
    if _is_of(kind, found):
        return found
    if where == _MAIN or "<locals>" in name:
        raise ValueError(
            f"{flag}: got {place!r}, which only the process has that defined it; put "
            "the class at the top level of a file, and name it as path/to/file.py:NAME"
        )
    raise ValueError(f"{flag}: got {place!r}, want {_wanted(module, where, kind)}")


def _is_of(kind: Kind, found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, kind.bases)


def in_words(error: BaseException) -> str:
    """An error with the line of the user's file that raised it, if there is one.

    >>> in_words(KeyError("bits"))
    "KeyError: 'bits'"
    """
    try:
        first = next(iter(str(error).splitlines()), "")
    except Exception:  # of a class of the user's
        first = ""
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


def _users_file(where: str) -> Path | None:
    """The file of a module that stands alone, such as one beside the user's script.

    None for one in a package, which can have imports relative to that, and for what is
    installed. Nothing is imported.
    """
    if not where.isidentifier() or where in (_MAIN, *sys.stdlib_module_names):
        return None
    try:
        spec = importlib.util.find_spec(where)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.submodule_search_locations is not None:
        return None
    file = Path(spec.origin or "")
    installed = {"site-packages", "dist-packages"} & {*file.parts}
    return None if installed or not file.is_file() else _resolved(str(file))


def _is_file(where: str) -> bool:
    return where.endswith(".py")


def _resolved(where: str) -> Path:
    return Path(where).expanduser().resolve()


def _module_at(where: str) -> ModuleType:
    """The module of that name or in that file."""
    if not _is_file(where):
        return _import(where)
    path, main = _resolved(where), sys.modules[_MAIN]
    if (file := getattr(main, "__file__", None)) and _resolved(file) == path:
        _LOADED.add(_MAIN)
        return main  # a script that is running must not be run again
    if _users_file(path.stem) == path:
        return _import(path.stem)  # as the user's code would
    return _import_file(path)


def _import(where: str) -> ModuleType:
    """The module of that name."""
    if not all(part.isidentifier() for part in where.split(".")):
        raise FileNotFoundError(
            f"{where!r} is no name of a module; give one such as package.module, or "
            "the path of a .py file"
        )
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
    _FROM_FILES.add(spec.name)
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
        if _is_of(kind, value) and value.__module__ == module.__name__
    ]
    wanted = f"the name of a class that derives from {kind.in_words}"
    return " or ".join(found) or wanted
