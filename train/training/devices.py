"""Over every local device: seeds first, and the sequences of a batch beside them.

Devices make a grid of two axes. Along `seeds` each has other machines, which never
meet. Along `batch` each has the same machines and other sequences of every batch, and
they talk once in an update, when they take the mean of their gradients.

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
# With fewer at once, a core is not much faster with its part than with all.
_FEWEST_SEQUENCES = 4


def mesh_for(num_seeds: int, batch_size: int) -> Mesh:
    """The grid: as many devices as divide the seeds, and of the others the batch."""
    devices = jax.local_devices()
    over_seeds = most_that_divide(num_seeds, len(devices))
    over_batch = most_that_divide(batch_size, len(devices) // over_seeds)
    used = np.asarray(devices[: over_seeds * over_batch])
    return Mesh(used.reshape(over_seeds, over_batch), (SEEDS, BATCH))


def most_that_divide(size: int, available: int) -> int:
    """The largest number of devices that has equal parts of so many things."""
    return max(n for n in range(1, available + 1) if size % n == 0)


def spread(population: PyTree, mesh: Mesh) -> PyTree:
    """The population `[S, ...]`, moved to the devices of its seeds."""
    return jax.device_put(population, NamedSharding(mesh, P(SEEDS)))


def own_part(tree: PyTree, axis: int) -> PyTree:
    """Of arrays that every device along `batch` has, the part that is its own.

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
    """Of what every device has of its own part, the mean: that of the whole batch."""
    if lax.axis_size(BATCH) == 1:
        return tree
    # As one array: processors meet once for each, which takes longer than the sum.
    numbers, as_tree = ravel_pytree(tree)
    return as_tree(lax.pmean(numbers, BATCH))


def all_parts(tree: PyTree) -> PyTree:
    """Of what every device has of its own part, all: `[B, ...]` on each of them."""
    return lax.all_gather(tree, BATCH, tiled=True)


def use_all_cores(num_seeds: int, batch_size: int) -> None:
    """Makes each core of a processor a device of its own, where there is work for it.

    A core that steps through its own part of a batch wastes nothing; two that share
    every small operation of a step spend more time on meeting than they save.

    Where JAX or XLA was told how many devices a processor is, it is left as it is.
    Call it before anything has run on a device; later it does nothing.
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
