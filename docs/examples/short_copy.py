"""Short copy: as copy, with at most 10 vectors, for experiments with many machines."""

import dataclasses
from typing import ClassVar

from ntm_jax import tasks


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShortCopy(tasks.Copy):
    """Sequences of 1 to 10 vectors, and 20 for the evaluation beyond."""

    difficulty: ClassVar = {"length": (1, 10)}
    beyond: ClassVar = ({"length": 20},)
