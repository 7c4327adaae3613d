"""How the heads use the memory at one step, as `ntm_jax.access`, but on a few slots."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ntm_jax import heads
from ntm_jax.access import Interface, schedule
from ntm_jax.arrays import flat
from ntm_jax.config import NTMConfig
from ntm_jax.memory import read, write
from ntm_jax.sparse.address import Addressed, address
from ntm_jax.sparse.kinds import Held, as_fields, is_first, joined, weights_at
from ntm_jax.sparse.rows import directions, put
from ntm_jax.types import SparseState


class _Turn(NamedTuple):
    """Heads that see the same memory: some read, then some write."""

    read: slice
    write: slice


def apply(
    interface: Interface,
    state: SparseState,
    config: NTMConfig,
    mask: Array | None = None,
) -> tuple[Array, SparseState]:
    """One step: what the read heads read, `[..., R, M]`, and the new state.

    At a step where `mask`, `[...]`, is False, the memory stays as it is; the other
    results are not to be used.
    """
    of_reads = Held(state.read_slots, state.read_weights, state.read_rest)
    of_writes = Held(state.write_slots, state.write_weights, state.write_rest)
    if config.previous_weighting == "read":
        of_writes = of_reads
    memory, reads = state.memory, []
    total, turned = state.total, state.directions
    turns: list[tuple[Addressed, int]] = []
    for turn in _turns(config):
        emitted = {
            kind: getattr(interface, kind)[..., getattr(turn, kind), :]
            for kind in ("read", "write")
        }
        held = joined(of_reads.heads(turn.read), of_writes.heads(turn.write))
        new, memory = address(
            state.access,
            memory,
            turned,
            held,
            _addressing(emitted, config),
            mask,
        )
        num_reads = emitted["read"].shape[-2]
        turns.append((new, num_reads))
        if num_reads:
            reads.append(_read(new, num_reads, total, memory.shape[-2]))
        if emitted["write"].shape[-2]:
            writing = heads.writing(
                emitted["write"], config.slot_size, config.add_activation
            )
            memory, *sums = _written(memory, new, num_reads, writing, mask)
            total, turned = total + sums[0], turned + sums[1]
    reads = jnp.concatenate(reads, axis=-2)
    state = state.replace(memory=memory, total=total, directions=turned)
    return reads, _new_state(state, turns)


def _turns(config: NTMConfig) -> list[_Turn]:
    """The schedule, with reads and the writes after them in one turn."""
    nobody = slice(0, 0)
    turns: list[_Turn] = []
    for kind, who in schedule(config):
        if kind == "read":
            turns.append(_Turn(who, nobody))
        elif turns and turns[-1].write == nobody:
            turns[-1] = turns[-1]._replace(write=who)
        else:
            turns.append(_Turn(nobody, who))
    return turns


def _addressing(emitted: dict[str, Array], config: NTMConfig) -> heads.Addressing:
    """What the heads of a turn emitted to address, those that read first."""
    size = heads.addressing_size(config.slot_size, config.shift_range)
    together = jnp.concatenate(
        [emitted["read"][..., :size], emitted["write"][..., :size]], axis=-2
    )
    return heads.addressing(
        together,
        config.slot_size,
        config.shift_range,
        config.key_activation,
        config.sharpening,
    )


def _read(new: Addressed, num_reads: int, total: Array, num_slots: int) -> Array:
    """What the read heads of a turn read (eq. 2), `[..., R, M]`.

    Of the slots that are not kept, they read the mean, as a constant.
    """
    held, rows = new.held.heads(slice(num_reads)), new.rows[..., :num_reads, :, :]
    kept = read(rows, held.weights)
    if held.slots.shape[-1] == num_slots:
        return kept
    others = lax.stop_gradient(total[..., None, :] - jnp.sum(rows, axis=-2))
    return kept + held.each(num_slots)[..., None] * others


def _written(
    memory: Array,
    new: Addressed,
    num_reads: int,
    writing: heads.Writing,
    mask: Array | None,
) -> tuple[Array, Array, Array]:
    """The memory after the writes of a turn; what they add to its sums, `[..., M]`.

    The slots that are not kept stay as they are.
    """
    held, rows = new.held.heads(slice(num_reads, None)), new.rows[..., num_reads:, :, :]
    slots, weights = held.slots, held.weights
    num_slots, places = memory.shape[-2], flat(slots)
    rows = rows.reshape(*places.shape, memory.shape[-1])
    if slots.shape[-2] > 1:
        # A slot of several heads changes as a whole, and is put once.
        alone = held._replace(rest=jnp.zeros_like(held.rest))
        weights = weights_at(places[..., None, :], alone, num_slots)
        places = jnp.where(is_first(places), places, num_slots)
    if mask is not None:
        places = jnp.where(mask[..., None], places, num_slots)
    written = write(rows, weights, *writing)
    is_put = (places < num_slots)[..., None]
    before, after = lax.stop_gradient((rows, written))
    added = jnp.sum(jnp.where(is_put, after - before, 0), axis=-2)
    turned = jnp.where(is_put, directions(after) - directions(before), 0)
    return put(memory, places, written), added, jnp.sum(turned, axis=-2)


def _new_state(state: SparseState, turns: list[tuple[Addressed, int]]) -> SparseState:
    """The state with the weightings of a step, and with what they left out."""
    reading = joined(*(new.held.heads(slice(n)) for new, n in turns))
    writing = joined(*(new.held.heads(slice(n, None)) for new, n in turns))
    dropped, bound = (
        jnp.concatenate([getattr(new, field) for new, _ in turns], axis=-1).max(-1)
        for field in ("dropped", "bound")
    )
    unwritten = lax.stop_gradient(jnp.max(writing.rest, axis=-1))
    searched = jnp.stack([new.searched for new, _ in turns]).any(0)
    return state.replace(
        **as_fields(reading, writing),
        dropped=jnp.maximum(state.dropped, dropped),
        unwritten=jnp.maximum(state.unwritten, unwritten),
        bound=jnp.maximum(state.bound, bound),
        searches=state.searches + searched.astype(state.searches.dtype),
    )
