"""What a task's inputs are: vectors, or tokens that a model embeds.

>>> Tokens(3).as_vectors(np.array([2, 0])).tolist()
[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
"""

import dataclasses

import numpy as np

from .checks import check_count
from .targets import not_below, not_finite


@dataclasses.dataclass(frozen=True)
class Vectors:
    """Vectors of `size` numbers; inputs are float32 `[T, B, size]`."""

    size: int

    def __post_init__(self) -> None:
        check_count("size", self.size)

    @property
    def step_shape(self) -> tuple[int, ...]:
        """All numbers."""
        return (self.size,)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each number, in words."""
        return tuple(f"channel {i + 1}" for i in range(self.size))

    def as_vectors(self, inputs: np.ndarray) -> np.ndarray:
        """The inputs `[T, ..., size]`, as figures show them."""
        return inputs

    def fault(self, inputs: np.ndarray) -> str | None:
        """What is wrong with these inputs: numbers that are not finite."""
        return not_finite(inputs)


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Tokens, numbered from 0 to size - 1; inputs are integers `[T, B]`.

    A model has a learned vector for each token, its embedding.

    Attributes:
      size: the number of tokens.
      per_step: None for one token a step; else so many, inputs are `[T, B, per_step]`,
        and the vectors of a step are added.
    """

    size: int
    per_step: int | None = None

    def __post_init__(self) -> None:
        check_count("size", self.size)
        if self.per_step is not None:
            check_count("per_step", self.per_step)

    @property
    def step_shape(self) -> tuple[int, ...]:
        """One number, or `per_step`."""
        return () if self.per_step is None else (self.per_step,)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each token, in words."""
        return tuple(f"token {i}" for i in range(self.size))

    def as_vectors(self, inputs: np.ndarray) -> np.ndarray:
        """The inputs as figures show them, `[T, ..., size]`: a 1 for each token."""
        ones = np.eye(self.size, dtype=np.float32)[np.clip(inputs, 0, self.size - 1)]
        return ones if self.per_step is None else ones.max(axis=-2)

    def fault(self, inputs: np.ndarray) -> str | None:
        """What is wrong with these inputs: numbers that are no token."""
        return not_below(inputs, self.size)
