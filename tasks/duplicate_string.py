"""Duplicate string: a string twice, with nothing between (Delétang et al. 2023).

>>> import jax
>>> batch = DuplicateString().sample(jax.random.key(1), batch_size=1, length=2)
>>> batch.inputs[:, 0].astype(int).tolist()  # two symbols and the empty token
[[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]]
>>> batch.targets[:, 0, 0].astype(int).tolist()  # whether it is the second symbol
[0, 0, 1, 0, 1, 0]
>>> batch.mask[:, 0].astype(int).tolist()
[0, 0, 1, 1, 1, 1]
"""

import dataclasses
from typing import ClassVar

from jax import Array

from tasks.strings import StringTask


@dataclasses.dataclass(frozen=True, kw_only=True)
class DuplicateString(StringTask):
    """From the first symbol to the last, and again: what a stack cannot do."""

    answer_length: ClassVar[int] = 2

    def places(self, answered: Array, lengths: Array) -> Array:
        """Round and round."""
        return answered % lengths
