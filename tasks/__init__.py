"""Tasks for networks with a memory: pure functions from a PRNG key to a batch.

>>> import jax, tasks
>>> task = tasks.get("copy")
>>> batch = task.sample(jax.random.key(0), batch_size=16, length=(1, 20))
>>> batch.inputs.shape, batch.targets.shape, batch.mask.shape
((41, 16, 9), (41, 16, 8), (41, 16))
"""

from tasks.arrays import SPLITS, Arrays, Example, Split
from tasks.associative_recall import AssociativeRecall
from tasks.copy import Copy
from tasks.data import DataError, DatasetTask, DataTask, Share, StreamTask
from tasks.dynamic_ngrams import DynamicNGrams
from tasks.inputs import Tokens, Vectors
from tasks.priority_sort import PrioritySort
from tasks.registry import get, names
from tasks.repeat_copy import RepeatCopy
from tasks.reverse_string import ReverseString
from tasks.strings import StringTask
from tasks.targets import Bits, Categories, Reals, Targets
from tasks.task import (
    Batch,
    Difficulty,
    Range,
    Task,
    loss_bits,
    wrong_bits,
)

__all__ = (
    "SPLITS",
    "Arrays",
    "AssociativeRecall",
    "Batch",
    "Bits",
    "Categories",
    "Copy",
    "DataError",
    "DataTask",
    "DatasetTask",
    "Difficulty",
    "DynamicNGrams",
    "Example",
    "PrioritySort",
    "Range",
    "Reals",
    "RepeatCopy",
    "ReverseString",
    "Share",
    "Split",
    "StreamTask",
    "StringTask",
    "Targets",
    "Task",
    "Tokens",
    "Vectors",
    "get",
    "loss_bits",
    "names",
    "wrong_bits",
)
