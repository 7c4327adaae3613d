"""Controllers: the network that reads the input and drives the heads.

A controller is a `flax.linen` module of one of two kinds:

* recurrent, an `nn.RNNCellBase`: `carry, hidden = cell(carry, inputs)`;
* stateless, any other module: `hidden = module(inputs)`.

The shape of a carry must not depend on the width of the input.

`lstm`, `gru` and `feed_forward` build the common controllers. Any other Flax cell or
module, including your own, goes into `NTMConfig(controller=...)` as it is. All of them
accept leading batch axes. Two modules that compare equal share one compilation.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import errors
from flax.linen import initializers
from jax import Array

from ntm_jax import fixed
from ntm_jax.checks import check_count, check_positive

PyTree = Any
# The keys that a controller draws from, under Flax's names, such as "dropout".
Rngs = Mapping[str, Array]


def lstm(
    units: int = 100, num_layers: int = 1, *, input_scale: float = 4.0
) -> nn.RNNCellBase:
    """LSTM controller. Its output is the hidden state of the top layer.

    With LeCun-normal input kernels, the output of an LSTM after its first input is
    close to zero, and the heads cannot distinguish one step from another. Larger input
    kernels (`input_scale`) give outputs as large as those of a dense layer.

    >>> lstm(64).features
    64

    Args:
      units: number of units in each layer.
      num_layers: number of layers.
      input_scale: multiplies the LeCun-normal initialisation of the input kernels in
        every layer.

    Raises:
      TypeError, ValueError: if an argument is not a positive number. The message names
        the argument.
    """
    return _stack(nn.OptimizedLSTMCell, units, num_layers, input_scale)


def gru(
    units: int = 100, num_layers: int = 1, *, input_scale: float = 4.0
) -> nn.RNNCellBase:
    """GRU controller. Its output is the hidden state of the top layer.

    >>> len(gru(64, num_layers=2).cells)
    2

    Args:
      units: number of units in each layer.
      num_layers: number of layers.
      input_scale: multiplies the LeCun-normal initialisation of the input kernels in
        every layer.

    Raises:
      TypeError, ValueError: if an argument is not a positive number. The message names
        the argument.
    """
    return _stack(nn.GRUCell, units, num_layers, input_scale)


def feed_forward(
    units: int = 100,
    num_layers: int = 1,
    activation: Callable[[Array], Array] = nn.tanh,
    *,
    input_scale: float = 2.0,
) -> nn.Module:
    """Feed-forward controller: dense layers, each followed by the activation.

    >>> feed_forward(64, num_layers=2, activation=nn.relu).units
    (64, 64)

    Args:
      units: number of units in each layer.
      num_layers: number of layers.
      activation: elementwise function of an array.
      input_scale: multiplies the LeCun-normal initialisation of the kernels.

    Raises:
      TypeError, ValueError: if a number is not positive or the activation is not a
        function. The message names the argument.
    """
    check_count("units", units)
    check_count("num_layers", num_layers)
    if not callable(activation):
        raise TypeError(f"activation: got {activation!r}, want a function")
    check_positive("input_scale", input_scale)
    return FeedForward((units,) * num_layers, activation, float(input_scale))


class Stack(nn.RNNCellBase):
    """Recurrent cells in layers. The carry is the tuple of the cells' carries."""

    cells: Sequence[nn.RNNCellBase]

    def __call__(self, carry: PyTree, inputs: Array) -> tuple[PyTree, Array]:
        """One step. Each cell's output is the next cell's input."""
        new_carry = []
        for cell, cell_carry in zip(self.cells, carry, strict=True):
            cell_carry, inputs = cell(cell_carry, inputs)
            new_carry.append(cell_carry)
        return tuple(new_carry), inputs

    @nn.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> PyTree:
        """The tuple of the cells' own initial carries."""
        rngs = jax.random.split(rng, len(self.cells))
        return tuple(
            cell.initialize_carry(rng, input_shape)
            for cell, rng in zip(self.cells, rngs)
        )

    @property
    def num_feature_axes(self) -> int:
        """One: an input is a vector."""
        return 1


