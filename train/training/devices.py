"""Training on all local devices: seeds are spread first, then the batch.

The devices form a mesh with two axes. Along `seeds` they have different machines, which
never communicate. Along `batch` they have the same machines and different sequences of
every batch; they communicate once an update, for the mean of their gradients.

>>> mesh = mesh_for(num_seeds=1, batch_size=3 * jax.local_device_count())
>>> mesh.shape["batch"] == jax.local_device_count()
True
"""

import contextlib
import os
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

PyTree = Any
SEEDS, BATCH = "seeds", "batch"
# With fewer sequences, a core is hardly faster on a part of a batch than on all of it.
_FEWEST_SEQUENCES = 4


def mesh_for(num_seeds: int, batch_size: int) -> Mesh:
    """The mesh: as many devices as divide the seeds, then as divide the batch."""
    devices = jax.local_devices()
    over_seeds = most_that_divide(num_seeds, len(devices))
    over_batch = most_that_divide(batch_size, len(devices) // over_seeds)
    used = np.asarray(devices[: over_seeds * over_batch])
    return Mesh(used.reshape(over_seeds, over_batch), (SEEDS, BATCH))


def most_that_divide(size: int, available: int) -> int:
    """The largest number of devices that divides the size."""
    return max(n for n in range(1, available + 1) if size % n == 0)


def spread(population: PyTree, mesh: Mesh) -> PyTree:
    """The population `[S, ...]`, moved to the devices of its seeds."""
    return jax.device_put(population, NamedSharding(mesh, P(SEEDS)))


def own_part(tree: PyTree, axis: int) -> PyTree:
    """This device's part of arrays that every device along `batch` has.

    Args:
      tree: arrays with the sequences along `axis`.
      axis: static.
    """
    count, place = lax.axis_size(BATCH), lax.axis_index(BATCH)

    def part(leaf: jax.Array) -> jax.Array:
        size = leaf.shape[axis] // count
        return lax.dynamic_slice_in_dim(leaf, place * size, size, axis)

    return jax.tree.map(part, tree)


def mean_of_parts(tree: PyTree) -> PyTree:
    """The mean over the devices along `batch`, which is that of the whole batch."""
    if lax.axis_size(BATCH) == 1:
        return tree
    # As one array: CPU devices synchronise for each one, which costs more than the sum.
    numbers, as_tree = ravel_pytree(tree)
    return as_tree(lax.pmean(numbers, BATCH))


def all_parts(tree: PyTree) -> PyTree:
    """The parts of all devices along `batch`: `[B, ...]` on each of them."""
    return lax.all_gather(tree, BATCH, tiled=True)


def use_all_cores(num_seeds: int, batch_size: int) -> None:
    """Makes each CPU core a device of its own, as far as there is work for it.

    A core that works on its own part of a batch wastes nothing; cores that share every
    small operation of a step spend more time on synchronisation than they save.

    If JAX or XLA flags already set the number of CPU devices, they stay as they are.
    Call this before anything runs on a device; later it has no effect.
    """
    if (
        "JAX_NUM_CPU_DEVICES" in os.environ
        or "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    ):
        return
    cores = os.cpu_count() or 1
    over_seeds = most_that_divide(num_seeds, cores)
    parts = min(cores // over_seeds, max(1, batch_size // _FEWEST_SEQUENCES))
    over_batch = most_that_divide(batch_size, parts)
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", over_seeds * over_batch)
