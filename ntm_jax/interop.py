"""Machines trained with PyTorch: state dicts of two other codes, as ours.

>>> import numpy as np
>>> from ntm_jax import interop
>>> interop.from_clemkoa({"fc.bias": np.zeros(8)})
Traceback (most recent call last):
    ...
ValueError: state_dict: got no 'memory.initial_state'

A state dict maps names to arrays: of NumPy, of JAX or, on a CPU, of PyTorch itself,
which is not needed here. What comes of it is a config and parameters for `ntm_jax` that
give the same outputs, before the sigmoid that the others apply. What these keep fixed
of the state before the first step is a parameter too: to keep it so in training, leave
that entry of `params["initial"]` out of the updates.

One thing differs: they add 1e-16 to the sum that a sharpened weighting is divided by.
Where that sum is as small, their weighting sums to less than 1, and ours to 1: for a
focus that is spread evenly over 128 slots from γ = 8 on.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ntm_jax import heads, pytorch
from ntm_jax.checks import check_choice
from ntm_jax.config import NTMConfig, Order
from ntm_jax.controllers import lstm
from ntm_jax.pytorch import Arrays, Params, Shapes

ClemkoaRevision = Literal["f6da298", "723d4eb"]

# Both have three shifts, neither an activation on key and add vector.
_COMMON: dict[str, Any] = {
    "shift_range": 1,
    "key_activation": "identity",
    "add_activation": "identity",
    "initial_memory": "learned",
    "initial_read": "learned",
    "initial_carry": "learned",
}
# The layers of a head of clemkoa's, in the order in which ours has their outputs.
_ADDRESSING = ("k", "beta", "g", "s", "gamma")
_WRITING = ("e", "a")


def from_pytorch_ntm(
    state_dict: Mapping[str, Any], *, dtype: jax.typing.DTypeLike = jnp.float32
) -> tuple[NTMConfig, Params]:
    """The machine of a state dict of loudinthecloud/pytorch-ntm.

    What is reproduced is the code of its last revision, 3c64937 (2018), with any number
    of LSTM layers and of heads. Its heads act in the order of their list; those lists
    are known that `order` of `NTMConfig` has a name for, that of `EncapsulatedNTM`
    (read, write, read, write, ...) among them.

    Args:
      state_dict: of an `EncapsulatedNTM`. The memory may be there under any of its
        names, or all.
      dtype: of the parameters, and so of all that is computed with them.

    Returns:
      The config, and parameters for `ntm_jax.step`, `unroll` and the cells. Of these,
      `params["initial"]` is the state before the first step: `memory` `[N, M]`, `reads`
      `[R, M]` and `carry`, that of `ntm_jax.lstm`: c and h `[H]`, of each layer.

    Raises:
      TypeError, ValueError: for an entry that is unknown, missing, of another shape,
        not of floats or not finite, by its name, and for a list of other heads.

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
    memory = "ntm.memory.mem_bias"
    arrays = pytorch.with_one_name(
        pytorch.as_arrays(state_dict, dtype),
        memory,
        r"(ntm\.(heads\.\d+\.)?)?memory\.mem_bias",
    )
    lstm_name = "ntm.controller.lstm"
    sizes = pytorch.shapes_of(
        arrays,
        {
            memory: "N M",
            f"{lstm_name}_h_bias": "layers 1 H",
            "ntm.fc.weight": "outputs H+RM",
            f"{lstm_name}.weight_ih_l0": "4H inputs+RM",
        },
    )
    (num_slots, m), (_, _, units), (outputs, _), (_, width) = sizes.values()
    num_layers = _count(arrays, r"ntm\.controller\.lstm\.\w+_l(\d+)")
    names = _head_names(arrays)
    reads = [name for name in names if name.endswith("fc_read")]
    writes = [name for name in names if name.endswith("fc_write")]

    read_width = len(reads) * m
    wanted: Shapes = {
        memory: (num_slots, m),
        f"{lstm_name}_h_bias": (num_layers, 1, units),
        f"{lstm_name}_c_bias": (num_layers, 1, units),
        **pytorch.lstm_shapes(lstm_name, num_layers, width, read_width, units),
        **pytorch.linear_shapes("ntm.fc", units + read_width, outputs),
    }
    for name in reads:
        wanted |= pytorch.linear_shapes(name, units, heads.addressing_size(m, 1))
    for name in writes:
        wanted |= pytorch.linear_shapes(name, units, heads.writing_size(m, 1))
    initial_reads = [f"ntm.read{i}_bias" for i in range(len(reads))]
    wanted |= dict.fromkeys(initial_reads, (1, m))
    pytorch.check_entries(arrays, wanted, sizes)

    config = NTMConfig(
        output_size=outputs,
        num_slots=num_slots,
        slot_size=m,
        num_read_heads=len(reads),
        num_write_heads=len(writes),
        controller=lstm(units, num_layers),
        order=_order(names),
        initial_weighting="none",
        **_COMMON,
    )
    params = {
        "controller": pytorch.lstm(arrays, lstm_name, num_layers),
        "read_heads": _heads([pytorch.linear(arrays, name) for name in reads], m),
        "write_heads": _heads([pytorch.linear(arrays, name) for name in writes], m),
        "output": pytorch.linear(arrays, "ntm.fc"),
        "initial": {
            "memory": arrays[memory],
            "reads": np.concatenate([arrays[name] for name in initial_reads]),
            "carry": pytorch.carry(
                arrays[f"{lstm_name}_c_bias"], arrays[f"{lstm_name}_h_bias"]
            ),
        },
    }
    return config, jax.tree.map(jnp.asarray, params)


