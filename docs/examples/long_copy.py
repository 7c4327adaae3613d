"""Long copy: as copy, with up to 1,000 vectors, for access to a few slots."""

import dataclasses
from typing import ClassVar

from ntm_jax import tasks


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongCopy(tasks.Copy):
    """Sequences of 1 to 1,000 vectors, and 8,000 for the evaluation beyond."""

    difficulty: ClassVar = {"length": (1, 1000)}
    beyond: ClassVar = ({"length": 8000},)
