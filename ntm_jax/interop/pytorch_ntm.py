"""Conversion of the state dicts of loudinthecloud/pytorch-ntm."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntm_jax import heads
from ntm_jax.config import NTMConfig, Order
from ntm_jax.controllers import lstm
from ntm_jax.interop import state_dicts
from ntm_jax.interop.state_dicts import Arrays, Params, Shapes

_MEMORY = "ntm.memory.mem_bias"
_LSTM = "ntm.controller.lstm"
_OUTPUT = "ntm.fc"
# The memory is a submodule of the machine, of each head and of `EncapsulatedNTM`.
_NAMES_OF_MEMORY = r"(ntm\.(heads\.\d+\.)?)?memory\.mem_bias"
# The entries whose shapes determine all sizes.
_AXES = {
    _MEMORY: "N M",
    f"{_LSTM}_h_bias": "layers 1 H",
    f"{_OUTPUT}.weight": "outputs H+RM",
    f"{_LSTM}.weight_ih_l0": "4H inputs+RM",
}


def from_pytorch_ntm(
    state_dict: Mapping[str, Any], *, dtype: jax.typing.DTypeLike = jnp.float32
) -> tuple[NTMConfig, Params]:
    """The config and parameters of a state dict of loudinthecloud/pytorch-ntm.

    The result reproduces the code of its last revision, 3c64937 (2018). The machine can
    have any number of LSTM layers. Its heads act in the order of their list. This order
    must be one that `NTMConfig.order` can express, such as that of `EncapsulatedNTM`:
    read, write, read, write, ...

    Args:
      state_dict: the state dict of an `EncapsulatedNTM`. It contains the memory under
        several names, of which one is enough.
      dtype: dtype of the parameters, and so of all computations with them.

    Returns:
      The config, and parameters for `ntm_jax.step`, `unroll` and the cells.
      `params["initial"]` is the state before the first step: `memory` `[N, M]`, `reads`
      `[R, M]` and `carry`, the carry of `ntm_jax.lstm`, which is c and h `[H]` for each
      layer.

    Raises:
      TypeError: if an entry is not an array of floats. The message names the entry.
      ValueError: if an entry is unknown, missing, not finite or of a wrong shape, or if
        the order of the heads is not supported.

    >>> def linear(name, inputs, outputs):
    ...     return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}
    >>> slots, width, units, lstm = 8, 2, 5, "ntm.controller.lstm"
    >>> shapes = {
    ...     "ntm.memory.mem_bias": (slots, width),
    ...     "ntm.read0_bias": (1, width),
    ...     f"{lstm}_h_bias": (1, 1, units),
    ...     f"{lstm}_c_bias": (1, 1, units),
    ...     f"{lstm}.weight_ih_l0": (4 * units, 4 + width),
    ...     f"{lstm}.weight_hh_l0": (4 * units, units),
    ...     f"{lstm}.bias_ih_l0": (4 * units,),
    ...     f"{lstm}.bias_hh_l0": (4 * units,),
    ...     **linear("ntm.heads.0.fc_read", units, width + 6),
    ...     **linear("ntm.heads.1.fc_write", units, 3 * width + 6),
    ...     **linear("ntm.fc", units + width, 3),
    ... }
    >>> state_dict = {name: np.zeros(shape) for name, shape in shapes.items()}
    >>> config, params = from_pytorch_ntm(state_dict)
    >>> config.num_slots, config.order, params["initial"]["reads"].shape
    (8, 'read_first', (1, 2))
    """
    arrays = state_dicts.with_one_name(
        state_dicts.as_arrays(state_dict, dtype), _MEMORY, _NAMES_OF_MEMORY
    )
    known = state_dicts.shapes_of(arrays, _AXES)
    machine = _machine_of(arrays, known)
    state_dicts.check_entries(arrays, _entries(machine), known)
    config, params = _config(machine), _params(arrays, machine)
    return config, jax.tree.map(jnp.asarray, params)


class _Machine(NamedTuple):
    """The sizes of a machine, and the names of its heads' layers."""

    num_slots: int
    slot_size: int
    units: int
    num_layers: int
    lstm_inputs: int
    outputs: int
    heads: list[str]

    @property
    def read_heads(self) -> list[str]:
        return [name for name in self.heads if name.endswith("fc_read")]

    @property
    def write_heads(self) -> list[str]:
        return [name for name in self.heads if name.endswith("fc_write")]

    @property
    def initial_reads(self) -> list[str]:
        return [f"ntm.read{i}_bias" for i in range(len(self.read_heads))]


