"""What a masked step computes with, in place of its state.

A masked step passes on the state before it, and its cotangent, whatever they hold. What
it computes is not used. But an unused NaN would reach the parameters' gradient, which
adds up all steps: zero times NaN is NaN, and so is zero times infinity.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ntm_jax import controllers
from ntm_jax.types import NTMState, PyTree


def harmless_state(controller: nn.Module, state: NTMState) -> NTMState:
    """Zeros, and the carry that the cell itself starts with, for a batch of `state`."""
    num_batch_axes = state.memory.ndim - 2
    zeros = jax.tree.map(jnp.zeros_like, state)
    carry = harmless_carry(controller, state.controller, num_batch_axes)
    return zeros.replace(controller=carry)


def harmless_carry(controller: nn.Module, carry: PyTree, num_batch_axes: int) -> PyTree:
    """The cell's own first carry, with batch axes of size 1: it may fail on zeros."""
    # The shape of a carry does not depend on the input size, so any size will do.
    own = controllers.initial_carry(controller, 1, ())
    return jax.tree.map(
        lambda own, leaf: own.astype(leaf.dtype).reshape(
            (1,) * num_batch_axes + own.shape
        ),
        own,
        carry,
    )
