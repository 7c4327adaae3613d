"""What a machine carries and returns: its state, its trace, its parameters."""

from typing import Any, TypeVar

from flax import struct
from jax import Array, export

from ntm_jax import heads
from ntm_jax.exported import exportable
from ntm_jax.sparse.kinds import Access

PyTree = Any
# A nested dict of arrays, under Flax's names; see `ntm_jax.init`.
Params = dict[str, Any]


@exportable
class NTMState(struct.PyTreeNode):
    """Everything that a machine carries from one step to the next: a frozen pytree.

    Attributes:
      memory: `[..., N, M]`.
      read_weights: `[..., R, N]`, the read heads' last weightings.
      write_weights: `[..., W, N]`, the write heads' last weightings.
      reads: `[..., R, M]`, what the read heads last read.
      controller: the controller's own carry; `()` if it is stateless.
    """

    memory: Array
    read_weights: Array
    write_weights: Array
    reads: Array
    controller: PyTree


class SparseState(struct.PyTreeNode):
    """What a machine carries that keeps K slots of each weighting: a frozen pytree.

    Attributes:
      memory: `[..., N, M]`.
      read_slots: int `[..., R, K]`, the slots of the read heads' last weightings, in
        order: neighbours, or ascending.
      read_weights: `[..., R, K]`, their weights.
      read_rest: `[..., R]`, the weight of all other slots, spread evenly over them.
      write_slots: int `[..., W, K]`, the same of the write heads.
      write_weights: `[..., W, K]`.
      write_rest: `[..., W]`. It is not written.
      reads: `[..., R, M]`, what the read heads last read.
      controller: the controller's own carry; `()` if it is stateless.
      total: `[..., M]`, the sum of all slots.
      directions: `[..., M]`, the sum of all slots, each scaled to the length 1.
      dropped: `[...]`, how much of a head's weighting was on other slots than it is if
        the rest is spread evenly: the most at a step so far.
      unwritten: `[...]`, the most weight of a write head at a step so far that was on
        slots that were not kept, and so were not written.
      bound: `[...]`, the largest bound so far of the difference that a step makes: how
        much of a head's weighting is on other slots than after a step of the dense
        machine from the same state, by `dropped` and by leaving content out. Where
        heads address after a write of the same step, that machine writes as this one.
      searches: int `[...]`, the number of steps so far that looked at all N slots.
      access: which slots are kept; not an array.
    """

    memory: Array
    read_slots: Array
    read_weights: Array
    read_rest: Array
    write_slots: Array
    write_weights: Array
    write_rest: Array
    reads: Array
    controller: PyTree
    total: Array
    directions: Array
    dropped: Array
    unwritten: Array
    bound: Array
    searches: Array
    access: Access = struct.field(pytree_node=False)


export.register_pytree_node_serialization(
    SparseState,
    serialized_name="ntm_jax.SparseState",
    serialize_auxdata=lambda aux_data: str(aux_data[0]).encode(),
    deserialize_auxdata=lambda text: (Access.parse(bytes(text).decode()),),
    from_children=lambda aux_data, children: SparseState(*children, *aux_data),
)

StateT = TypeVar("StateT", NTMState, SparseState)


@exportable
class Trace(struct.PyTreeNode):
    """What a machine did at every step of a sequence. The first axis of all is time.

    Attributes:
      states: after each step.
      outputs: `[T, ..., output_size]`, logits.
      read: what the read heads emitted, each field `[T, ..., R, (its own axes)]`.
      write: the same of the write heads, `[T, ..., W, (its own axes)]`.
      writing: what the write heads erased and added, `[T, ..., W, M]`.
    """

    states: NTMState
    outputs: Array
    read: heads.Addressing
    write: heads.Addressing
    writing: heads.Writing