def _machine_of(arrays: Arrays, known: Shapes) -> _Machine:
    """The machine that the names and the shapes of `_AXES` describe."""
    (num_slots, slot_size), (_, _, units), (outputs, _), (_, inputs) = known.values()
    return _Machine(
        num_slots=num_slots,
        slot_size=slot_size,
        units=units,
        num_layers=_count(arrays, re.escape(_LSTM) + r"\.\w+_l(\d+)"),
        lstm_inputs=inputs,
        outputs=outputs,
        heads=_head_names(arrays),
    )


def _entries(machine: _Machine) -> Shapes:
    """Names and shapes of all entries of such a machine."""
    m, units, num_layers = machine.slot_size, machine.units, machine.num_layers
    read_width = len(machine.read_heads) * m
    shapes: Shapes = {
        _MEMORY: (machine.num_slots, m),
        f"{_LSTM}_h_bias": (num_layers, 1, units),
        f"{_LSTM}_c_bias": (num_layers, 1, units),
        **state_dicts.lstm_shapes(
            _LSTM, num_layers, machine.lstm_inputs, read_width, units
        ),
        **state_dicts.linear_shapes(_OUTPUT, units + read_width, machine.outputs),
    }
    for name in machine.read_heads:
        shapes |= state_dicts.linear_shapes(name, units, heads.addressing_size(m, 1))
    for name in machine.write_heads:
        shapes |= state_dicts.linear_shapes(name, units, heads.writing_size(m, 1))
    return shapes | dict.fromkeys(machine.initial_reads, (1, m))


def _config(machine: _Machine) -> NTMConfig:
    return NTMConfig(
        output_size=machine.outputs,
        num_slots=machine.num_slots,
        slot_size=machine.slot_size,
        num_read_heads=len(machine.read_heads),
        num_write_heads=len(machine.write_heads),
        controller=lstm(machine.units, machine.num_layers),
        order=_order(machine.heads),
        initial_weighting="none",
        **state_dicts.COMMON_FIELDS,
    )


def _params(arrays: Arrays, machine: _Machine) -> Params:
    def converted(names: list[str]) -> Params:
        layers = [state_dicts.linear(arrays, name) for name in names]
        return state_dicts.heads(layers, machine.slot_size)

    return {
        "controller": state_dicts.lstm(arrays, _LSTM, machine.num_layers),
        "read_heads": converted(machine.read_heads),
        "write_heads": converted(machine.write_heads),
        "output": state_dicts.linear(arrays, _OUTPUT),
        "initial": {
            "memory": arrays[_MEMORY],
            "reads": np.concatenate([arrays[name] for name in machine.initial_reads]),
            "carry": state_dicts.carry(
                arrays[f"{_LSTM}_c_bias"], arrays[f"{_LSTM}_h_bias"]
            ),
        },
    }


def _count(arrays: Arrays, pattern: str) -> int:
    """How many different numbers the pattern's group has in the names."""
    found = [re.fullmatch(pattern, name) for name in arrays]
    return len({match[1] for match in found if match})


def _head_names(arrays: Arrays) -> list[str]:
    """The names of the heads' layers, in the order of the list of heads."""
    names = []
    for i in range(_count(arrays, r"ntm\.heads\.(\d+)\.fc_\w+\.\w+")):
        write = f"ntm.heads.{i}.fc_write"
        is_write = any(name.startswith(write) for name in arrays)
        names.append(write if is_write else f"ntm.heads.{i}.fc_read")
    return names


def _order(names: list[str]) -> Order:
    """The `NTMConfig.order` in which each head sees what the heads before it wrote.

    Raises:
      ValueError: if there is no such order.
    """
    kinds = ["write" if name.endswith("fc_write") else "read" for name in names]
    reads, writes = kinds.count("read"), kinds.count("write")
    # "read_first" and "write_first" fit one write head only. Of several, each would
    # have to see what the ones before it wrote.
    if kinds == ["read"] * reads + ["write"]:
        return "read_first"
    if kinds == ["write"] + ["read"] * reads:
        return "write_first"
    pairs = min(reads, writes)
    rest = ["read"] * (reads - pairs) + ["write"] * (writes - pairs)
    if pairs and kinds == ["read", "write"] * pairs + rest:
        return "interleaved"
    raise ValueError(
        f"state_dict: got the heads {', '.join(kinds) or 'none'}, want alternating "
        "heads (read, write, read, ...), or one write head before or after all read "
        "heads"
    )
