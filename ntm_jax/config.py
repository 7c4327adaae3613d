"""The choices that make a machine, checked as they are made."""

import dataclasses
from typing import Literal

import flax.linen as nn

from ntm_jax import controllers
from ntm_jax.checks import check_fields
from ntm_jax.renamed import renamed_fields

Order = Literal["read_first", "write_first", "interleaved"]
Activation = Literal["tanh", "identity", "sigmoid"]
Sharpening = Literal["learned", "none"]
PreviousWeighting = Literal["own", "read"]
InitialMemory = Literal["constant", "random", "learned"]
InitialWeighting = Literal["first_slot", "uniform", "learned", "none"]
InitialRead = Literal["zeros", "learned"]
InitialCarry = Literal["cell", "learned"]
InitialHeads = Literal["tape", "stack", "content", "neutral"]


@renamed_fields(initial_focus="initial_weighting", previous_focus="previous_weighting")
@dataclasses.dataclass(frozen=True, kw_only=True)
class NTMConfig:
    """What a machine is made of. Frozen and hashable: a static argument under `jit`.

    >>> config = NTMConfig(output_size=8, num_read_heads=2)
    >>> dataclasses.replace(config, num_slots=64).num_slots
    64

    Attributes:
      output_size: width of the output, which is logits.
      num_slots: N, slots of the memory; `initial_state` may override it.
      slot_size: M, width of a slot.
      num_read_heads: R, of one machine.
      num_write_heads: W.
      shift_range: how far one step may shift a focus, each way.
      controller: an LSTM of 100 units unless given: `lstm`, `gru`, `feed_forward`, or
        any `flax.linen` cell or stateless module.
      order: `"read_first"`, all heads address the old memory, reads come before writes
        (the paper's order); `"write_first"`, the read heads address and read the memory
        just written; `"interleaved"`, read head 1, write head 1, read head 2, ..., each
        on the memory as the ones before left it.
      key_activation: `"tanh"`, `"identity"` or `"sigmoid"`, of the key k.
      add_activation: the same, of the add vector a.
      sharpening: `"learned"`, or `"none"`, which leaves every γ at 1. A focus that is
        sharpened and goes by content may jump from slot to slot for a small difference
        in the key, and a machine of many such steps is chaotic: its gradient explodes.
      head_clip: bound on the absolute values that heads emit, before they are brought
        into range (Collier and Beel 2018 use 20); None for no bound.
      previous_weighting: which weighting of one step ago a head goes on from (eq. 7):
        `"own"`, its own; or `"read"`, write head i goes on from that of read head i,
        as read heads do, so that what it wrote last says nothing of where it writes.
      initial_memory: `"constant"` (1e-6), `"random"` (fixed) or `"learned"`.
      initial_weighting: where every head looks before the first step: `"first_slot"`,
        `"uniform"`, `"learned"`, or `"none"`, all-zero weightings, so that the first
        focus comes from content alone.
      initial_read: what was read before the first step: `"zeros"` or `"learned"`.
      initial_carry: of the controller: `"cell"`, the cell's own, or `"learned"`.
      initial_heads: how `init` makes heads move that have learned nothing yet:
        `"tape"`, the first write head to the next slot at every step while all others
        stay, with little regard to content; `"stack"`, the same, but the first read
        head goes with it, to be where the last input was written; `"content"`, to the
        slots most like their keys, which wants slots that differ (an `initial_memory`
        other than constant) and an `initial_strength` of some size, such as 8; or
        `"neutral"`, without a preference.
      initial_strength: bias of the strength of those heads that stay as on a tape, so
        that they notice content early, or of all that go by content.
      head_scale: of the heads' kernels that `init` makes, times Glorot-uniform.

    Raises:
      TypeError, ValueError: for a field that is not of this kind, by its name.
    """

    output_size: int
    num_slots: int = 128
    slot_size: int = 20
    num_read_heads: int = 1
    num_write_heads: int = 1
    shift_range: int = 1
    controller: nn.Module = dataclasses.field(default_factory=controllers.lstm)
    order: Order = "read_first"
    key_activation: Activation = "tanh"
    add_activation: Activation = "tanh"
    sharpening: Sharpening = "learned"
    head_clip: float | None = None
    previous_weighting: PreviousWeighting = "own"
    initial_memory: InitialMemory = "constant"
    initial_weighting: InitialWeighting = "first_slot"
    initial_read: InitialRead = "zeros"
    initial_carry: InitialCarry = "cell"
    initial_heads: InitialHeads = "tape"
    initial_strength: float = 0.0
    head_scale: float = 0.3

    def __post_init__(self) -> None:
        check_fields(self, zero_too=("shift_range", "initial_strength"))
        check_shift_range(self.shift_range, self.num_slots)
        reads, writes = self.num_read_heads, self.num_write_heads
        if self.previous_weighting == "read" and writes > reads:
            raise ValueError(
                "previous_weighting, num_read_heads, num_write_heads: got 'read', "
                f"{reads} and {writes}, want a read head for every write head"
            )
        if not isinstance(self.controller, nn.Module):
            raise TypeError(
                f"controller: got {self.controller!r}, want a flax.linen module, such "
                "as ntm_jax.lstm(100)"
            )
        if self.controller.parent is not None:
            # Made within a module of Flax, which has made it a part of itself.
            free = self.controller.clone(parent=None, name=None, _deep_clone=True)
            object.__setattr__(self, "controller", free)
        try:
            hash(self.controller)
        except TypeError:
            raise TypeError(
                f"controller: got {self.controller!r}, want a module that can be "
                "hashed: tuples, not lists, in its fields"
            ) from None


def check_shift_range(shift_range: int, num_slots: int) -> None:
    """Raises a `ValueError` if two of the shifts would lead to the same slot."""
    if 2 * shift_range + 1 > num_slots:
        raise ValueError(
            f"shift_range, num_slots: got {shift_range} and {num_slots}, want "
            "2 * shift_range + 1 <= num_slots"
        )
