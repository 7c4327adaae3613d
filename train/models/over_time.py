"""A model of any cell: from its initial carry over time, then to the output's size."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from ..training.model import Model
from .cells import Cell

PyTree = Any


@dataclasses.dataclass(frozen=True)
class OverTime(Model):
    """The steps of a cell, each followed by the same dense layer.

    Attributes:
      name: of the cell, for errors.
      cell: maps a vector of each sequence to another.
      output_size: O.
    """

    name: str
    cell: Cell
    output_size: int

    def init(self, key: Array, input_size: int) -> PyTree:
        """The cell's parameters, and those of the dense layer.

        Raises:
          TypeError, ValueError: for a cell whose carry or output does not fit.
        """
        cell_key, output_key = jax.random.split(key)
        params = self.cell.init(cell_key, input_size)
        inputs = jax.ShapeDtypeStruct((1, input_size), jnp.float32)
        width = self._check_step(params, inputs)
        output = self._output.init(output_key, jnp.zeros((1, width), jnp.float32))
        return {"cell": params, "output": output["params"]}

    def logits(self, params: PyTree, inputs: Array, mask: Array | None = None) -> Array:
        """The logits; the carry goes on at padding, after all that counts."""
        del mask
        self._check_step(params["cell"], inputs[0])

        def step(carry: PyTree, x: Array) -> tuple[PyTree, Array]:
            return self.cell.step(params["cell"], carry, x)

        start = self.cell.start(params["cell"], inputs.shape[1:])
        _, hidden = lax.scan(step, start, inputs)
        return self._output.apply({"params": params["output"]}, hidden)  # type: ignore[return-value]

    def start(self, params: PyTree, inputs: jax.ShapeDtypeStruct) -> PyTree:
        """The carry of the cell."""
        return self.cell.start(params["cell"], inputs.shape[1:])

    def step(self, params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
        """A step of the cell."""
        carry, hidden = self.cell.step(params["cell"], carry, x)
        return carry, self._output.apply({"params": params["output"]}, hidden)  # type: ignore[return-value]

    @property
    def _output(self) -> nn.Dense:
        return nn.Dense(self.output_size)

    def _check_step(self, params: PyTree, inputs: Any) -> int:
        """The width of the output `[B, H]` of a step, if what it returns fits."""
        cell, name = self.cell, self.name
        carry = jax.eval_shape(lambda p: cell.start(p, inputs.shape), params)
        result = jax.eval_shape(cell.step, params, carry, inputs)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"model: {name} returns {type(result).__name__}, want a carry and an "
                "output, (carry, y)"
            )
        after, output = result
        if in_words(after) != in_words(carry):
            raise ValueError(
                f"model: {name} takes the carry {in_words(carry)} and returns "
                f"{in_words(after)}, want the same shapes and dtypes; see its "
                "initialize_carry"
            )
        shape = getattr(output, "shape", None)
        if not (
            shape is not None
            and shape[:-1] == inputs.shape[:-1]
            and jnp.issubdtype(output.dtype, jnp.floating)
        ):
            raise ValueError(
                f"model: {name} returns the output {in_words(output)} for the input "
                f"{in_words(inputs)}, want a vector of floats for each sequence"
            )
        return output.shape[-1]


def in_words(tree: PyTree) -> str:
    """The shapes and dtypes of a pytree.

    >>> in_words((jnp.zeros((2, 3)), jnp.int32(1)))
    '(float32[2,3], int32[])'
    """
    named = jax.tree.map(
        lambda leaf: f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]", tree
    )
    return str(named).replace("'", "")
