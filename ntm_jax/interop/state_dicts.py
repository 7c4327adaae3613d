"""What both codes share: checks of a state dict, and the conversion of its layers."""

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntm_jax.checks import check_dtype, check_float_array

Params = dict[str, Any]
Arrays = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]

# The fields of `NTMConfig` that are the same for both codes.
COMMON_FIELDS: dict[str, Any] = {
    "shift_range": 1,
    "key_activation": "identity",
    "add_activation": "identity",
    "initial_memory": "learned",
    "initial_read": "learned",
    "initial_carry": "learned",
}


def as_arrays(state_dict: Any, dtype: Any) -> Arrays:
    """The entries of a state dict as NumPy arrays of the given dtype.

    Raises:
      TypeError: if an entry is not an array of floats. The message names the entry.
      ValueError: if an entry is not finite in this dtype.
    """
    check_dtype("dtype", dtype)
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"state_dict: got {type(state_dict).__name__}, want a mapping of names to "
            "arrays"
        )
    arrays = {}
    for name, value in state_dict.items():
        if not isinstance(name, str):
            raise TypeError(f"state_dict: got the name {name!r}, want a string")
        try:
            array = as_array(value)
        except (RuntimeError, TypeError, ValueError) as error:
            raise TypeError(
                f"{name}: got {type(value).__name__}, want an array of floats: {error}"
            ) from None
        check_float_array(name, array)
        with np.errstate(over="ignore"):
            arrays[name] = array.astype(dtype)
        if not np.isfinite(arrays[name]).all():
            raise ValueError(
                f"{name}: got numbers that are not finite in {jnp.dtype(dtype)}"
            )
    return arrays


def as_array(value: Any) -> np.ndarray:
    """A NumPy array of an entry, also of bfloat16, which NumPy itself lacks.

    >>> as_array(np.asarray(jnp.ones(1, jnp.bfloat16)).view("V2")).dtype.name
    'bfloat16'
    """
    if str(getattr(value, "dtype", "")) == "torch.bfloat16":
        value = value.float()  # every bfloat16 is a float32
    array = np.asarray(value)
    # What `numpy.savez` keeps of bfloat16: the bytes, without the name.
    return array.view(jnp.bfloat16) if array.dtype == np.dtype("V2") else array


def with_one_name(arrays: Arrays, name: str, pattern: str) -> Arrays:
    """Replaces all entries that match the pattern by one with the given name.

    A state dict contains a shared module once for each module that has it.

    Raises:
      ValueError: if these entries are not equal. The message names two of them.
    """
    first, *others = [known for known in arrays if re.fullmatch(pattern, known)] or [""]
    if not first:
        return arrays
    for other in others:
        if not np.array_equal(arrays[other], arrays[first]):
            raise ValueError(
                f"{other}: got other numbers than in {first!r}, want the same, because "
                "both are names of one array"
            )
    rest = {known: arrays[known] for known in arrays if known not in (first, *others)}
    return {name: arrays[first], **rest}


def shapes_of(arrays: Arrays, axes: dict[str, str]) -> Shapes:
    """The shapes of the entries that determine all sizes.

    Args:
      arrays: all entries.
      axes: the names of these entries and of their axes.

    Raises:
      ValueError: if one is missing or has another number of axes. The message names it.
    """
    for name, letters in axes.items():
        if name not in arrays:
            raise _missing(name)
        if arrays[name].ndim != len(letters.split()):
            raise ValueError(
                f"{name}: got shape {list(arrays[name].shape)}, want "
                f"[{', '.join(letters.split())}]"
            )
    return {name: arrays[name].shape for name in axes}


