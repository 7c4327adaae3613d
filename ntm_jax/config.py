"""`NTMConfig`: the choices that define a machine. It checks them on construction."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self

import flax.linen as nn

from ntm_jax import controllers, plain, values
from ntm_jax.checks import check_choice, check_fields
from ntm_jax.renamed import renamed_fields, with_new_names

Order = Literal["read_first", "write_first", "interleaved"]
Activation = Literal["tanh", "identity", "sigmoid"]
Sharpening = Literal["learned", "none"]
PreviousWeighting = Literal["own", "read"]
InitialMemory = Literal["constant", "random", "learned"]
InitialWeighting = Literal["first_slot", "uniform", "learned", "none"]
InitialRead = Literal["zeros", "learned"]
InitialCarry = Literal["cell", "learned"]
InitialHeads = Literal["tape", "stack", "lookup", "content", "neutral"]

# Fields that had another name before 0.2, until 0.3.
RENAMED = {
    "initial_focus": "initial_weighting",
    "previous_focus": "previous_weighting",
}


@renamed_fields(**RENAMED)
@dataclasses.dataclass(frozen=True, kw_only=True)
class NTMConfig:
    """Every choice that defines a machine.

    A config is a value: it is frozen and hashable, so it can be a static argument under
    `jit`, and a copy equals it, also one made with pickle.

    >>> config = NTMConfig(output_size=8, num_read_heads=2)
    >>> dataclasses.replace(config, num_slots=64).num_slots
    64

    Attributes:
      output_size: width of the output, which consists of logits.
      num_slots: N, the number of memory slots. `initial_state` can override it.
      slot_size: M, the width of a slot.
      num_read_heads: R, the number of read heads.
      num_write_heads: W, the number of write heads.
      shift_range: the largest shift of a weighting in one step, in either direction.
      controller: `ntm_jax.lstm`, `gru`, `feed_forward`, or any `flax.linen` cell or
        stateless module. The default is an LSTM with 100 units.
      order: the order in which the heads act in one step. `"read_first"` (as in the
        paper): all heads address the old memory, and reads come before writes.
        `"write_first"`: the write heads act first, and the read heads address and read
        the new memory. `"interleaved"`: read head 1, write head 1, read head 2, ...,
        each with the memory as changed by the heads before it.
      key_activation: activation of the key k: `"tanh"`, `"identity"` or `"sigmoid"`.
      add_activation: activation of the add vector a: the same choices.
      sharpening: `"learned"`: each head emits its γ (eq. 9). `"none"`: γ is always 1.
        Sharpening can make a content-based weighting jump to another slot after a small
        change of the key. Over many such steps a machine can become chaotic, so that
        its gradient explodes. `"none"` prevents this.
      head_clip: bound on the absolute values that heads emit, before their activations.
        Collier and Beel 2018 use 20. None sets no bound.
      previous_weighting: the previous weighting w_{t-1} of a head in eq. 7. `"own"`:
        the head's own. `"read"`: read heads use their own, and write head i uses that
        of read head i. The slots of a write then follow the reads, not earlier writes.
      initial_memory: content of the memory before the first step. `"constant"`: 1e-6 in
        every entry. `"random"`: fixed random numbers. `"learned"`: a parameter.
      initial_weighting: weighting of every head before the first step. `"first_slot"`:
        1 at slot 0. `"uniform"`: 1/N at every slot. `"learned"`: a parameter.
        `"none"`: 0 at every slot, so the first weighting depends on content alone.
      initial_read: read vectors before the first step. `"zeros"` or `"learned"`, a
        parameter.
      initial_carry: carry of the controller before the first step. `"cell"`: the carry
        that the cell itself provides. `"learned"`: a parameter.
      initial_heads: how untrained heads move. `"tape"`: the first write head moves to
        the next slot at every step, all other heads stay at their slot, and content has
        little influence. `"stack"`: the same, but the first read head moves too and so
        stays with the first write head. `"lookup"`: the first write head moves as on a
        tape, and the read heads go to the slots most similar to their keys.
        `"content"`: all heads do. This requires slots that differ (an `initial_memory`
        other than `"constant"`) and a larger `initial_strength`, such as 8.
        `"neutral"`: heads have no preference.
      initial_strength: initial bias of the key strength β of the heads that do not move
        on a tape; it lets content influence those that stay from the start. It has no
        effect with `"neutral"`.
      head_scale: multiplies the Glorot-uniform initialisation of the heads' kernels.

    Raises:
      TypeError: if a field has the wrong type. The message names the field.
      ValueError: if a field has an invalid value, or two fields do not fit each other.
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
                f"{reads} and {writes}, want a read head for every write head: set "
                f"num_read_heads={writes} or previous_weighting='own'"
            )
        if not isinstance(self.controller, nn.Module):
            raise TypeError(
                f"controller: got {self.controller!r}, want a flax.linen module, for "
                "example ntm_jax.lstm(100)"
            )
        if self.controller.parent is not None:
            # The controller was made inside a Flax module, which registered it as a
            # submodule. The copy belongs to no module.
            unbound = self.controller.clone(parent=None, name=None, _deep_clone=True)
            object.__setattr__(self, "controller", unbound)
        object.__setattr__(self, "controller", values.settle(self.controller))
        try:
            hash(self.controller)
        except TypeError:
            raise TypeError(
                f"controller: got {self.controller!r}, want a hashable module: use "
                "tuples instead of lists in its fields"
            ) from None

    def to_dict(self) -> dict[str, Any]:
        """The config as plain data, which `json.dumps` takes.

        >>> NTMConfig(output_size=8).to_dict()["controller"]
        {'kind': 'lstm', 'units': 100, 'num_layers': 1, 'input_scale': 4.0}

        Raises:
          ValueError: if the controller is not one of `lstm`, `gru` and `feed_forward`,
            with an activation of `jax.nn` or `jax.numpy`. Other modules are not plain
            data; pickle such a config.
        """
        return {**self._fields(), "controller": plain.to_plain(self.controller)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The config that `to_dict` wrote, in this version or an older one.

        >>> config = NTMConfig(output_size=8, controller=controllers.gru(64))
        >>> NTMConfig.from_dict(config.to_dict()) == config
        True

        Args:
          fields: of `to_dict`. A field that is missing has its default. The controller
            can also be a module.

        Raises:
          TypeError, ValueError: if a field is unknown or has an invalid value. The
            message names it.
        """
        if not isinstance(fields, Mapping):
            raise TypeError(f"fields: got {type(fields).__name__}, want a dict")
        named = with_new_names(fields, RENAMED)
        known = [field.name for field in dataclasses.fields(cls)]
        for name in named:
            check_choice("fields", name, known)
        if "output_size" not in named:
            raise ValueError("output_size: got none, want a value")
        if "controller" in named:
            named["controller"] = plain.from_plain(named["controller"])
        return cls(**named)

    def _fields(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and cloudpickle."""
        return values.make, (type(self), values.portable(self._fields()))


def check_shift_range(shift_range: int, num_slots: int) -> None:
    """Raises a `ValueError` if two different shifts would lead to the same slot."""
    if 2 * shift_range + 1 > num_slots:
        raise ValueError(
            f"shift_range, num_slots: got {shift_range} and {num_slots}, want "
            "2 * shift_range + 1 <= num_slots"
        )
