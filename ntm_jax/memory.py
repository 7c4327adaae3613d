"""The memory: reading and writing.

Equations 2 to 4 of Graves, Wayne and Danihelka 2014 (arXiv:1410.5401). Shapes use the
letters of `ntm_jax.addressing`: N slots of width M, and H heads at one memory.

Values and gradients of `read` and `write` are finite if weights and erase vectors are
in [0, 1] and the entries of the memory and the add vectors are at most 1e18 in size.
"""

import jax.numpy as jnp
from jax import Array

from ntm_jax.addressing import head_axis
from ntm_jax.checks import check_arrays


def read(memory: Array, weights: Array) -> Array:
    """The read vector (eq. 2): r = Σ_i w(i) M(i).

    >>> read(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([0.5, 0.5]))
    Array([2., 3.], dtype=float32)

    Args:
      memory: `[..., N, M]`, N slots of width M.
      weights: `[..., N]` or `[..., H, N]`, the weighting w.

    Returns:
      `[..., M]` or `[..., H, M]`, the read vector r.

    Raises:
      TypeError: if an argument is not an array of floats, or the dtypes differ.
      ValueError: if the shapes do not fit each other.
    """
    head = head_axis(memory=memory, weights=weights)
    check_arrays(memory=(memory, "... N M"), weights=(weights, f"... {head}N"))
    if head:
        return jnp.einsum("...hn,...nm->...hm", weights, memory)
    return jnp.einsum("...n,...nm->...m", weights, memory)


def write(memory: Array, weights: Array, erase: Array, add: Array) -> Array:
    """The memory after a write (eqs. 3 and 4): M(i) <- M(i) (1 - w(i) e) + w(i) a.

    With several heads, all heads erase before any head adds. The order of the heads
    therefore does not matter: M(i) <- M(i) Π_h (1 - w_h(i) e_h) + Σ_h w_h(i) a_h.

    >>> memory, ones = jnp.ones((2, 2)), jnp.ones(2)
    >>> write(memory, jnp.array([0.0, 1.0]), erase=ones, add=5 * ones)
    Array([[1., 1.],
           [5., 5.]], dtype=float32)

    Args:
      memory: `[..., N, M]`, N slots of width M.
      weights: `[..., N]` or `[..., H, N]`, the weighting w.
      erase: `[..., M]` or `[..., H, M]`, the erase vector e with entries in [0, 1].
      add: `[..., M]` or `[..., H, M]`, the add vector a.

    Returns:
      `[..., N, M]`, the new memory.

    Raises:
      TypeError: if an argument is not an array of floats, or the dtypes differ.
      ValueError: if the shapes do not fit each other.
    """
    head = head_axis(memory=memory, weights=weights)
    check_arrays(
        memory=(memory, "... N M"),
        weights=(weights, f"... {head}N"),
        erase=(erase, f"... {head}M"),
        add=(add, f"... {head}M"),
    )
    if not head:
        weights, erase, add = (x[..., None, :] for x in (weights, erase, add))
    heads = range(weights.shape[-2])
    for h in heads:
        memory = memory * (1 - weights[..., h, :, None] * erase[..., h, None, :])
    for h in heads:
        memory = memory + weights[..., h, :, None] * add[..., h, None, :]
    return memory
