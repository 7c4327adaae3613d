"""Many machines at once: a function of one seed, applied to all seeds on all devices.

A population is a pytree whose leaves have the seeds as their first axis. Its members
never interact, so each learns what it would learn alone.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from .devices import SEEDS, on_host

PyTree = Any


def for_each_seed(function: Callable[..., PyTree], mesh: Mesh) -> Callable[..., PyTree]:
    """`function` of one seed's arguments, mapped over those of all seeds.

    The seeds are spread over the devices of the mesh. On each, they are mapped by
    `vmap`, or on a CPU computed one after the other.
    Devices along the other axis do the same work, unless `function` gives each its own
    part of a batch; its result must be the same on all of them.
    """

    def batched(*arguments: PyTree) -> PyTree:
        if mesh.devices[0, 0].platform == "cpu":
            # XLA's CPU code is faster without an axis for the seeds.
            return lax.map(lambda own: function(*own), arguments)
        return jax.vmap(function)(*arguments)

    return jax.shard_map(
        batched,
        mesh=mesh,
        in_specs=P(SEEDS),
        out_specs=P(SEEDS),
        # With it, JAX would sum gradients over the devices, see `mean_of_parts`.
        check_vma=False,
    )


def member(population: PyTree, index: int) -> PyTree:
    """One seed of a population, on one device of each process."""
    # Through the host: indexing a sharded array is a program over all devices, and CPU
    # devices can deadlock in several such programs at once.
    here = on_host(population)
    return jax.device_put(jax.tree.map(lambda leaf: leaf[index], here))
