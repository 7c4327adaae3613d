"""Numbers of any size as bits: sums, products and square roots, written in JAX."""

import jax
import jax.numpy as jnp
from jax import Array

from .protocol import shown, uniform


def positive(key: Array, length: Array, limit: int) -> Array:
    """A uniformly random number with that many bits, of which one at least is 1.

    Args:
      key: of `jax.random.key`.
      length: int32 scalar.
      limit: L, a Python integer.

    Returns:
      Bits, int32 `[L]`; zeros from `length` on.
    """

    def drawn(key: Array) -> tuple[Array, Array]:
        next_key, key = jax.random.split(key)
        bits = uniform(key, (limit,), 2)
        return next_key, shown(bits, length)

    def is_zero(state: tuple[Array, Array]) -> Array:
        return ~jnp.any(state[1] > 0) & (length > 0)

    return jax.lax.while_loop(is_zero, lambda state: drawn(state[0]), drawn(key))[1]


def carried(digits: Array) -> Array:
    """The bits of a number whose digits are not only 0 and 1.

    >>> carried(jnp.array([2, 3, 0])).tolist()  # 2 + 3 * 2 = 8, too large for 3 bits
    [0, 0, 0]
    >>> carried(jnp.array([3, 1, 0])).tolist()  # 3 + 1 * 2 = 5
    [1, 0, 1]

    Args:
      digits: integers `[W]`, at least 0, the lowest first.
    """

    def step(carry: Array, digit: Array) -> tuple[Array, Array]:
        total = digit + carry
        return total >> 1, total & 1

    return jax.lax.scan(step, jnp.zeros((), digits.dtype), digits)[1]


def product(a: Array, b: Array) -> Array:
    """The bits of a product.

    Args:
      a: bits, int32 `[L]`, the lowest first.
      b: bits, int32 `[L]`.

    Returns:
      int32 `[2 L - 1]`, or one bit less than there can be; so one operand must have a
      highest bit that is 0.
    """
    # Sums of at most L ones are exact in float32.
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    sums = jnp.convolve(a, b, precision=jax.lax.Precision.HIGHEST)
    return carried(jnp.round(sums).astype(jnp.int32))


def num_bits(number: Array) -> Array:
    """The bits of a number without leading zeros; 0 for 0. The lowest bit is first."""
    place = jnp.arange(1, len(number) + 1, dtype=jnp.int32)
    return jnp.max(jnp.where(number > 0, place, 0))


def root(pairs: Array) -> Array:
    """The bits of the square root of a number, rounded down, the highest first.

    The method is that of roots by hand. Each pair of bits of the number gives a bit of
    the root: the remainder r, with the pair behind it, holds 4 q + 1 or not, where q is
    the root so far.

    Args:
      pairs: int32 `[K, 2]`, the bits of the number, the highest first.

    Returns:
      int32 `[K]`.
    """
    width = len(pairs) + 2

    def behind(number: Array, *bits: Array) -> Array:
        """The bits behind a number, whose lowest bit is first here."""
        low = jnp.stack(bits)
        return jnp.concatenate([low, number[: width - len(bits)]])

    def step(state: tuple[Array, Array], pair: Array):
        rest, found = state
        rest = behind(rest, pair[1], pair[0])
        held = behind(found, jnp.int32(1), jnp.int32(0))
        less, difference = _subtract(rest, held)
        bit = jnp.where(less, 0, 1)
        return (jnp.where(less, rest, difference), behind(found, bit)), bit

    zero = jnp.zeros(width, jnp.int32)
    return jax.lax.scan(step, (zero, zero), pairs)[1]


def _subtract(a: Array, b: Array) -> tuple[Array, Array]:
    """Whether a < b, and the bits of a - b if not; the lowest bit is first.

    A place borrows if the highest of the lower places that differ has the larger b.
    """
    place = jnp.arange(len(a), dtype=jnp.int32)
    last_unequal = jax.lax.cummax(jnp.where(a != b, place, -1))
    borrows = jnp.where(last_unequal >= 0, (a < b)[last_unequal], False)
    from_below = jnp.concatenate(
        [jnp.zeros(1, jnp.int32), borrows[:-1].astype(jnp.int32)]
    )
    return borrows[-1], (a - b - from_below) % 2
