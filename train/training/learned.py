"""Which parameters learn, and which are given: both by their paths.

The path of a parameter has its names on the way from the top, as in a file of a
machine: `controller/ii/kernel`, `output/bias`.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
from jax import Array

from ..runs.config import TrainConfig

PyTree = Any


def paths_of(params: PyTree) -> list[str]:
    """The paths of all parameters.

    >>> paths_of({"output": {"bias": 0, "kernel": 0}})
    ['output/bias', 'output/kernel']
    """
    return [_spelled(path) for path, _ in jax.tree.leaves_with_path(params)]


def learned_of(config: TrainConfig, params: PyTree) -> PyTree:
    """The parameters that learn; None in place of the others.

    Without `config.learn` these are all parameters.
    """
    if config.learn is None:
        return params
    pattern = re.compile(config.learn)
    return jax.tree.map_with_path(
        lambda path, leaf: leaf if pattern.search(_spelled(path)) else None, params
    )


def together(learned: PyTree, params: PyTree) -> PyTree:
    """All parameters: those that learn, and of `params` the others."""
    return jax.tree.map(
        lambda of_learned, own: own if of_learned is None else of_learned,
        learned,
        params,
        is_leaf=lambda leaf: leaf is None,
    )


def check_learn(config: TrainConfig, params: PyTree) -> None:
    """Raises a `ValueError` if no parameter learns.

    Args:
      config: of the run.
      params: of its model, or their shapes.
    """
    if not jax.tree.leaves(learned_of(config, params)):
        raise ValueError(
            f"learn: got {config.learn!r}, which no parameter matches, want one of "
            f"{', '.join(paths_of(params))}, or a part of these"
        )


def with_given(params: PyTree, given: Mapping[str, Array]) -> PyTree:
    """The parameters, with those that are given in place of others of their paths."""

    def one(path: Any, leaf: Array) -> Array:
        found = given.get(_spelled(path))
        return leaf if found is None else found.astype(leaf.dtype)

    return jax.tree.map_with_path(one, params)


def _spelled(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
