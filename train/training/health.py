"""The inside of a machine in numbers that show early when learning fails."""

from typing import Any

import jax.numpy as jnp
from jax import Array

import ntm_jax
from ntm_jax import NTMConfig, tasks

PyTree = Any
Health = dict[str, Array]
# A gate this close to 0 or 1 is saturated: it hardly learns.
_SATURATED = 0.01


def watch(params: PyTree, batch: tasks.Batch, config: NTMConfig) -> Health:
    """Means over the heads, the sequences and their steps up to the last answer.

    Returns:
      Scalars, for the read heads and for the write heads:

      * `gate_saturation`: the fraction of the gates g within 0.01 of 0 or 1;
      * `gate`, `strength`, `gamma`: g, β and γ;
      * `strength_max`, `gamma_max`: the largest;
      * `focus_entropy`: of the weightings, in bits: 0 on one slot, log2 N on all;

      and `memory_norm`, the Frobenius norm of the memory.
    """
    trace = ntm_jax.trace(params, batch.inputs, config=config)
    counts = batch.steps

    def counted(values: Array) -> Array:
        """The mask of `[T, B, ...]` for the steps that count."""
        over = counts.reshape(*counts.shape, *(1,) * (values.ndim - 2))
        return jnp.broadcast_to(over, values.shape)

    def mean(values: Array) -> Array:
        return jnp.mean(values, where=counted(values))

    def largest(values: Array) -> Array:
        return jnp.max(values, where=counted(values), initial=0)

    health = {"memory_norm": mean(jnp.linalg.norm(trace.states.memory, axis=(-2, -1)))}
    for kind, emitted, weights in (
        ("read", trace.read, trace.states.read_weights),
        ("write", trace.write, trace.states.write_weights),
    ):
        near_bound = jnp.minimum(emitted.gate, 1 - emitted.gate) < _SATURATED
        health |= {
            f"{kind}_gate": mean(emitted.gate),
            f"{kind}_gate_saturation": mean(near_bound.astype(jnp.float32)),
            f"{kind}_strength": mean(emitted.strength),
            f"{kind}_strength_max": largest(emitted.strength),
            f"{kind}_gamma": mean(emitted.gamma),
            f"{kind}_gamma_max": largest(emitted.gamma),
            f"{kind}_focus_entropy": mean(entropy_bits(weights)),
        }
    return health


def entropy_bits(weights: Array) -> Array:
    """Entropy of weightings `[..., N]`, in bits `[...]`."""
    # 0 log 0 = 0: a weight of zero is multiplied by the logarithm of one.
    logs = jnp.log2(jnp.where(weights > 0, weights, 1))
    return -jnp.sum(weights * logs, axis=-1)
