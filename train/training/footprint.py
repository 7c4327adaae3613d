"""The memory that a run needs at least, against what the devices have."""

import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ntm_jax import tasks

from ..runs.config import TrainConfig
from .batches import draw_sequences
from .state import init_states, mesh_of

_BYTES = 4  # of a float32


def check_memory(
    config: TrainConfig, optimizer: optax.GradientTransformation | None = None
) -> None:
    """Raises a `ValueError` if a run surely needs more memory than the devices have.

    It may also need more if this passes. JAX finds that out, but after the run has
    begun, or the system does, which then kills the process.
    """
    there, want = bytes_there(config), 0
    # In this order: JAX cannot describe arrays for a memory beyond all bounds.
    of_arrays = functools.partial(bytes_of_arrays, optimizer=optimizer)
    for bytes_of in (bytes_of_memories, of_arrays):
        want += config.num_seeds * bytes_of(config)
        if there is not None and want > there:
            raise ValueError(
                f"memory: the run needs at least {_in_words(want)}, but there are "
                f"{_in_words(there)}; use fewer slots (--num_slots), smaller ones "
                "(--slot_size), a smaller --batch_size, fewer --controller_units or "
                "fewer seeds (--num_seeds)"
            )


def check_evaluation(
    config: TrainConfig, num_slots: int, difficulty: dict[str, tasks.Difficulty]
) -> None:
    """Raises a `ValueError` if one sequence surely needs more memory than there is."""
    there = bytes_there(config)
    want = _BYTES * num_slots * config.slot_size if config.has_slots() else 0
    task = config.make_task()
    if not isinstance(task, tasks.DataTask):
        sample = functools.partial(task.sample, batch_size=1, **difficulty)
        want += _bytes_of(jax.eval_shape(sample, jax.random.key(0)))
    if there is not None and want > there:
        raise ValueError(
            f"memory: a sequence needs at least {_in_words(want)}, but there are "
            f"{_in_words(there)}; use fewer slots (--num_slots) or shorter sequences"
        )


def bytes_of_memories(config: TrainConfig) -> int:
    """The memories of a batch and their cotangents, of one seed."""
    if not config.has_slots():
        return 0
    return 2 * _BYTES * config.batch_size * config.num_slots * config.slot_size


def bytes_of_arrays(
    config: TrainConfig, optimizer: optax.GradientTransformation | None = None
) -> int:
    """The state of training and the sequences drawn at once, of one seed."""
    one = config.for_any_seed()
    state = jax.eval_shape(lambda: init_states(one, optimizer))
    if isinstance(config.make_task(), tasks.DataTask):
        return _bytes_of(state)
    drawn = jax.eval_shape(
        lambda step: draw_sequences(one, jnp.uint32(0), step), jnp.int32(0)
    )
    return _bytes_of((state, drawn))


def _bytes_of(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def bytes_there(config: TrainConfig) -> int | None:
    """The memory of all devices of a run; None if it is not known.

    Another process does not tell that of its devices; it counts as that of ours.
    """
    devices = mesh_of(config).local_devices
    stats = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in of_one for of_one in stats):
        here = sum(of_one["bytes_limit"] for of_one in stats)
        return here * jax.process_count()
    if devices[0].platform != "cpu":
        return None
    try:
        here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
    return here * jax.process_count()


def _in_words(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
