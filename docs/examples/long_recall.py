"""Long recall: associative recall of up to 1,000 items, with access to a few slots.

A machine that has learned to recall a few items goes on with many:
`python -m train.main --task=docs/examples/long_recall.py:LongRecall --init_from=...`.
"""

import dataclasses
from typing import ClassVar

from ntm_jax import tasks


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongRecall(tasks.AssociativeRecall):
    """2 to 1,000 items, and 3,000 for the evaluation beyond."""

    difficulty: ClassVar = {"items": (2, 1000)}
    beyond: ClassVar = ({"items": 3000},)
