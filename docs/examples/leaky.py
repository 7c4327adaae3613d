"""A layer of units, each of which forgets at a rate of its own."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Leaky(nn.RNNCellBase):
    """h = f h' + (1 - f) tanh(W x), with a learned f for each unit."""

    units: int = 64

    @nn.compact
    def __call__(self, carry, x):
        """From the carry and the input to the next carry and the output."""
        keep = jax.nn.sigmoid(self.param("keep", nn.initializers.ones, (1, self.units)))
        h = keep * carry + (1 - keep) * jnp.tanh(nn.Dense(self.units)(x))
        return h, h

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        """Zeros, for inputs of that shape."""
        return jnp.zeros((*input_shape[:-1], self.units))
