"""Controllers as plain data, for logs and files: numbers, strings and dicts."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ntm_jax import controllers
from ntm_jax.checks import check_choice

MAKERS: dict[str, Callable[..., nn.Module]] = {
    "lstm": controllers.lstm,
    "gru": controllers.gru,
    "feed_forward": controllers.feed_forward,
}
# Where an activation is looked up by its name.
_ACTIVATIONS = (jax.nn, jnp)


def to_plain(controller: nn.Module) -> dict[str, Any]:
    """The function of `ntm_jax` that makes the controller, and its arguments.

    >>> to_plain(controllers.lstm(64))
    {'kind': 'lstm', 'units': 64, 'num_layers': 1, 'input_scale': 4.0}

    Raises:
      ValueError: if none of `MAKERS` makes this module.
    """
    for kind in MAKERS:
        try:
            plain = {"kind": kind, **_arguments(controller, kind)}
            if from_plain(plain) == controller:
                return plain
        except (AttributeError, IndexError, TypeError, ValueError):
            continue
    raise ValueError(
        f"controller: got {type(controller).__name__}, want one that ntm_jax.lstm, gru "
        "or feed_forward makes, with an activation of jax.nn or jax.numpy: other "
        "modules are not plain data. Pickle the config, or write "
        "dataclasses.replace(config, controller=ntm_jax.lstm()).to_dict() and give the "
        "module again: NTMConfig.from_dict({**fields, 'controller': module})"
    )


def from_plain(plain: Any) -> nn.Module:
    """The controller that `to_plain` described; a module is returned as it is.

    Raises:
      TypeError, ValueError: if it is not the description of a controller.
    """
    if isinstance(plain, nn.Module):
        return plain
    if not isinstance(plain, Mapping) or "kind" not in plain:
        kind = type(plain).__name__
        raise TypeError(
            f"controller: got {kind}, want a dict with the entry 'kind': write configs "
            "with config.to_dict(), not with dataclasses.asdict"
        )
    arguments = dict(plain)
    kind = arguments.pop("kind")
    check_choice("controller['kind']", kind, tuple(MAKERS))
    known = inspect.signature(MAKERS[kind]).parameters
    for name in arguments:
        check_choice("controller", name, ("kind", *known))
    if "activation" in arguments:
        arguments["activation"] = _activation(arguments["activation"])
    return MAKERS[kind](**arguments)


def _arguments(controller: Any, kind: str) -> dict[str, Any]:
    """The arguments with which this maker may have made the controller."""
    if kind == "feed_forward":
        units, count = controller.units[0], len(controller.units)
        scale = controller.input_scale
        more = {"activation": controller.activation.__name__}
    else:
        cells = getattr(controller, "cells", (controller,))
        units, count = cells[0].features, len(cells)
        scale, more = cells[0].kernel_init.scale, {}
    arguments = {"units": int(units), "num_layers": count, **more}
    return {**arguments, "input_scale": float(scale)}


def _activation(name: Any) -> Callable[..., Any]:
    """The elementwise function of this name."""
    if isinstance(name, str) and not name.startswith("_"):
        for module in _ACTIVATIONS:
            if callable(function := getattr(module, name, None)):
                return function
    raise ValueError(
        f"controller['activation']: got {name!r}, want the name of a function of "
        "jax.nn or jax.numpy, such as 'tanh'"
    )
