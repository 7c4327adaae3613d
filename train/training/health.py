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
    # Of each sequence at each step, `[T, B]`.
    means = {"memory_norm": jnp.linalg.norm(trace.states.memory, axis=(-2, -1))}
    largest = {}
    for kind, emitted, weights in (
        ("read", trace.read, trace.states.read_weights),
        ("write", trace.write, trace.states.write_weights),
    ):
        near_bound = jnp.minimum(emitted.gate, 1 - emitted.gate) < _SATURATED
        of_heads = {
            "gate": emitted.gate,
            "gate_saturation": near_bound.astype(jnp.float32),
            "strength": emitted.strength,
            "gamma": emitted.gamma,
            "focus_entropy": entropy_bits(weights),
        }
        for name, values in of_heads.items():
            means[f"{kind}_{name}"] = jnp.mean(values, axis=-1)
        for name in ("strength", "gamma"):
            largest[f"{kind}_{name}_max"] = jnp.max(of_heads[name], axis=-1)
    # Together: XLA would compile a program for each array.
    counts, over = batch.steps, (1, 2)
    mean = jnp.mean(jnp.stack([*means.values()]), over, where=counts)
    most = jnp.max(jnp.stack([*largest.values()]), over, where=counts, initial=0)
    return dict(zip([*means, *largest], [*mean, *most], strict=True))


def entropy_bits(weights: Array) -> Array:
    """Entropy of weightings `[..., N]`, in bits `[...]`."""
    # 0 log 0 = 0: a weight of zero is multiplied by the logarithm of one.
    logs = jnp.log2(jnp.where(weights > 0, weights, 1))
    return -jnp.sum(weights * logs, axis=-1)
