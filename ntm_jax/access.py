"""How a machine uses its memory at one step: heads address, read and write.

Section 3.3 of Graves, Wayne and Danihelka 2014 (arXiv:1410.5401). The rest of a machine
knows of its memory only this: the sizes of the interface (`heads.addressing_size`,
`heads.writing_size`), the initial `AccessState`, and `apply`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ntm_jax import heads
from ntm_jax.addressing import address
from ntm_jax.config import NTMConfig
from ntm_jax.exported import exportable
from ntm_jax.memory import read, write


@exportable
class AccessState(NamedTuple):
    """The memory, and where each head was last.

    Attributes:
      memory: `[..., N, M]`.
      read_weights: `[..., R, N]`.
      write_weights: `[..., W, N]`.
    """

    memory: Array
    read_weights: Array
    write_weights: Array


@exportable
class Interface(NamedTuple):
    """What the heads emit: everything that the controller says to the memory.

    Attributes:
      read: `[..., R, P]`, of `heads.emit`.
      write: `[..., W, P]`.
    """

    read: Array
    write: Array


def apply(
    interface: Interface, state: AccessState, config: NTMConfig
) -> tuple[Array, AccessState]:
    """One step: what the read heads read, `[..., R, M]`, and the new state."""
    previous = {"read": state.read_weights, "write": state.write_weights}
    if config.previous_weighting == "read":
        previous["write"] = state.read_weights
    weights: dict[str, list[Array]] = {"read": [], "write": []}
    reads, memory = [], state.memory
    for kind, turn in schedule(config):
        emitted = getattr(interface, kind)[..., turn, :]
        addressing = heads.addressing(
            emitted,
            config.slot_size,
            config.shift_range,
            config.key_activation,
            config.sharpening,
        )
        weighting = address(memory, previous[kind][..., turn, :], *addressing)
        weights[kind].append(weighting)
        if kind == "read":
            reads.append(read(memory, weighting))
        else:
            writing = heads.writing(emitted, config.slot_size, config.add_activation)
            memory = write(memory, weighting, *writing)
    new_state = AccessState(
        memory,
        jnp.concatenate(weights["read"], axis=-2),
        jnp.concatenate(weights["write"], axis=-2),
    )
    return jnp.concatenate(reads, axis=-2), new_state


def schedule(config: NTMConfig) -> list[tuple[str, slice]]:
    """Which heads act in turn. Heads of one turn see the same memory."""
    r, w = config.num_read_heads, config.num_write_heads
    if config.order == "read_first":
        return [("read", slice(0, r)), ("write", slice(0, w))]
    if config.order == "write_first":
        return [("write", slice(0, w)), ("read", slice(0, r))]
    return [
        (kind, slice(i, i + 1))
        for i in range(max(r, w))
        for kind, count in (("read", r), ("write", w))
        if i < count
    ]
