"""What may sit in the middle: the network that reads the input and moves the heads.

A controller is a `flax.linen` module of one of two kinds:

* recurrent, an `nn.RNNCellBase`: `carry, hidden = cell(carry, inputs)`;
* stateless, any other module: `hidden = module(inputs)`.

The shape of a carry must not depend on the width of the input.

`lstm`, `gru` and `feed_forward` build the common ones; any other cell or module of Flax
or of your own goes into `NTMConfig(controller=...)` as it is. All have leading batch
axes. Two modules that compare equal share one compilation.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import errors
from flax.linen import initializers
from jax import Array

from ntm_jax.checks import check_count, check_positive

PyTree = Any


def lstm(
    units: int = 100, num_layers: int = 1, *, input_scale: float = 4.0
) -> nn.RNNCellBase:
    """LSTM; its output is that of the top layer.

    A cell that has just seen its first input puts out little else than zeros, from
    which heads cannot tell one step from another; wide input kernels make it as loud as
    a dense layer is.

    >>> lstm(64).features
    64

    Args:
      units: cells in each layer.
      num_layers: of them.
      input_scale: of the initial input kernels of every layer, times LeCun-normal.

    Raises:
      TypeError, ValueError: for arguments that are not positive, by their names.
    """
    return _stack(nn.OptimizedLSTMCell, units, num_layers, input_scale)


def gru(
    units: int = 100, num_layers: int = 1, *, input_scale: float = 4.0
) -> nn.RNNCellBase:
    """GRU; its output is that of the top layer.

    >>> len(gru(64, num_layers=2).cells)
    2

    Args:
      units: cells in each layer.
      num_layers: of them.
      input_scale: of the initial input kernels of every layer, times LeCun-normal.

    Raises:
      TypeError, ValueError: for arguments that are not positive, by their names.
    """
    return _stack(nn.GRUCell, units, num_layers, input_scale)


def feed_forward(
    units: int = 100,
    num_layers: int = 1,
    activation: Callable[[Array], Array] = nn.tanh,
    *,
    input_scale: float = 2.0,
) -> nn.Module:
    """Dense layers, each followed by the activation.

    >>> feed_forward(64, num_layers=2, activation=nn.relu).units
    (64, 64)

    Args:
      units: in each layer.
      num_layers: of them.
      activation: function of arrays, elementwise.
      input_scale: of the initial kernels, times LeCun-normal.

    Raises:
      TypeError, ValueError: for numbers that are not positive, or an activation that is
        no function, by their names.
    """
    check_count("units", units)
    check_count("num_layers", num_layers)
    if not callable(activation):
        raise TypeError(f"activation: got {activation!r}, want a function")
    check_positive("input_scale", input_scale)
    return FeedForward((units,) * num_layers, activation, input_scale)


class Stack(nn.RNNCellBase):
    """Recurrent cells on top of each other; the carry is the tuple of their carries."""

    cells: Sequence[nn.RNNCellBase]

    def __call__(self, carry: PyTree, inputs: Array) -> tuple[PyTree, Array]:
        """One step: each cell's output is the next one's input."""
        new_carry = []
        for cell, cell_carry in zip(self.cells, carry, strict=True):
            cell_carry, inputs = cell(cell_carry, inputs)
            new_carry.append(cell_carry)
        return tuple(new_carry), inputs

    @nn.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> PyTree:
        """The cells' own initial carries."""
        rngs = jax.random.split(rng, len(self.cells))
        return tuple(
            cell.initialize_carry(rng, input_shape)
            for cell, rng in zip(self.cells, rngs)
        )

    @property
    def num_feature_axes(self) -> int:
        """One: vectors in, vectors out."""
        return 1


class FeedForward(nn.Module):
    """Dense layers of the given numbers of units, each followed by the activation."""

    units: Sequence[int]
    activation: Callable[[Array], Array]
    input_scale: float

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """`[..., I]` to `[..., units[-1]]`."""
        for units in self.units:
            dense = nn.Dense(units, kernel_init=_scaled(self.input_scale))
            inputs = self.activation(dense(inputs))
        return inputs


