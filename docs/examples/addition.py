"""Addition in base 10, as tokens, lowest digits first: 12+79= is 190, for 21 + 97."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from ntm_jax import tasks

PLUS, EQUALS, BLANK = 10, 11, 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class Addition(tasks.Task):
    """Two numbers of as many digits; the answer has one digit more."""

    inputs = tasks.Tokens(13)
    targets = tasks.Categories(10)
    difficulty: ClassVar = {"digits": (1, 4)}
    beyond = ({"digits": 8},)

    def make(self, key, batch_size, ranges):
        """A batch of additions."""
        most, (n_key, key) = ranges["digits"].limit, jax.random.split(key)
        n = ranges["digits"].draw(n_key, (1, batch_size))
        pair = jax.random.randint(key, (2, most + 1, batch_size), 0, 10)
        a, b = pair = jnp.where(jnp.arange(most + 1)[:, None] < n, pair, 0)
        powers = 10 ** jnp.arange(most + 1)[:, None]
        total = jnp.sum((a + b) * powers, axis=0, keepdims=True) // powers % 10
        step = jnp.arange(3 * most + 3)[:, None]

        def at(digits, first):
            places = jnp.clip(step - first, 0, most)
            return jnp.take_along_axis(digits, places, axis=0)

        cases = [step < n, step == n, step < 2 * n + 1, step == 2 * n + 1]
        inputs = jnp.select(cases, [at(a, 0), PLUS, at(b, n + 1), EQUALS], BLANK)
        mask = (step > 2 * n + 1) & (step <= 3 * n + 2)
        return tasks.Batch(inputs, at(total, 2 * n + 2), mask)
