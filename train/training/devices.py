"""Training on all devices of all processes: seeds are spread first, then the batch.

The devices form a mesh with two axes. Along `seeds` they have different machines, which
never communicate. Along `batch` they have the same machines and different sequences of
every batch; they communicate once an update, for the mean of their gradients.

All processes run the same program on the one mesh. An array over it is in none of them
as a whole: `spread` makes one of what every process has, and `on_host` the reverse.

>>> mesh = mesh_for(num_seeds=1, batch_size=3 * jax.local_device_count())
>>> mesh.shape["batch"] == jax.local_device_count()
True
"""

import contextlib
import functools
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ..cluster import cores, together

PyTree = Any
SEEDS, BATCH = "seeds", "batch"
# With fewer sequences, a core is hardly faster on a part of a batch than on all of it.
_FEWEST_SEQUENCES = 4


def mesh_for(num_seeds: int, batch_size: int) -> Mesh:
    """The mesh: as many devices as divide the seeds, then as divide the batch.

    Raises:
      ValueError: if not every process can have as many of them as the others.
    """
    of_each: dict[int, list[Any]] = {}
    for device in jax.devices():
        of_each.setdefault(device.process_index, []).append(device)
    on_each = min(map(len, of_each.values()))
    shape = grid(num_seeds, batch_size, len(of_each), on_each)
    used = math.prod(shape) // len(of_each)
    devices = [device for _, own in sorted(of_each.items()) for device in own[:used]]
    return Mesh(np.asarray(devices).reshape(shape), (SEEDS, BATCH))


def grid(
    num_seeds: int,
    batch_size: int,
    num_processes: int,
    on_each: int,
    fewest_sequences: int = 1,
) -> tuple[int, int]:
    """The shape of the mesh: devices over the seeds, and over the batch of each.

    Args:
      num_seeds: the first number divides it.
      batch_size: the second number divides it.
      num_processes: divides their product, so that each has as much of the work, all of
        it of the same seeds, or of whole batches.
      on_each: the devices of a process.
      fewest_sequences: of a batch for a device, if the batch is spread over more of
        them than there are processes.

    Raises:
      ValueError: if there is no such grid.

    >>> grid(num_seeds=1, batch_size=16, num_processes=4, on_each=2)
    (1, 8)
    """
    available = num_processes * on_each
    of_seeds, of_batch = (
        [n for n in range(1, available + 1) if size % n == 0]
        for size in (num_seeds, batch_size)
    )
    grids = [
        (seeds, batch)
        for seeds in of_seeds
        for batch in of_batch
        if seeds * batch <= available
        and seeds * batch % num_processes == 0
        and _fits(seeds * batch // num_processes, batch)
        and (batch <= num_processes or batch_size >= fewest_sequences * batch)
    ]
    if not grids:
        raise ValueError(
            f"num_processes: got {num_processes}, want a number that divides the work "
            f"of {num_seeds} seeds with batches of {batch_size}; change --num_seeds or "
            "--batch_size, or start fewer processes"
        )
    return max(grids)


def _fits(of_each: int, batch: int) -> bool:
    """Whether the devices of each process form a rectangle of the mesh."""
    return of_each % batch == 0 or batch % of_each == 0


class Own(NamedTuple):
    """What this process has of the seeds and of every batch: parts of equal size.

    Attributes:
      seeds: of the population.
      part: the number of its part of every batch.
      parts: how many there are.
    """

    seeds: slice
    part: int
    parts: int


def own_of(mesh: Mesh, num_seeds: int) -> Own:
    """What this process has of a run of so many seeds on the mesh."""
    is_own = np.vectorize(lambda device: device.process_index)(mesh.devices)
    rows, columns = np.nonzero(is_own == jax.process_index())
    of_row, width = num_seeds // mesh.shape[SEEDS], len({*columns})
    return Own(
        seeds=slice(int(rows.min()) * of_row, (int(rows.max()) + 1) * of_row),
        part=int(columns.min()) // width,
        parts=mesh.shape[BATCH] // width,
    )


def spread(population: PyTree, mesh: Mesh) -> PyTree:
    """The population `[S, ...]`, moved to the devices of its seeds.

    If there are several processes, each has all of it before.
    """
    return placed(population, NamedSharding(mesh, P(SEEDS)))


def placed(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """The arrays with that sharding."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(
            sharding, leaf.ndim
        ):
            return leaf
        whole = on_host(leaf)
        return jax.make_array_from_callback(
            np.shape(whole), sharding, lambda index: whole[index]
        )

    return jax.tree.map(place, tree)


def spread_batches(batches: PyTree, mesh: Mesh) -> PyTree:
    """Batches `[S, n, T, B, ...]`, moved to the devices that need them."""
    return placed(batches, _of_batches(mesh))


def joined(batches: PyTree, mesh: Mesh) -> PyTree:
    """As `spread_batches`, of what each process has, see `own_of`."""
    sharding = _of_batches(mesh)
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, leaf), batches
    )


def _of_batches(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P(SEEDS, None, None, BATCH))


def on_host(tree: PyTree) -> PyTree:
    """The arrays as whole ones of NumPy, in every process.

    What is spread over several processes is sent to all: each has to call this.
    """

    def is_apart(leaf: Any) -> bool:
        return isinstance(leaf, jax.Array) and not (
            leaf.is_fully_addressable or leaf.is_fully_replicated
        )

    apart = [leaf for leaf in jax.tree.leaves(tree) if is_apart(leaf)]
    # In one program, which waits for the other processes once.
    whole = iter(_gather(apart[0].sharding.mesh)(apart) if apart else ())

    def own_copy(leaf: Any) -> Any:
        leaf = next(whole) if is_apart(leaf) else leaf
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return leaf.addressable_data(0)
        return leaf

    return jax.device_get(jax.tree.map(own_copy, tree))


@functools.cache
def _gather(mesh: Mesh) -> Callable[[list[jax.Array]], list[jax.Array]]:
    return jax.jit(lambda arrays: arrays, out_shardings=NamedSharding(mesh, P()))


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
    Call this before anything runs on a device; later it has no effect. Processes on
    one host share its cores.

    Raises:
      ValueError: if there is no part of the work for some process.
    """
    num_processes, own = together.num_processes(), together.cores()
    if (
        "JAX_NUM_CPU_DEVICES" not in os.environ
        and "xla_force_host_platform_device_count"
        not in os.environ.get("XLA_FLAGS", "")
    ):
        shape = grid(num_seeds, batch_size, num_processes, len(own), _FEWEST_SEQUENCES)
        with contextlib.suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", math.prod(shape) // num_processes)
    if len(together.hosts()) > 1:
        cores.stay_on(own)
    if together.is_one_of_many():
        cores.devices_with_patient_network(jax.devices)
