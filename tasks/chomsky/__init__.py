"""The tasks of Delétang et al. 2023: from regular to context-sensitive languages.

*Neural Networks and the Chomsky Hierarchy*, arXiv:2207.02098. A network reads a string
of at most 40 symbols in training, and of up to 500 in the evaluation; then it answers.
`reverse_string`, one of the fifteen, is among the tasks that have a name; the others
are named by their place.

    python -m train.main --task=ntm_jax.tasks.chomsky:Parity

>>> import jax
>>> task = Parity()
>>> batch = task.sample(jax.random.key(4), batch_size=1, length=5)
>>> task.in_words(batch)
['00010_ -> 1']
"""

from .context_free import ModularArithmetic, SolveEquation, StackManipulation
from .context_sensitive import (
    BinaryAddition,
    BinaryMultiplication,
    BucketSort,
    ComputeSqrt,
    DuplicateString,
    MissingDuplicate,
    OddsFirst,
)
from .protocol import ChomskyTask
from .regular import CycleNavigation, EvenPairs, ModularArithmeticSimple, Parity

__all__ = (
    "BinaryAddition",
    "BinaryMultiplication",
    "BucketSort",
    "ChomskyTask",
    "ComputeSqrt",
    "CycleNavigation",
    "DuplicateString",
    "EvenPairs",
    "MissingDuplicate",
    "ModularArithmetic",
    "ModularArithmeticSimple",
    "OddsFirst",
    "Parity",
    "SolveEquation",
    "StackManipulation",
)