def from_clemkoa(
    state_dict: Mapping[str, Any],
    *,
    revision: ClemkoaRevision = "f6da298",
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> tuple[NTMConfig, Params]:
    """The machine of a state dict of clemkoa/ntm, with its LSTM.

    Args:
      state_dict: of its `NTM`. The memory may be there under any of its names, or all.
      revision: whose behaviour to reproduce. `"f6da298"` (2020) is that in which the
        models were trained that the repository has: both heads go on from the read
        head's last weighting. In `"723d4eb"` (2021), its last, each goes on from its
        own, and those models do not work.
      dtype: of the parameters, and so of all that is computed with them.

    Returns:
      The config, and parameters for `ntm_jax.step`, `unroll` and the cells. Of these,
      `params["initial"]` is the state before the first step: `memory` `[N, M]`, `reads`
      `[1, M]`, `read_focus` and `write_focus` `[1, N]`, to go through a softmax, and
      `carry`, that of `ntm_jax.lstm`: c and h `[H]`.

    Raises:
      TypeError, ValueError: for an entry that is unknown, missing, of another shape,
        not of floats or not finite, by its name, and for a revision that there is not.
    """
    check_choice("revision", revision, ("f6da298", "723d4eb"))
    arrays = pytorch.as_arrays(state_dict, dtype)
    for name in ("memory.initial_state", "memory.initial_read"):
        pattern = r"((read|write)_head\.)?" + re.escape(name)
        arrays = pytorch.with_one_name(arrays, name, pattern)
    carry_name = "controller._controller.lstm"
    lstm_name = "controller._controller.layer"
    sizes = pytorch.shapes_of(
        arrays,
        {
            "memory.initial_state": "N M",
            f"{carry_name}_h_state": "1 1 H",
            "fc.weight": "outputs H+M",
            f"{lstm_name}.weight_ih_l0": "4H inputs+M",
        },
    )
    (num_slots, m), (_, _, units), (outputs, _), (_, width) = sizes.values()

    emitted = {"k": m, "beta": 1, "g": 1, "s": 3, "gamma": 1, "e": m, "a": m}
    parts = {"read_head": _ADDRESSING, "write_head": _ADDRESSING + _WRITING}
    wanted: Shapes = {
        f"{carry_name}_h_state": (1, 1, units),
        f"{carry_name}_c_state": (1, 1, units),
        **pytorch.lstm_shapes(lstm_name, 1, width, m, units),
        **pytorch.linear_shapes("fc", units + m, outputs),
        "memory.initial_read": (1, m),
        "memory.initial_state": (num_slots, m),
    }
    for head, layers in parts.items():
        wanted[f"{head}._initial_state"] = (1, num_slots)
        for layer in layers:
            wanted |= pytorch.linear_shapes(
                f"{head}.{layer}_layer", units, emitted[layer]
            )
    pytorch.check_entries(arrays, wanted, sizes)

    def side_by_side(*pieces: np.ndarray) -> np.ndarray:
        return np.concatenate(pieces, axis=-1)

    def emitting(head: str) -> Params:
        layers = [
            pytorch.linear(arrays, f"{head}.{layer}_layer") for layer in parts[head]
        ]
        return _heads([jax.tree.map(side_by_side, *layers)], m)

    config = NTMConfig(
        output_size=outputs,
        num_slots=num_slots,
        slot_size=m,
        controller=lstm(units),
        order="read_first",
        previous_weighting="read" if revision == "f6da298" else "own",
        initial_weighting="learned",
        **_COMMON,
    )
    params = {
        "controller": pytorch.lstm(arrays, lstm_name, 1),
        "read_heads": emitting("read_head"),
        "write_heads": emitting("write_head"),
        "output": pytorch.linear(arrays, "fc"),
        "initial": {
            "memory": arrays["memory.initial_state"],
            "read_focus": arrays["read_head._initial_state"],
            "write_focus": arrays["write_head._initial_state"],
            "reads": arrays["memory.initial_read"],
            "carry": pytorch.carry(
                arrays[f"{carry_name}_c_state"], arrays[f"{carry_name}_h_state"]
            ),
        },
    }
    return config, jax.tree.map(jnp.asarray, params)


def _count(arrays: Arrays, pattern: str) -> int:
    """Of how many things there are entries, by the number in their names."""
    found = [re.fullmatch(pattern, name) for name in arrays]
    return len({match[1] for match in found if match})


def _head_names(arrays: Arrays) -> list[str]:
    """The layer of every head of the list, in its order."""
    names = []
    for i in range(_count(arrays, r"ntm\.heads\.(\d+)\.fc_\w+\.\w+")):
        write = f"ntm.heads.{i}.fc_write"
        is_write = any(name.startswith(write) for name in arrays)
        names.append(write if is_write else f"ntm.heads.{i}.fc_read")
    return names


def _order(names: list[str]) -> Order:
    """How we call a list of heads, each of which sees what those before it wrote.

    Raises:
      ValueError: if we have no name for it.
    """
    kinds = ["write" if name.endswith("fc_write") else "read" for name in names]
    reads, writes = kinds.count("read"), kinds.count("write")
    # With one write head there is nothing that write heads could see of each other.
    if kinds == ["read"] * reads + ["write"]:
        return "read_first"
    if kinds == ["write"] + ["read"] * reads:
        return "write_first"
    pairs = min(reads, writes)
    rest = ["read"] * (reads - pairs) + ["write"] * (writes - pairs)
    if pairs and kinds == ["read", "write"] * pairs + rest:
        return "interleaved"
    raise ValueError(
        f"state_dict: got the heads {', '.join(kinds) or 'none'}, want them in turn "
        "(read, write, read, ...), or all that read before or after one that writes"
    )


def _heads(layers: list[Params], slot_size: int) -> Params:
    """The parameters of heads, of one linear layer each.

    Theirs is a correlation with the three shifts, ours a convolution: the first of
    their shifts moves the focus up, and so it is the last of ours.
    """
    size = len(layers[0]["bias"])
    order = np.arange(size)
    order[slot_size + 2 : slot_size + 5] = order[slot_size + 2 : slot_size + 5][::-1]
    return {
        "kernel": np.stack([layer["kernel"] for layer in layers], axis=1)[..., order],
        "bias": np.stack([layer["bias"] for layer in layers])[:, order],
    }
