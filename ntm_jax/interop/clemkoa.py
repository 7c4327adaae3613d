"""Conversion of the state dicts of clemkoa/ntm."""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from ntm_jax.checks import check_choice
from ntm_jax.config import NTMConfig
from ntm_jax.controllers import lstm
from ntm_jax.interop import state_dicts
from ntm_jax.interop.state_dicts import Arrays, Params, Shapes

ClemkoaRevision = Literal["f6da298", "723d4eb"]

_MEMORY, _READ = "memory.initial_state", "memory.initial_read"
_LSTM, _CARRY = "controller._controller.layer", "controller._controller.lstm"
_OUTPUT = "fc"
# The entries whose shapes determine all sizes.
_AXES = {
    _MEMORY: "N M",
    f"{_CARRY}_h_state": "1 1 H",
    f"{_OUTPUT}.weight": "outputs H+M",
    f"{_LSTM}.weight_ih_l0": "4H inputs+M",
}
# The layers of each head, in the order in which our heads emit their values.
_ADDRESSING = ("k", "beta", "g", "s", "gamma")
_WRITING = ("e", "a")
_HEADS = {"read_head": _ADDRESSING, "write_head": _ADDRESSING + _WRITING}


def from_clemkoa(
    state_dict: Mapping[str, Any],
    *,
    revision: ClemkoaRevision = "f6da298",
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> tuple[NTMConfig, Params]:
    """The config and parameters of a state dict of clemkoa/ntm.

    Args:
      state_dict: the state dict of an `NTM`, whose controller is an LSTM. It contains
        the memory under several names, of which one is enough.
      revision: the revision to reproduce. `"f6da298"` (2020): both heads start from the
        previous weighting of the read head. The models in that repository were trained
        with this revision. `"723d4eb"` (2021, the last revision): each head starts from
        its own previous weighting. The models in that repository do not work with it.
      dtype: dtype of the parameters, and so of all computations with them.

    Returns:
      The config, and parameters for `ntm_jax.step`, `unroll` and the cells.
      `params["initial"]` is the state before the first step: `memory` `[N, M]`, `reads`
      `[1, M]`, `read_focus` and `write_focus` `[1, N]`, and `carry`, the carry of
      `ntm_jax.lstm`, which is c and h `[H]`. A softmax makes the initial weightings
      from `read_focus` and `write_focus`.

    Raises:
      TypeError: if an entry is not an array of floats. The message names the entry.
      ValueError: if an entry is unknown, missing, not finite or of a wrong shape, or if
        the revision is unknown.
    """
    check_choice("revision", revision, get_args(ClemkoaRevision))
    arrays = state_dicts.as_arrays(state_dict, dtype)
    for name in (_MEMORY, _READ):
        # The memory is a submodule of the machine and of both heads.
        pattern = r"((read|write)_head\.)?" + re.escape(name)
        arrays = state_dicts.with_one_name(arrays, name, pattern)
    known = state_dicts.shapes_of(arrays, _AXES)
    machine = _machine_of(known)
    state_dicts.check_entries(arrays, _entries(machine), known)
    config, params = _config(machine, revision), _params(arrays, machine)
    return config, jax.tree.map(jnp.asarray, params)


class _Machine(NamedTuple):
    """The sizes of a machine."""

    num_slots: int
    slot_size: int
    units: int
    lstm_inputs: int
    outputs: int


def _machine_of(known: Shapes) -> _Machine:
    """The machine that the shapes of `_AXES` describe."""
    (num_slots, slot_size), (_, _, units), (outputs, _), (_, inputs) = known.values()
    return _Machine(
        num_slots=num_slots,
        slot_size=slot_size,
        units=units,
        lstm_inputs=inputs,
        outputs=outputs,
    )


def _entries(machine: _Machine) -> Shapes:
    """Names and shapes of all entries of such a machine."""
    m, units = machine.slot_size, machine.units
    shapes: Shapes = {
        f"{_CARRY}_h_state": (1, 1, units),
        f"{_CARRY}_c_state": (1, 1, units),
        **state_dicts.lstm_shapes(_LSTM, 1, machine.lstm_inputs, m, units),
        **state_dicts.linear_shapes(_OUTPUT, units + m, machine.outputs),
        _READ: (1, m),
        _MEMORY: (machine.num_slots, m),
    }
    emitted = {"k": m, "beta": 1, "g": 1, "s": 3, "gamma": 1, "e": m, "a": m}
    for head, layers in _HEADS.items():
        shapes[f"{head}._initial_state"] = (1, machine.num_slots)
        for layer in layers:
            shapes |= state_dicts.linear_shapes(
                f"{head}.{layer}_layer", units, emitted[layer]
            )
    return shapes


def _config(machine: _Machine, revision: ClemkoaRevision) -> NTMConfig:
    return NTMConfig(
        output_size=machine.outputs,
        num_slots=machine.num_slots,
        slot_size=machine.slot_size,
        controller=lstm(machine.units),
        order="read_first",
        previous_weighting="read" if revision == "f6da298" else "own",
        initial_weighting="learned",
        **state_dicts.COMMON_FIELDS,
    )


def _params(arrays: Arrays, machine: _Machine) -> Params:
    def head(name: str) -> Params:
        """One affine map, made by joining a head's layers."""
        layers = [
            state_dicts.linear(arrays, f"{name}.{layer}_layer")
            for layer in _HEADS[name]
        ]
        joined = jax.tree.map(lambda *parts: np.concatenate(parts, axis=-1), *layers)
        return state_dicts.heads([joined], machine.slot_size)

    return {
        "controller": state_dicts.lstm(arrays, _LSTM, 1),
        "read_heads": head("read_head"),
        "write_heads": head("write_head"),
        "output": state_dicts.linear(arrays, _OUTPUT),
        "initial": {
            "memory": arrays[_MEMORY],
            "read_focus": arrays["read_head._initial_state"],
            "write_focus": arrays["write_head._initial_state"],
            "reads": arrays[_READ],
            "carry": state_dicts.carry(
                arrays[f"{_CARRY}_c_state"], arrays[f"{_CARRY}_h_state"]
            ),
        },
    }
