"""The memory itself: how it starts, how it is read, how it is written.

Equations 2-4 of Graves, Wayne and Danihelka 2014 (arXiv:1410.5401). Shapes use the
letters of `ntm_jax.addressing`: N slots, each M wide, and H heads at one memory.

`read` and `write` are finite, with a finite gradient, for weightings, erases in [0, 1]
and a memory and adds with entries up to 1e18.
"""

import jax
import jax.numpy as jnp
from jax import Array

from ntm_jax.addressing import head_axis
from ntm_jax.checks import check_arrays, check_choice, check_count, check_dtype

FIXED_MEMORIES = ("constant", "random")
# Small and alike everywhere (Collier and Beel 2018, arXiv:1807.08518).
_CONSTANT = 1e-6


def read(memory: Array, weights: Array) -> Array:
    """What a head sees (eq. 2): r = Σ_i w(i) M(i).

    >>> read(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([0.5, 0.5]))
    Array([2., 3.], dtype=float32)

    Args:
      memory: `[..., N, M]`, M.
      weights: `[..., N]` or `[..., H, N]`, w.

    Returns:
      `[..., M]` or `[..., H, M]`, r.

    Raises:
      TypeError, ValueError: for other dtypes and shapes than these.
    """
    head = head_axis(memory=memory, weights=weights)
    check_arrays(memory=(memory, "... N M"), weights=(weights, f"... {head}N"))
    if head:
        return jnp.einsum("...hn,...nm->...hm", weights, memory)
    return jnp.einsum("...n,...nm->...m", weights, memory)


def write(memory: Array, weights: Array, erase: Array, add: Array) -> Array:
    """The memory after a write (eqs. 3 and 4): M(i) <- M(i) (1 - w(i) e) + w(i) a.

    With several heads all erases come before all adds, so their order does not matter:
    M(i) <- M(i) Π_h (1 - w_h(i) e_h) + Σ_h w_h(i) a_h.

    >>> memory, ones = jnp.ones((2, 2)), jnp.ones(2)
    >>> write(memory, jnp.array([0.0, 1.0]), erase=ones, add=5 * ones)
    Array([[1., 1.],
           [5., 5.]], dtype=float32)

    Args:
      memory: `[..., N, M]`, M.
      weights: `[..., N]` or `[..., H, N]`, w.
      erase: `[..., M]` or `[..., H, M]`, e in [0, 1].
      add: `[..., M]` or `[..., H, M]`, a.

    Returns:
      `[..., N, M]`.

    Raises:
      TypeError, ValueError: for other dtypes and shapes than these.
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


def initial_memory(
    num_slots: int,
    slot_size: int,
    kind: str = "constant",
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Array:
    """A memory nothing was written to yet.

    >>> initial_memory(128, 20).shape
    (128, 20)

    Args:
      num_slots: N.
      slot_size: M.
      kind: `"constant"`, 1e-6 everywhere (Collier and Beel 2018), or `"random"`,
        uniform in ±1/sqrt(M), the same numbers at every call, slot by slot.
      dtype: of the memory.

    Returns:
      `[N, M]`.

    Raises:
      TypeError, ValueError: for sizes that are not whole and positive, or another kind.
    """
    check_count("num_slots", num_slots)
    check_count("slot_size", slot_size)
    check_choice("kind", kind, FIXED_MEMORIES)
    check_dtype("dtype", dtype)
    if kind == "constant":
        return jnp.full((num_slots, slot_size), _CONSTANT, dtype)
    slot_keys = jax.vmap(jax.random.key)(jnp.arange(num_slots))
    limit = slot_size**-0.5
    return jax.vmap(
        lambda key: jax.random.uniform(key, (slot_size,), dtype, -limit, limit)
    )(slot_keys)
