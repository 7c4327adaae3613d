"""Noise in what a controller remembers, so that it learns to count in whole numbers.

What a recurrent controller keeps in mind over a hundred steps it may keep in ever so
small differences, which do for the lengths it was trained on and drift beyond. Noise in
its carry at each step of the training drowns these: what is to last must be kept in
states that the cell itself pulls back to.
"""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

import tasks
from ntm_jax import controllers
from train.runs.config import TrainConfig
from train.training.model import NTM, Model


class NoisyCell(nn.RNNCellBase):
    """A cell with that cell's parameters, whose inputs bring noise for its carry.

    Attributes:
      cell: what it is without noise.
      input_size: I, width of the machine's input; the noise comes after it.
    """

    cell: nn.RNNCellBase
    input_size: int

    def setup(self) -> None:
        """The parameters are those of `cell`, not of a part named so."""
        nn.share_scope(self, self.cell)

    def __call__(self, carry, inputs: Array):
        """One step from the carry with noise in every number."""
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
        """That of `cell`."""
        return self.cell.initialize_carry(rng, input_shape)

    @property
    def num_feature_axes(self) -> int:
        """That of `cell`."""
        return self.cell.num_feature_axes


def noisy_batch(batch: tasks.Batch, config: TrainConfig, key: Array) -> tasks.Batch:
    """The batch with noise for a controller's carry after its inputs."""
    if not config.carry_noise:
        return batch
    carry = controllers.initial_carry(
        config.make_controller(), batch.inputs.shape[-1], ()
    )
    size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(carry))
    shape = (*batch.inputs.shape[:-1], size)
    noise = config.carry_noise * jax.random.normal(key, shape)
    return batch.replace(inputs=jnp.concatenate([batch.inputs, noise], axis=-1))


def noisy_model(config: TrainConfig) -> Model:
    """The config's model for a `noisy_batch`."""
    if not config.carry_noise:
        return config.make_model()
    machine = config.make_ntm_config()
    cell: Any = machine.controller
    noisy = NoisyCell(cell, config.make_task().input_size, parent=None)
    return NTM(dataclasses.replace(machine, controller=noisy))
