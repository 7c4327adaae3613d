"""Many machines at once: one function for each seed, over every device.

A population is a pytree whose leaves have the seeds as their first axis. Its members
never meet, so that each learns what it would have learned alone.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from train.training.devices import SEEDS

PyTree = Any


def for_each_seed(function: Callable[..., PyTree], mesh: Mesh) -> Callable[..., PyTree]:
    """`function` of one seed's arguments, made to take those of all seeds at once.

    The seeds are spread over the devices of the mesh, and batched by `vmap` on each.
    Devices along its other axis all do the same, unless `function` gives each its own
    part of a batch; what it returns must be the same on all of them.
    """

    def batched(*arguments: PyTree) -> PyTree:
        if jax.tree.leaves(arguments)[0].shape[0] > 1:
            return jax.vmap(function)(*arguments)
        # Alone, without the axis of size 1: XLA's CPU code is twice as fast so.
        result = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: leaf[None], result)

    return jax.shard_map(
        batched,
        mesh=mesh,
        in_specs=P(SEEDS),
        out_specs=P(SEEDS),
        # Without it, a gradient is that of a device's own part, and no more.
        check_vma=False,
    )


def member(population: PyTree, index: int) -> PyTree:
    """One seed's part of a population, on one device."""
    # By way of the host: to index what is spread over devices is a program over all of
    # them, and where several are under way, a processor's devices may wait forever.
    here = jax.device_get(population)
    return jax.device_put(jax.tree.map(lambda leaf: leaf[index], here))
