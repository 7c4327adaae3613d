"""The baselines without a memory: an LSTM alone, as in the paper, or a GRU."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import zeros
from jax import Array

from ..training.model import Model

PyTree = Any
# The cell, and the parts of its carry.
_CELLS: dict[str, tuple[Callable[[int], nn.RNNCellBase], str]] = {
    "lstm": (nn.OptimizedLSTMCell, "ch"),
    "gru": (nn.GRUCell, "h"),
}


class SkipLayers(nn.Module):
    """Layers of cells with skip connections from the input and to the output.

    These are the skip connections of Graves 2013 (arXiv:1308.0850, section 2). With
    them and a learned initial state, the number of parameters of an LSTM is that of
    table 3 of the paper of 2014, for the tasks whose channels are known.
    """

    cell: Literal["lstm", "gru"]
    units: int
    num_layers: int
    output_size: int

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """`[T, B, I]` to `[T, B, O]`."""
        make, parts = _CELLS[self.cell]
        below, of_all = inputs, []
        for layer in range(self.num_layers):
            carry = tuple(
                jnp.broadcast_to(
                    self.param(f"initial_{part}_{layer}", zeros, (1, self.units)),
                    (inputs.shape[1], self.units),
                )
                for part in parts
            )
            run = nn.RNN(make(self.units), time_major=True)
            start = carry if len(parts) > 1 else carry[0]
            of_all.append(run(below, initial_carry=start))
            below = jnp.concatenate([inputs, of_all[-1]], axis=-1)
        return nn.Dense(self.output_size)(jnp.concatenate(of_all, axis=-1))


@dataclasses.dataclass(frozen=True)
class Layers(Model):
    """A `SkipLayers` as a model."""

    module: SkipLayers

    def init(self, key: Array, input_size: int) -> PyTree:
        """As Flax initialises it."""
        initialise = functools.partial(self.module.init, key)
        return jax.jit(initialise)(jnp.zeros((1, 1, input_size)))["params"]

    def logits(self, params: PyTree, inputs: Array, mask: Array | None = None) -> Array:
        """The logits, from the learned initial state."""
        del mask  # more steps are cheap
        return self.module.apply({"params": params}, inputs)  # type: ignore[return-value]
