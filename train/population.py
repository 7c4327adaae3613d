"""Many machines at once: one function for each seed, over every device.

A population is a pytree whose leaves have the seeds as their first axis. Its members
never meet, so that each learns what it would have learned alone, and devices need not
talk to each other.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

PyTree = Any


def for_each_seed(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """`function` of one seed's arguments, made to take those of all seeds at once.

    The seeds are spread over as many local devices as divide their number, and batched
    by `vmap` on each.
    """

    def batched(*arguments: PyTree) -> PyTree:
        if jax.tree.leaves(arguments)[0].shape[0] > 1:
            return jax.vmap(function)(*arguments)
        # Alone, without the axis of size 1: XLA's CPU code is twice as fast so.
        result = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
        return jax.tree.map(lambda leaf: leaf[None], result)

    def spread(*arguments: PyTree) -> PyTree:
        mesh = mesh_for(jax.tree.leaves(arguments)[0].shape[0])
        over_seeds = jax.shard_map(
            batched,
            mesh=mesh,
            in_specs=P("seeds"),
            out_specs=P("seeds"),
            check_vma=False,  # it asks about reductions over seeds: there are none
        )
        return over_seeds(*arguments)

    return spread


def spread_seeds(population: PyTree) -> PyTree:
    """The population, moved to the devices that `for_each_seed` uses."""
    mesh = mesh_for(jax.tree.leaves(population)[0].shape[0])
    return jax.device_put(population, NamedSharding(mesh, P("seeds")))


def mesh_for(num_seeds: int) -> Mesh:
    """The largest number of local devices that divides the number of seeds."""
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if num_seeds % n == 0)
    return Mesh(np.asarray(devices[:count]), ("seeds",))


def use_all_cores(num_seeds: int) -> None:
    """Makes each core of a processor a device of its own, where there are seeds for it.

    To be called before anything has run on a device; later it does nothing.
    """
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", min(num_seeds, os.cpu_count() or 1))


def member(population: PyTree, index: int) -> PyTree:
    """One seed's part of a population."""
    return jax.tree.map(lambda leaf: leaf[index], population)
