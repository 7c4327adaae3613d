"""A network that sees the last steps, and has no state."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from ntm_jax.train import Model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window(Model):
    """A convolution over the inputs up to each step, and a layer of units."""

    output_size: int  # from the trainer
    units: int = 64
    width: int = 41

    @property
    def layers(self):
        """The layers, without their parameters."""
        past = nn.Conv(self.units, (self.width,), padding=[(self.width - 1, 0)])
        return nn.Sequential([past, jnp.tanh, nn.Dense(self.output_size)])

    def init(self, key, input_size):
        """The initial parameters."""
        return self.layers.init(key, jnp.zeros((1, self.width, input_size)))["params"]

    def logits(self, params, inputs, mask=None):
        """The logits; the convolution wants sequences first, then time."""
        by_batch = jnp.swapaxes(inputs, 0, 1)
        return jnp.swapaxes(self.layers.apply({"params": params}, by_batch), 0, 1)
