"""Noise in the state of a controller, so that it learns to count in discrete steps.

A recurrent controller can store a number in tiny differences of its state. They suffice
for the lengths of training and drift beyond them. Noise in its carry at each training
step hides such differences, so that the controller must use states that the cell itself
pulls back to.
"""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ntm_jax import controllers, tasks

from ..runs.config import TrainConfig
from .model import NTM, Model


class NoisyCell(nn.RNNCellBase):
    """A cell with the parameters of `cell`; its inputs include noise for its carry.

    Attributes:
      cell: the cell without noise.
      input_size: I, width of the machine's input; the noise comes after it.
    """

    cell: nn.RNNCellBase
    input_size: int

    def setup(self) -> None:
        """Shares the parameters of `cell`, without a level of their own."""
        nn.share_scope(self, self.cell)

    def __call__(self, carry, inputs: Array):
        """One step, from the carry with noise added to every number."""
        leaves, tree = jax.tree.flatten(carry)
        ends = [self.input_size]
        for leaf in leaves:
            ends.append(ends[-1] + leaf.shape[-1])
        x, *noises, reads = jnp.split(inputs, ends, axis=-1)
        noisy = [leaf + noise for leaf, noise in zip(leaves, noises, strict=True)]
        inputs = jnp.concatenate([x, reads], axis=-1)
        return self.cell(jax.tree.unflatten(tree, noisy), inputs)

    @nn.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]):
        """The same as for `cell`."""
        return self.cell.initialize_carry(rng, input_shape)

    @property
    def num_feature_axes(self) -> int:
        """The same as for `cell`."""
        return self.cell.num_feature_axes


def noisy_batch(batch: tasks.Batch, config: TrainConfig, key: Array) -> tasks.Batch:
    """The batch with the noise for the controller's carry appended to its inputs."""
    if not config.carry_noise:
        return batch
    carry = controllers.initial_carry(
        config.make_controller(), batch.inputs.shape[-1], ()
    )
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(carry))
    shape = (*batch.inputs.shape[:-1], size)
    noise = config.carry_noise * jax.random.normal(key, shape, jnp.float32)
    return batch.replace(inputs=jnp.concatenate([batch.inputs, noise], axis=-1))


def noisy_model(config: TrainConfig) -> Model:
    """The config's model for a `noisy_batch`."""
    if not config.carry_noise:
        return config.make_model()
    machine = config.make_ntm_config()
    cell: Any = machine.controller
    noisy = NoisyCell(cell, config.make_task().input_size, parent=None)
    machine = dataclasses.replace(machine, controller=noisy)
    return NTM(machine, access=config.access)
