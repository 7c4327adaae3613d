"""What PyTorch keeps of a model: named arrays, checked, and its layers as ours."""

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ntm_jax.checks import check_dtype, check_float_array

Params = dict[str, Any]
Arrays = dict[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]


def as_arrays(state_dict: Any, dtype: Any) -> Arrays:
    """The entries as arrays of that dtype.

    Raises:
      TypeError, ValueError: for one that is not of floats, or not finite, by its name.
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
            array = np.asarray(value)
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


def with_one_name(arrays: Arrays, name: str, pattern: str) -> Arrays:
    """The entries, but for those that match: of these one, which gets that name.

    A module that several others share is in a state dict once for each of them.

    Raises:
      ValueError: if there are other numbers in them, by their names.
    """
    first, *others = [known for known in arrays if re.fullmatch(pattern, known)] or [""]
    if not first:
        return arrays
    for other in others:
        if not np.array_equal(arrays[other], arrays[first]):
            raise ValueError(f"{other}: got other numbers than in {first!r}")
    rest = {known: arrays[known] for known in arrays if known not in (first, *others)}
    return {name: arrays[first], **rest}


def shapes_of(arrays: Arrays, axes: dict[str, str]) -> Shapes:
    """The shapes of some entries, which say how large all are.

    Raises:
      ValueError: for one that is missing, or has other axes than these, by its name.
    """
    for name, letters in axes.items():
        if name not in arrays:
            raise ValueError(f"state_dict: got no {name!r}")
        if arrays[name].ndim != len(letters.split()):
            raise ValueError(
                f"{name}: got shape {list(arrays[name].shape)}, want "
                f"[{', '.join(letters.split())}]"
            )
    return {name: arrays[name].shape for name in axes}


def check_entries(arrays: Arrays, wanted: Shapes, sizes: Shapes) -> None:
    """Raises a `ValueError` unless names and shapes are those that are `wanted`.

    Args:
      arrays: all entries.
      wanted: their shapes.
      sizes: the shapes that the wanted ones were made of: one of these may be wrong.
    """
    for name in wanted:
        if name not in arrays:
            raise ValueError(f"state_dict: got no {name!r}")
    for name in arrays:
        if name not in wanted:
            raise ValueError(f"state_dict: got an unknown entry {name!r}")
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            others = ", ".join(
                f"{other} {list(size)}"
                for other, size in sizes.items()
                if other != name
            )
            raise ValueError(
                f"{name}: got shape {list(arrays[name].shape)}, want {list(shape)} "
                f"beside {others}"
            )


def linear_shapes(name: str, inputs: int, outputs: int) -> Shapes:
    """The entries of an `nn.Linear`."""
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def lstm_shapes(
    name: str, num_layers: int, width: int, read_width: int, units: int
) -> Shapes:
    """The entries of an `nn.LSTM` whose input is so wide.

    Raises:
      ValueError: unless there is more in it than `read_width`, what was read before.
    """
    if width <= read_width:
        raise ValueError(
            f"{name}.weight_ih_l0: got {width} columns, want more than {read_width}, "
            "those for what the heads read"
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
    """The parameters of a dense layer of Flax."""
    return {"kernel": arrays[f"{name}.weight"].T, "bias": arrays[f"{name}.bias"]}


def lstm(arrays: Arrays, name: str, num_layers: int) -> Params:
    """The parameters of `ntm_jax.lstm`."""
    cells = []
    for layer in range(num_layers):
        from_input = np.split(arrays[f"{name}.weight_ih_l{layer}"], 4)
        from_hidden = np.split(arrays[f"{name}.weight_hh_l{layer}"], 4)
        # Theirs has a bias twice, ours once.
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
    """The carry of `ntm_jax.lstm` of what PyTorch has as `[layers, 1, H]` each."""
    layers = tuple(zip(c[:, 0], h[:, 0]))
    return layers[0] if len(layers) == 1 else layers
