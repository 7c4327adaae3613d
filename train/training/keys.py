"""PRNG keys: one stream for each purpose, all from the seed of a machine."""

import jax
import jax.numpy as jnp
from jax import Array

_PURPOSES = ("params", "data", "validation", "evaluation", "order", "noise")


def purpose_key(seed: int | Array, purpose: str) -> Array:
    """The key for a purpose: independent streams from one seed."""
    return jax.random.fold_in(jax.random.key(seed), _PURPOSES.index(purpose))


def params_key(seed: int | Array, restarts: Array) -> Array:
    """The key for the initial parameters, another after each restart of the seed."""
    key = purpose_key(seed, "params")
    # A seed that has not restarted has the parameters of a run without restarts.
    return jnp.where(restarts == 0, key, jax.random.fold_in(key, restarts))