def is_recurrent(controller: nn.Module) -> bool:
    """Whether the controller keeps a carry of its own from step to step."""
    return isinstance(controller, nn.RNNCellBase)


def init(key: Array, controller: nn.Module, input_size: int) -> tuple[dict, int]:
    """The controller's parameters and the width H of its output.

    Raises:
      ValueError: if the module keeps other variables than parameters, such as batch
        statistics, or its output is not one vector.
    """
    inputs = jnp.zeros((input_size,), jnp.float32)

    def apply(key):
        carry = initial_carry(controller, input_size, ())
        arguments = (carry, inputs) if is_recurrent(controller) else (inputs,)
        output, variables = controller.init_with_output(key, *arguments)
        return (output[1] if is_recurrent(controller) else output), variables

    output, variables = jax.jit(apply)(key)
    if set(variables) - {"params"}:
        raise ValueError(
            f"controller: got a module with the variables {sorted(variables)}, "
            "want one with nothing but params"
        )
    if not isinstance(output, Array) or output.ndim != 1:
        kind, shape = type(output).__name__, list(getattr(output, "shape", ()))
        raise ValueError(
            f"controller: got an output of type {kind}, shape {shape}, for one input "
            "vector, want one vector"
        )
    return variables.get("params", {}), output.shape[-1]


def initial_carry(
    controller: nn.Module, input_size: int, batch_shape: tuple[int, ...]
) -> PyTree:
    """The carry that the cell itself starts from; `()` for a stateless module."""
    if not isinstance(controller, nn.RNNCellBase):
        return ()
    # Cells of Flax start from zeros; one that draws its carry draws the same always.
    return controller.initialize_carry(jax.random.key(0), (*batch_shape, input_size))


def apply(
    controller: nn.Module, params: dict, carry: PyTree, inputs: Array
) -> tuple[PyTree, Array]:
    """One step of the controller: the new carry and its output `[..., H]`.

    They have the dtypes of the inputs and of the carry, whatever dtype the module
    computes in.
    """
    arguments = (carry, inputs) if is_recurrent(controller) else (inputs,)
    result: Any = controller.apply({"params": params}, *arguments)
    new_carry, output = result if is_recurrent(controller) else (carry, result)
    new_carry = jax.tree.map(lambda new, old: new.astype(old.dtype), new_carry, carry)
    return new_carry, output.astype(inputs.dtype)


def fitting_input_size(
    controller: nn.Module, params: dict, carry: PyTree, inputs: Array
) -> int | None:
    """The input width that `params` were made for, if `inputs` do not fit them.

    Found by trying the sizes that occur in `params`, as a module does not tell.
    """
    sizes = {size for leaf in jax.tree.leaves(params) for size in leaf.shape}
    for size in sorted(sizes - {0}):
        resized = jax.ShapeDtypeStruct((*inputs.shape[:-1], size), inputs.dtype)
        try:
            jax.eval_shape(
                lambda p, c, x: apply(controller, p, c, x), params, carry, resized
            )
        except (errors.FlaxError, TypeError, ValueError):
            continue
        return size
    return None


def _stack(
    cell: Callable[..., nn.RNNCellBase],
    units: int,
    num_layers: int,
    input_scale: float,
) -> nn.RNNCellBase:
    check_count("units", units)
    check_count("num_layers", num_layers)
    check_positive("input_scale", input_scale)
    # Where this is called within a module of Flax, they are not to be parts of it.
    cells = tuple(
        cell(units, kernel_init=_scaled(input_scale), parent=None)
        for _ in range(num_layers)
    )
    return cells[0] if num_layers == 1 else Stack(cells, parent=None)


@functools.cache
def _scaled(scale: float) -> Callable[..., Array]:
    """LeCun-normal, `scale` times as wide; one function for one scale, to be hashed."""
    lecun_normal = initializers.lecun_normal()

    def init(*arguments: Any, **named: Any) -> Array:
        return scale * lecun_normal(*arguments, **named)

    return init
