"""What a machine carries and returns: its state, its trace, its parameters."""

from typing import Any

from flax import struct
from jax import Array

from ntm_jax import heads
from ntm_jax.exported import exportable

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
