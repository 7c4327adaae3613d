"""Flax modules as values: a copy of a module equals it, and can be pickled.

The fields of a module hold functions, and Python compares functions by identity. Many
of them have no stable one: a deep copy of `jax.nn.sigmoid`, which JAX has jitted, is
another object, every call of `lecun_normal()` makes another closure, and pickle takes
neither. `settle` uses the same object for the same function, so that equal modules
compare equal. `portable` replaces such functions by recipes that pickle takes.
"""

import dataclasses
import functools
import importlib
import inspect
import operator
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax

# What JAX wraps a function in, without a change of its name.
_WRAPPERS = (type(jax.jit(lambda: None)), jax.custom_jvp, jax.custom_vjp)
# Packages whose closures are pure, such as the initialisers.
_PURE = ("jax", "flax")
# The first of all functions that compute the same.
_firsts: weakref.WeakValueDictionary[Any, Any] = weakref.WeakValueDictionary()


def settle(value: Any) -> Any:
    """The value, with the same object for the same function.

    >>> import copy
    >>> cell = nn.GRUCell(64)
    >>> copy.deepcopy(cell) == cell, settle(copy.deepcopy(cell)) == settle(cell)
    (False, True)

    Args:
      value: a module, a field of one, or a container of these.

    Returns:
      The value itself if nothing changes. Functions that are not known to compute the
      same, such as two lambdas, stay different.
    """
    leaves, structure = jax.tree.flatten(value)
    settled = list(map(_settle_leaf, leaves))
    if all(map(operator.is_, leaves, settled)):
        return value
    return jax.tree.unflatten(structure, settled)


def _settle_leaf(leaf: Any) -> Any:
    match leaf:
        case nn.Module():
            changed = {}
            for name, (value, default) in _fields(leaf).items():
                settled = value if value is default else settle(value)
                if settled is not value:
                    is_default = settled is settle(default)
                    changed[name] = default if is_default else settled
            return leaf.clone(parent=None, **changed) if changed else leaf
        case functools.partial():
            function, *arguments = map(settle, _parts(leaf))
            return _first((type(leaf), function), arguments, leaf)
        case types.FunctionType() if _is_pure_closure(leaf):
            return _first(leaf.__code__, _variables(leaf), leaf)
        case _ if isinstance(leaf, _WRAPPERS):
            found = _imported(leaf)
            return found if _layers(found) == _layers(leaf) else leaf
    return leaf


def portable(value: Any) -> Any:
    """The value for pickle, which gives an equal value when it is loaded.

    Args:
      value: a settled value.
    """
    return jax.tree.map(_portable_leaf, value)


class Recipe:
    """A call that pickle stores instead of the result of the call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def _portable_leaf(leaf: Any) -> Any:
    match leaf:
        case nn.Module():
            given = {
                name: portable(value)
                for name, (value, default) in _fields(leaf).items()
                if value is not default
            }
            return Recipe(make, type(leaf), {**given, "parent": None})
        case functools.partial():
            return Recipe(_make_partial, type(leaf), *map(portable, _parts(leaf)))
        case types.FunctionType() if _is_pure_closure(leaf):
            closure = _factory_call(leaf)
            return leaf if closure is None else Recipe(make, *closure)
        case _ if isinstance(leaf, _WRAPPERS) and _imported(leaf) is leaf:
            function = _layers(leaf)[-1]
            # What is in `__main__` may not be there where it is loaded.
            if function.__module__ != "__main__":
                return Recipe(_import, function.__module__, function.__qualname__)
    return leaf


def make(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Calls the function with the named arguments."""
    return function(**arguments)


def _fields(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """The fields of a module with their defaults, without its place in a module."""
    return {
        field.name: (getattr(module, field.name), field.default)
        for field in dataclasses.fields(module)
        if field.init and field.name != "parent"
    }


def _parts(partial: functools.partial) -> tuple[Any, ...]:
    return partial.func, partial.args, partial.keywords


def _make_partial(kind: type, function: Any, arguments: Any, named: Any) -> Any:
    return kind(function, *arguments, **named)


def _first(function: Any, arguments: Any, value: Any) -> Any:
    """The first value that was made of this function and these arguments."""
    leaves, structure = jax.tree.flatten(arguments)
    # With the types, as 2 == 2.0.
    key = function, structure, tuple((type(leaf), leaf) for leaf in leaves)
    try:
        return _firsts.setdefault(key, value)
    except TypeError:  # an argument is not hashable
        return value


def _layers(function: Any) -> tuple[Any, ...]:
    """What JAX has wrapped around a function, and last the function within."""
    layers = []
    while isinstance(function, _WRAPPERS):
        layers.append(type(function))
        within = getattr(function, "__wrapped__", None)
        if within is None:  # a copy of a jitted function has only its state
            state = function.__getstate__()
            within = state.get("fun") if isinstance(state, dict) else None
        function = within
    return (*layers, function)


def _imported(function: Any) -> Any:
    """What an import finds under the name of the function within; None if nothing."""
    try:
        within = _layers(function)[-1]
        return _import(within.__module__, within.__qualname__)
    except (AttributeError, ImportError, TypeError, ValueError):
        return None


def _import(module: str, name: str) -> Any:
    return operator.attrgetter(name)(importlib.import_module(module))


def _is_pure_closure(function: types.FunctionType) -> bool:
    package = (function.__module__ or "").partition(".")[0]
    return package in _PURE and "<locals>" in function.__qualname__


def _variables(function: types.FunctionType) -> dict[str, Any]:
    """What a closure got from the function that made it, by name."""
    parameters = inspect.signature(function).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return {**defaults, **dict(zip(function.__code__.co_freevars, cells))}


def _factory_call(
    function: types.FunctionType,
) -> tuple[Callable[..., Any], dict[str, Any]] | None:
    """The function and the arguments that make an equal closure; None if unknown."""
    name, _, _ = function.__qualname__.partition(".<locals>")
    try:
        factory = _import(function.__module__, name)
        taken = inspect.signature(factory).parameters
        arguments = {k: v for k, v in _variables(function).items() if k in taken}
        if settle(factory(**arguments)) is settle(function):
            return factory, arguments
    except (AttributeError, ImportError, TypeError, ValueError):
        pass
    return None
