"""Parity: whether a string of bits has an odd number of ones."""

import dataclasses

import jax
import jax.numpy as jnp

from ntm_jax import tasks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parity(tasks.Task):
    """Random bits, then a 1 on a channel of its own, where the answer is due."""

    longest: int = 10

    inputs = tasks.Vectors(2)
    targets = tasks.Categories(2)

    @property
    def difficulty(self):
        """The number of bits in training."""
        return {"length": (1, self.longest)}

    @property
    def beyond(self):
        """Twice as many, in the evaluation."""
        return ({"length": 2 * self.longest},)

    def make(self, key, batch_size, ranges):
        """A batch of strings, each with a length of its own."""
        length = ranges["length"]
        length_key, bits_key = jax.random.split(key)
        lengths = length.draw(length_key, (1, batch_size))
        step = jnp.arange(length.limit + 1)[:, None]
        bits = jax.random.bernoulli(bits_key, shape=(length.limit + 1, batch_size))
        bits, asked = bits & (step < lengths), step == lengths
        inputs = jnp.stack([bits, asked], axis=-1).astype(jnp.float32)
        odd = jnp.sum(bits, axis=0, keepdims=True) % 2
        return tasks.Batch(inputs, jnp.where(asked, odd, 0), asked)
