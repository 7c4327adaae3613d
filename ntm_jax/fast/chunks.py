"""The loops over a sequence: chunks of steps, and the steps of a chunk."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.fast import xla


class Chunks(NamedTuple):
    """Steps in groups of `size`; the last group may be smaller.

    On a CPU one program serves every group. Elsewhere the last has one of its own if it
    is smaller, so that XLA knows how often every loop runs. A GPU would have to ask the
    host after each step otherwise.
    """

    size: int
    num_steps: int | Array

    def run(self, chunk: Callable[..., Any], carry: Any, *, reverse: bool = False):
        """`carry = chunk(c, first, number, carry)` for all, in order or in reverse.

        `first` is the first step of chunk c, and `number` how many steps it has.
        """
        size, number = self.size, -(-self.num_steps // self.size)
        if xla.for_cpu():

            def some(c, carry):
                left = self.num_steps - c * size
                return chunk(c, c * size, jnp.minimum(size, left), carry)

            return in_turn(number, some, carry, reverse)

        whole, rest = divmod(self.num_steps, size)

        def of_size(carry):
            return in_turn(
                whole, lambda c, carry: chunk(c, c * size, size, carry), carry, reverse
            )

        def last(carry):
            return chunk(whole, whole * size, rest, carry) if rest else carry

        return of_size(last(carry)) if reverse else last(of_size(carry))


def in_turn(
    number: int | Array,
    body: Callable[[Any, Any], Any],
    carry: Any,
    reverse: bool = False,
) -> Any:
    """`carry = body(i, carry)` for i from 0 to `number` - 1, or from there to 0."""

    def backwards(i, carry):
        return body(number - 1 - i, carry)

    return lax.fori_loop(0, number, backwards if reverse else body, carry)
