"""Tasks for networks with a memory: pure functions from a PRNG key to a batch.

>>> import jax
>>> from ntm_jax import tasks
>>> task = tasks.get("copy")
>>> batch = task.sample(jax.random.key(0), batch_size=16, length=(1, 20))
>>> batch.inputs.shape, batch.targets.shape, batch.mask.shape
((41, 16, 9), (41, 16, 8), (41, 16))
"""

from . import fit, outside, poems, properties, registry
from .arrays import SPLITS, Arrays, Example, Split
from .associative_recall import AssociativeRecall
from .copy import Copy
from .data import (
    DataError,
    DatasetTask,
    DataTask,
    Share,
    StreamTask,
    padded,
    round_up,
)
from .dynamic_ngrams import DynamicNGrams
from .inputs import Tokens, Vectors
from .poems import Poems
from .priority_sort import PrioritySort
from .registry import TaskName, class_of, get, name_in_words, names, short_name
from .repeat_copy import RepeatCode, RepeatCopy
from .reverse_string import ReverseString
from .strings import StringTask
from .targets import Bits, Categories, Reals, Targets
from .task import (
    Batch,
    Difficulty,
    Range,
    Task,
    loss_bits,
    wrong_bits,
)
from .vectors import VectorTask

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
    "Poems",
    "PrioritySort",
    "Range",
    "Reals",
    "RepeatCode",
    "RepeatCopy",
    "ReverseString",
    "Share",
    "Split",
    "StreamTask",
    "StringTask",
    "Targets",
    "Task",
    "TaskName",
    "Tokens",
    "VectorTask",
    "Vectors",
    "class_of",
    "fit",
    "get",
    "loss_bits",
    "name_in_words",
    "names",
    "outside",
    "padded",
    "poems",
    "properties",
    "registry",
    "round_up",
    "short_name",
    "wrong_bits",
)
