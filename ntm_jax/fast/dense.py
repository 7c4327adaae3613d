"""Dense layers. Their gradient is one product over all steps and sequences."""

import jax.numpy as jnp
from jax import Array

from ntm_jax.fast import xla


def dense(params: dict[str, Array], inputs: Array) -> Array:
    """`inputs @ kernel + bias`; the kernel may have more rows, see `xla.pad_rows`."""
    bias = params["bias"].reshape((1,) * (inputs.ndim - 1) + params["bias"].shape)
    return xla.product(inputs, params["kernel"]) + bias


def dense_gradient(inputs: tuple[Array, ...], d_outputs: Array) -> dict[str, Array]:
    """The cotangent of `params`, for cotangents `[A, B, O]` of all outputs.

    The layer's input is the concatenation of `inputs`, `[A, B, I]` each. They are not
    concatenated here, since that would copy them.
    """
    # einsum orders the axes that it sums over by their letters, so a comes before b.
    kernels = [jnp.einsum("abi,abo->io", part, d_outputs) for part in inputs]
    return {
        "kernel": jnp.concatenate(kernels),
        "bias": jnp.sum(d_outputs, axis=(0, 1)),
    }


def merge_first(array: Array) -> Array:
    """`[G, T, ...]` to `[G T, ...]`, or `[T, B, ...]` to `[T B, ...]`."""
    return array.reshape(array.shape[0] * array.shape[1], *array.shape[2:])