class FeedForward(nn.Module):
    """Dense layers, each followed by the activation.

    Attributes:
      units: number of units of each layer.
      activation: elementwise function of an array.
      input_scale: multiplies the LeCun-normal initialisation of the kernels.
    """

    units: Sequence[int]
    activation: Callable[[Array], Array]
    input_scale: float

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Maps `[..., I]` to `[..., units[-1]]`."""
        for units in self.units:
            dense = nn.Dense(units, kernel_init=ScaledLecunNormal(self.input_scale))
            inputs = self.activation(dense(inputs))
        return inputs


def is_recurrent(controller: nn.Module) -> bool:
    """Whether the controller passes a carry from step to step."""
    return isinstance(controller, nn.RNNCellBase)


def init(key: Array, controller: nn.Module, input_size: int) -> tuple[dict, int]:
    """The controller's parameters and the width H of its output.

    Raises:
      ValueError: if the module has variables that are not parameters, for example batch
        statistics, or if its output is not one vector.
    """
    output, variables = _init(key, controller, input_size)
    if set(variables) - {"params"}:
        raise ValueError(
            f"controller: got a module with the variables {sorted(variables)}, "
            "want one that has only params"
        )
    if not isinstance(output, Array) or output.ndim != 1:
        kind, shape = type(output).__name__, list(getattr(output, "shape", ()))
        raise ValueError(
            f"controller: got an output of type {kind}, shape {shape}, for one input "
            "vector, want one vector"
        )
    return variables.get("params", {}), output.shape[-1]


@functools.partial(jax.jit, static_argnames=("controller", "input_size"))
def _init(key: Array, controller: nn.Module, input_size: int) -> tuple[PyTree, Any]:
    """The output for one input vector, and new variables."""
    inputs = jnp.zeros((input_size,), jnp.float32)
    carry = initial_carry(controller, input_size, ())
    arguments = (carry, inputs) if is_recurrent(controller) else (inputs,)
    output, variables = controller.init_with_output(key, *arguments)
    return (output[1] if is_recurrent(controller) else output), variables


def initial_carry(
    controller: nn.Module, input_size: int, batch_shape: tuple[int, ...]
) -> PyTree:
    """The initial carry that the cell provides, or `()` for a stateless module."""
    if not isinstance(controller, nn.RNNCellBase):
        return ()
    # Flax's cells return zeros. A cell that draws its carry always draws the same.
    with fixed.draws():
        return controller.initialize_carry(fixed.key(0), (*batch_shape, input_size))


def apply(
    controller: nn.Module,
    params: dict,
    carry: PyTree,
    inputs: Array,
    rngs: Rngs | None = None,
) -> tuple[PyTree, Array]:
    """One step of the controller: the new carry and the output `[..., H]`.

    The new carry has the dtypes of the old one, and the output has the dtype of the
    inputs. The dtype in which the module computes does not matter.
    """
    arguments = (carry, inputs) if is_recurrent(controller) else (inputs,)
    result: Any = controller.apply(
        {"params": params}, *arguments, rngs=dict(rngs or {})
    )
    new_carry, output = result if is_recurrent(controller) else (carry, result)
    new_carry = jax.tree.map(lambda new, old: new.astype(old.dtype), new_carry, carry)
    return new_carry, output.astype(inputs.dtype)


def fitting_input_size(
    controller: nn.Module,
    params: dict,
    carry: PyTree,
    inputs: Array,
    rngs: Rngs | None = None,
) -> int | None:
    """The input width for which `params` were made, or None if no width fits.

    A module does not report this width, so the function tries all sizes in `params`.
    """
    sizes = {size for leaf in jax.tree.leaves(params) for size in leaf.shape}
    for size in sorted(sizes - {0}):
        resized = jax.ShapeDtypeStruct((*inputs.shape[:-1], size), inputs.dtype)
        try:
            jax.eval_shape(
                lambda p, c, x: apply(controller, p, c, x, rngs), params, carry, resized
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
    # Without `parent=None`, a surrounding Flax module would register the cells.
    cells = tuple(
        cell(units, kernel_init=ScaledLecunNormal(float(input_scale)), parent=None)
        for _ in range(num_layers)
    )
    return cells[0] if num_layers == 1 else Stack(cells, parent=None)


@dataclasses.dataclass(frozen=True)
class ScaledLecunNormal:
    """LeCun-normal initialiser times `scale`.

    A value, so that modules with equal arguments compare and hash as equal, and can be
    copied and pickled.
    """

    scale: float

    def __call__(self, *arguments: Any, **named: Any) -> Array:
        """Arguments and result are those of `initializers.lecun_normal()`."""
        return self.scale * initializers.lecun_normal()(*arguments, **named)
