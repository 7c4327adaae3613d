"""PRNG keys: one stream for each purpose, all from the seed of a machine."""

import jax
from jax import Array

_PURPOSES = ("params", "data", "validation", "evaluation", "order", "noise")


def purpose_key(seed: int | Array, purpose: str) -> Array:
    """The key for a purpose: independent streams from one seed."""
    return jax.random.fold_in(jax.random.key(seed), _PURPOSES.index(purpose))
