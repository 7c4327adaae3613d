"""The sequences of every update, from the seed and the number of the update alone."""

import jax
import jax.numpy as jnp
from jax import Array

from ntm_jax import tasks

from ..runs.config import TrainConfig
from .curriculum import curriculum
from .keys import purpose_key


def batch_of(
    config: TrainConfig,
    seed: Array | int,
    step: Array | int,
    began_at: Array | int = 0,
) -> tasks.Batch:
    """The sequences of an update.

    They depend on the seed, the number of the update and that of the last restart
    alone, so that a run that was stopped and continued sees the same sequences.
    """
    drawn = draw_sequences(config, seed, step, began_at)
    return part_of(config, drawn, step % config.sort_updates)


def draw_sequences(
    config: TrainConfig,
    seed: Array | int,
    step: Array | int,
    began_at: Array | int = 0,
) -> tuple[tasks.Batch, Array]:
    """The sequences of `sort_updates` updates, and which of them each update has.

    They are drawn together, as hard as the first of these asks, and sorted by their
    lengths; each update has one part of them, in random order.
    """
    size, together = config.batch_size, config.sort_updates
    first = step - step % together
    key = jax.random.fold_in(purpose_key(seed, "data"), first)
    # A seed can restart amid updates whose sequences are drawn together.
    difficulty = curriculum(config, jnp.maximum(first - began_at, 0))
    batch = config.make_task().sample(key, size * together, **difficulty)
    order_key = jax.random.fold_in(purpose_key(seed, "order"), first)
    order = jax.random.permutation(order_key, together)
    by_length = jnp.argsort(jnp.sum(batch.steps, axis=0))
    return batch, by_length.reshape(together, size)[order]


def part_of(
    config: TrainConfig, drawn: tuple[tasks.Batch, Array], place: Array | int
) -> tasks.Batch:
    """The sequences of one of the updates that these were drawn for."""
    batch, parts = drawn
    if config.sort_updates == 1:
        return batch
    return jax.tree.map(lambda leaf: jnp.take(leaf, parts[place], axis=1), batch)
