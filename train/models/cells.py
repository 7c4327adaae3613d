"""Recurrent cells of Flax, Linen's and NNX's, as functions of their parameters."""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array

from ntm_jax import controllers, fixed

PyTree = Any


class Cell(abc.ABC):
    """One step of a network, `(carry, x) -> (carry, y)`; an object holds no arrays."""

    @abc.abstractmethod
    def init(self, key: Array, input_size: int) -> PyTree:
        """Initial parameters for inputs of that size.

        Raises:
          ValueError: for a cell with other variables than parameters.
        """

    @abc.abstractmethod
    def start(self, params: PyTree, input_shape: tuple[int, ...]) -> PyTree:
        """The cell's own carry before the first step, for inputs `[B, I]`."""

    @abc.abstractmethod
    def step(self, params: PyTree, carry: PyTree, inputs: Array) -> tuple[PyTree, Any]:
        """The carry after a step, and the output."""


@dataclasses.dataclass(frozen=True)
class LinenCell(Cell):
    """A cell of Linen."""

    module: nn.RNNCellBase

    def init(self, key: Array, input_size: int) -> PyTree:
        """As the module initialises them."""
        carry = self.start(None, (1, input_size))
        variables = self.module.init(
            key, carry, jnp.zeros((1, input_size), jnp.float32)
        )
        if others := sorted({*variables} - {"params"}):
            raise ValueError(
                f"model: got {type(self.module).__name__} with the variables "
                f"{', '.join(others)}, want one that has only params"
            )
        return variables.get("params", {})

    def start(self, params: PyTree, input_shape: tuple[int, ...]) -> PyTree:
        """As the module initialises it; one that is drawn is always the same."""
        del params
        *batch, size = input_shape
        return controllers.initial_carry(self.module, size, tuple(batch))

    def step(self, params: PyTree, carry: PyTree, inputs: Array) -> tuple[PyTree, Any]:
        """As the module makes it."""
        return self.module.apply({"params": params}, carry, inputs)  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class NNXCell(Cell):
    """A cell of NNX; its parameters are a dict of its `nnx.Param`, by their paths.

    Attributes:
      make: from named arguments to a cell, as its class.
      fields: the arguments beside `in_features` and `rngs`, for those that it takes.
      takes: which of these two it takes.
    """

    make: type[nnx.RNNCellBase]
    fields: Mapping[str, Any]
    takes: frozenset[str]

    def init(self, key: Array, input_size: int) -> PyTree:
        """As the cell initialises them."""
        made = self._made(input_size, key)
        kinds = (nnx.Param, nnx.RngState, ...)
        params, _, others = nnx.state(made, *kinds)
        if jax.tree.leaves(others):
            raise ValueError(
                f"model: got {self.make.__name__} with other variables than nnx.Param, "
                "want one that has only these"
            )
        return unflatten_dict(_by_path(params), sep="/")

    def start(self, params: PyTree, input_shape: tuple[int, ...]) -> PyTree:
        """As the cell initialises it; one that is drawn is always the same."""
        with fixed.draws():
            return self._with(params, input_shape[-1]).initialize_carry(
                input_shape, nnx.Rngs(fixed.key(0))
            )

    def step(self, params: PyTree, carry: PyTree, inputs: Array) -> tuple[PyTree, Any]:
        """As the cell makes it."""
        return self._with(params, inputs.shape[-1])(carry, inputs)

    def _made(self, input_size: int, key: Array) -> nnx.RNNCellBase:
        given = {"in_features": input_size, "rngs": nnx.Rngs(key)}
        own = {name: given[name] for name in given if name in self.takes}
        return self.make(**self.fields, **own)

    def _with(self, params: PyTree, input_size: int) -> nnx.RNNCellBase:
        """A cell with these parameters in place of initial ones."""
        made = self._made(input_size, fixed.key(0))
        own, values = nnx.state(made, nnx.Param), flatten_dict(params, sep="/")
        tree = jax.tree.structure(own)
        nnx.update(made, jax.tree.unflatten(tree, [values[at] for at in _by_path(own)]))
        return made


def _by_path(state: nnx.State) -> dict[str, Array]:
    """The arrays of a state by their paths, in the order of its leaves."""
    named = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        named[name.removesuffix("/value")] = leaf
    return named