def check_entries(arrays: Arrays, wanted: Shapes, sizes: Shapes) -> None:
    """Raises a `ValueError` unless names and shapes are as wanted.

    Args:
      arrays: all entries.
      wanted: the wanted shape of each entry.
      sizes: the shapes from which the wanted shapes were derived. The message contains
        them, because one of them may be the wrong one.
    """
    for name in wanted:
        if name not in arrays:
            raise _missing(name)
    for name in arrays:
        if name not in wanted:
            raise ValueError(
                f"state_dict: got an unknown entry {name!r}, want only those of the "
                "memory, the LSTM, the heads and the output layer"
            )
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            others = ", ".join(
                f"{other} {list(size)}"
                for other, size in sizes.items()
                if other != name
            )
            raise ValueError(
                f"{name}: got shape {list(arrays[name].shape)}, want {list(shape)} "
                f"to fit {others}"
            )


def _missing(name: str) -> ValueError:
    return ValueError(f"state_dict: got no {name!r}, want an entry of that name")


def linear_shapes(name: str, inputs: int, outputs: int) -> Shapes:
    """Names and shapes of the entries of an `nn.Linear`."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def lstm_shapes(
    name: str, num_layers: int, width: int, read_width: int, units: int
) -> Shapes:
    """Names and shapes of the entries of an `nn.LSTM`.

    Args:
      name: name of the module.
      num_layers: number of layers.
      width: width of the LSTM's input, which joins the machine's input and the reads.
      read_width: width of all reads together.
      units: number of units in each layer.

    Raises:
      ValueError: if no width is left for the machine's input.
    """
    if width <= read_width:
        raise ValueError(
            f"{name}.weight_ih_l0: got {width} columns, want more than {read_width}: "
            f"{read_width} for the reads, and at least one for the machine's input"
        )
    shapes: Shapes = {}
    for layer in range(num_layers):
        inputs = units if layer else width
        shapes[f"{name}.weight_ih_l{layer}"] = (4 * units, inputs)
        shapes[f"{name}.weight_hh_l{layer}"] = (4 * units, units)
        shapes[f"{name}.bias_ih_l{layer}"] = (4 * units,)
        shapes[f"{name}.bias_hh_l{layer}"] = (4 * units,)
    return shapes


def linear(arrays: Arrays, name: str) -> Params:
    """An `nn.Linear` as the parameters of a dense layer of Flax."""
    return {"kernel": arrays[f"{name}.weight"].T, "bias": arrays[f"{name}.bias"]}


def lstm(arrays: Arrays, name: str, num_layers: int) -> Params:
    """An `nn.LSTM` as the parameters of `ntm_jax.lstm`."""
    cells = []
    for layer in range(num_layers):
        from_input = np.split(arrays[f"{name}.weight_ih_l{layer}"], 4)
        from_hidden = np.split(arrays[f"{name}.weight_hh_l{layer}"], 4)
        # PyTorch has two biases for each gate, and Flax has one.
        both = arrays[f"{name}.bias_ih_l{layer}"] + arrays[f"{name}.bias_hh_l{layer}"]
        cell = {}
        for gate, i, h, bias in zip("ifgo", from_input, from_hidden, np.split(both, 4)):
            cell[f"i{gate}"] = {"kernel": i.T}
            cell[f"h{gate}"] = {"kernel": h.T, "bias": bias}
        cells.append(cell)
    if num_layers == 1:
        return cells[0]
    return {f"cells_{layer}": cell for layer, cell in enumerate(cells)}


def carry(c: np.ndarray, h: np.ndarray) -> tuple[Any, ...]:
    """The carry of `ntm_jax.lstm` from c and h of an `nn.LSTM`, `[layers, 1, H]`."""
    layers = tuple(zip(c[:, 0], h[:, 0]))
    return layers[0] if len(layers) == 1 else layers


def heads(layers: list[Params], slot_size: int) -> Params:
    """The parameters of heads, from one linear layer for each head.

    In both codes the shift is a correlation, and here it is a convolution. Their first
    shift of three moves a weighting to the next higher slot, as our last one does. The
    function therefore reverses the order of the shifts.
    """
    size = len(layers[0]["bias"])
    order = np.arange(size)
    order[slot_size + 2 : slot_size + 5] = order[slot_size + 2 : slot_size + 5][::-1]
    return {
        "kernel": np.stack([layer["kernel"] for layer in layers], axis=1)[..., order],
        "bias": np.stack([layer["bias"] for layer in layers])[:, order],
    }
