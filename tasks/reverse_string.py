"""Reverse string: a string from its end to its start (Delétang et al. 2023).

>>> import jax
>>> batch = ReverseString().sample(jax.random.key(0), batch_size=1, length=3)
>>> batch.inputs[:, 0].astype(int).tolist()  # two symbols and the empty token
[[0, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]
>>> batch.targets[:, 0, 0].astype(int).tolist()  # whether it is the second symbol
[0, 0, 0, 0, 1, 1]
>>> batch.mask[:, 0].astype(int).tolist()
[0, 0, 0, 1, 1, 1]
"""

import dataclasses
from typing import ClassVar

from jax import Array

from .strings import StringTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReverseString(StringTask):
    """The last symbol first, which a stack can do."""

    answer_length: ClassVar[int] = 1

    def places(self, answered: Array, lengths: Array) -> Array:
        """The positions from the end of the string."""
        return lengths - 1 - answered
