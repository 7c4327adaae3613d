"""Random numbers that are the same in every session, whatever its flags.

The numbers that JAX draws from a seed depend on flags: on the default generator, on how
its threefry generator splits its work, and on an offset of all seeds. What is drawn
here is what JAX draws from the seed if none of these flags is set.
"""

import contextlib

import jax
import jax.numpy as jnp
from jax import Array


def key(seed: int | Array) -> Array:
    """`jax.random.key(seed)` of a session without flags; the seed is below 2**32."""
    words = jnp.stack([jnp.uint32(0), jnp.asarray(seed, jnp.uint32)])
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def draws() -> contextlib.AbstractContextManager[None]:
    """A context in which a `key` gives the same numbers in every session."""
    return jax.threefry_partitionable(True)
