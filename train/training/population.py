"""Many machines at once: a function of one seed, applied to all seeds on all devices.

A population is a pytree whose leaves have the seeds as their first axis. Its members
never interact, so each learns what it would learn alone.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from .devices import SEEDS, on_host

PyTree = Any


def for_each_seed(function: Callable[..., PyTree], mesh: Mesh) -> Callable[..., PyTree]:
    """`function` of one seed's arguments, mapped over those of all seeds.

    The seeds are spread over the devices of the mesh, and mapped by `vmap` on each.
    Devices along the other axis do the same work, unless `function` gives each its own
    part of a batch; its result must be the same on all of them.
    """

    def batched(*arguments: PyTree) -> PyTree:
        if jax.tree.leaves(arguments)[0].shape[0] > 1:
            return jax.vmap(function)(*arguments)
        # Without an axis of size 1, XLA's CPU code is twice as fast.
        result = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: leaf[None], result)

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
