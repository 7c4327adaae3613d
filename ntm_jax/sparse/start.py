"""The state from which a machine starts that keeps a few slots of each weighting."""

import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.sparse.kinds import Access, Held, as_fields
from ntm_jax.sparse.rows import directions
from ntm_jax.types import NTMState, SparseState


def from_dense(state: NTMState, access: Access) -> SparseState:
    """The state that keeps a few slots of each weighting of `state`."""
    num_slots, batch = state.memory.shape[-2], state.memory.shape[:-2]

    def kept(weights: Array) -> tuple[Held, Array]:
        if access.num_kept(num_slots) == num_slots:
            slots = jnp.arange(num_slots, dtype=jnp.int32)
            none = jnp.zeros(weights.shape[:-1], weights.dtype)
            return Held(jnp.broadcast_to(slots, weights.shape), weights, none), none
        # Behind a barrier: XLA would fold the N numbers of a constant, slowly.
        constant = lax.optimization_barrier(lax.stop_gradient(weights))
        slots = access.keep(constant, num_slots)
        of_slots = jnp.take_along_axis(weights, slots, axis=-1)
        rest = jnp.maximum(jnp.sum(weights, -1) - jnp.sum(of_slots, -1), 0)
        held = Held(slots, of_slots, lax.stop_gradient(rest))
        return held, lax.stop_gradient(held.elsewhere(weights))

    reading, of_reads = kept(state.read_weights)
    writing, of_writes = kept(state.write_weights)
    memory = lax.optimization_barrier(lax.stop_gradient(state.memory))
    dropped = jnp.concatenate([of_reads, of_writes], axis=-1).max(-1)
    return SparseState(
        memory=state.memory,
        **as_fields(reading, writing),
        reads=state.reads,
        controller=state.controller,
        total=lax.stop_gradient(jnp.sum(state.memory, axis=-2)),
        directions=jnp.sum(directions(memory), axis=-2),
        dropped=dropped,
        unwritten=jnp.zeros(batch, dropped.dtype),
        bound=jnp.copy(dropped),  # a caller may donate the state
        searches=jnp.zeros(batch, jnp.int32),
        access=access,
    )
