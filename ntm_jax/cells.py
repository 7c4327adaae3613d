"""What the two Flax shells, `linen` and `nnx`, share."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array

from ntm_jax.arrays import canonical, cast
from ntm_jax.checks import check_array, check_size
from ntm_jax.config import NTMConfig
from ntm_jax.controllers import Rngs
from ntm_jax.machine import named_step
from ntm_jax.types import NTMState, Params


def cell_step(
    params: Params,
    carry: NTMState,
    inputs: Array,
    config: NTMConfig,
    dtype: jax.typing.DTypeLike,
    rngs: Rngs | None = None,
) -> tuple[NTMState, Array]:
    """`step` for a Flax cell: computes in `dtype`, with the cell's names in errors."""
    check_cell_call(carry, inputs)
    params, inputs = cast(params, dtype), jnp.asarray(inputs, dtype)
    carry = canonical(carry)
    return named_step(params, carry, inputs, config, "inputs", "carry", rngs)[:2]


def check_cell_call(carry: NTMState, inputs: Array) -> None:
    """Raises unless these are of the kinds that a cell is called with."""
    if not isinstance(carry, NTMState):
        raise TypeError(
            f"carry: got {type(carry).__name__}, want an NTMState, such as that of "
            "initialize_carry"
        )
    check_array("inputs", inputs)
    # Floats are cast. Integers, such as tokens, are no vectors.
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TypeError(f"inputs: got dtype {inputs.dtype}, want floats")
    if inputs.ndim < 1:
        raise ValueError("inputs: got shape [], want [..., input_size]")


def cell_batch_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    """The batch axes of the shape that a cell's `initialize_carry` gets.

    Raises:
      TypeError, ValueError: unless the shape is `(*batch, input_size)`.
    """
    if not isinstance(input_shape, Sequence) or len(input_shape) == 0:
        raise TypeError(
            f"input_shape: got {input_shape!r}, want sizes (*batch, input_size)"
        )
    for size in input_shape:
        check_size("input_shape", size, 0)
    return tuple(input_shape[:-1])
