"""What a task's outputs are: bits, one of several categories, or real numbers.

The loss, the number of wrong answers, the error and the predictions that figures show
follow from that, and all are here.

>>> import jax.numpy as jnp
>>> mask = jnp.ones((1, 1), bool)  # one step of one sequence
>>> Bits(2).wrong(jnp.array([[[3.0, -1.0]]]), jnp.array([[[1.0, 1.0]]]), mask).item()
1
>>> loss = Categories(3).loss(jnp.zeros((1, 1, 3)), jnp.array([[2]]), mask)
>>> round(loss.item(), 3)  # log2 3
1.585
>>> Reals(1).loss(jnp.array([[[2.5]]]), jnp.array([[[2.0]]]), mask).item()
0.25
"""

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .checks import check_count

# The most categories of which a run keeps every probability.
_MOST_KEPT = 256


class Targets(abc.ABC):
    """What a network outputs at each step, and how good that is.

    Shapes: logits `[T, B, size]`, mask bool `[T, B]`, targets as the subclass says. A
    value at a step outside the mask can be anything.

    Attributes:
      size: O, how many numbers a network outputs at a step.
      unit: what an answer consists of, in words.
      loss_name: of the loss, in files and reports.
    """

    size: int

    unit: ClassVar[str]
    loss_name: ClassVar[str] = "loss_bits"

    @property
    def wrong_name(self) -> str:
        """The name of what `wrong` counts, in files."""
        return f"wrong_{self.unit}"

    @property
    def error_name(self) -> str:
        """The unit of `errors`, in words."""
        return f"wrong {self.unit}"

    @property
    def tolerance(self) -> float:
        """The mean error with which a task is solved, unless the task has its own."""
        return 0.0

    @property
    @abc.abstractmethod
    def step_shape(self) -> tuple[int, ...]:
        """The shape of the target of one step; `targets` are `[T, B, *step_shape]`."""

    @abc.abstractmethod
    def costs(self, logits: Array, targets: Array) -> Array:
        """The loss of every answer, `[T, B, number]`."""

    @abc.abstractmethod
    def right(self, logits: Array, targets: Array) -> Array:
        """Whether every answer is right, bool `[T, B, number]`; not if it is NaN."""

    @abc.abstractmethod
    def predictions(self, logits: Array) -> Array:
        """The outputs as figures show them, `[..., size]`."""

    def as_logits(self, predictions: Array) -> Array:
        """Logits of which the same are `right` as of those with these predictions."""
        return predictions

    @property
    def kept_shape(self) -> tuple[int, ...]:
        """The shape of what a run keeps of the predictions of one step."""
        return (self.size,)

    def kept(self, predictions: np.ndarray) -> np.ndarray:
        """What a run keeps of predictions `[T, size]`, `[T, *kept_shape]`."""
        return predictions

    def as_they_were(self, kept: np.ndarray) -> np.ndarray:
        """The predictions `[T, size]` of which a run has kept that, or similar ones."""
        return kept

    def kept_fault(self, kept: np.ndarray) -> str | None:
        """What is wrong with numbers `[T, *kept_shape]` that a run has kept."""
        del kept
        return None

    @abc.abstractmethod
    def as_predictions(self, targets: Array) -> Array:
        """The outputs of the best network, `[T, B, size]`."""

    @abc.abstractmethod
    def fault(self, targets: np.ndarray) -> str | None:
        """What is wrong with these targets, `[n, *step_shape]`; None if nothing is."""

    def loss(self, logits: Array, targets: Array, mask: Array) -> Array:
        """The loss of each sequence's answer, `[B]`.

        Raises:
          ValueError: if the shapes do not fit each other.
        """
        self.check(logits, targets)
        return _sum_where_due(self.costs(logits, targets), mask)

    def wrong(self, logits: Array, targets: Array, mask: Array) -> Array:
        """The wrong answers of each sequence, int `[B]`.

        Raises:
          ValueError: if the shapes do not fit each other.
        """
        self.check(logits, targets)
        right = self.right(logits, targets)
        return _sum_where_due(jnp.logical_not(right).astype(jnp.int32), mask)

    def count(self, mask: Array) -> Array:
        """The answers of each sequence, right or wrong, int `[B]`."""
        each = int(np.prod(self.step_shape))
        return each * jnp.sum(mask, axis=0, dtype=jnp.int32)

    def errors(self, logits: Array, targets: Array, mask: Array) -> Array:
        """The error of each sequence's answer, `[B]`: the number of wrong answers."""
        return self.wrong(logits, targets, mask).astype(jnp.float32)

    def check(self, logits: Array, targets: Array) -> None:
        """Raises a `ValueError` unless logits and targets fit each other."""
        wanted = (*targets.shape[:2], self.size)
        if logits.shape != wanted or targets.shape[2:] != self.step_shape:
            letters = "[T, B, O]" if self.step_shape else "[T, B]"
            raise ValueError(
                f"logits: got shape {list(logits.shape)}, want "
                f"{list(wanted)}, with targets {letters} of shape "
                f"{[*targets.shape[:2], *self.step_shape]}"
            )


@dataclasses.dataclass(frozen=True)
class Bits(Targets):
    """Bits, each with a logit: the loss is their cross-entropy, in bits.

    Targets are `[T, B, size]`, 0 or 1. A bit is wrong if its logit is on the wrong side
    of 0.
    """

    size: int = 1

    unit: ClassVar[str] = "bits"

    def __post_init__(self) -> None:
        check_count("size", self.size)

    @property
    def step_shape(self) -> tuple[int, ...]:
        """A number for each bit."""
        return (self.size,)

    def loss(self, logits: Array, targets: Array, mask: Array) -> Array:
        """The cross-entropy of each sequence's answer in bits, `[B]`."""
        return super().loss(logits, targets, mask) / np.log(2).item()

    def costs(self, logits: Array, targets: Array) -> Array:
        """The cross-entropy of every bit in nats, exact for logits of any size."""
        return jax.nn.softplus(jnp.where(targets > 0.5, -logits, logits))

    def right(self, logits: Array, targets: Array) -> Array:
        """Whether the logits are on the right side of 0."""
        return jnp.where(targets > 0.5, logits > 0, logits < 0)

    def predictions(self, logits: Array) -> Array:
        """The probabilities of ones."""
        return jax.nn.sigmoid(logits)

    def as_logits(self, predictions: Array) -> Array:
        """Above 0 for a probability above one half."""
        return predictions - 0.5

    def as_predictions(self, targets: Array) -> Array:
        """The targets."""
        return targets

    def fault(self, targets: np.ndarray) -> str | None:
        """Other numbers than 0 and 1."""
        odd = targets[(targets != 0) & (targets != 1)]
        return f"got {odd.flat[0]}, want 0 or 1" if odd.size else None


@dataclasses.dataclass(frozen=True)
class Categories(Targets):
    """One of `size` categories: the loss is the cross-entropy of a softmax, in bits.

    Targets are integers `[T, B]` from 0 to size - 1. An answer is wrong unless the
    logit of the target is the largest. Of more than 256 categories, a run keeps only
    the most probable one at each step.
    """

    size: int

    unit: ClassVar[str] = "symbols"

    def __post_init__(self) -> None:
        check_count("size", self.size)

    @property
    def step_shape(self) -> tuple[int, ...]:
        """One number."""
        return ()

    def loss(self, logits: Array, targets: Array, mask: Array) -> Array:
        """The cross-entropy of each sequence's answer in bits, `[B]`."""
        return super().loss(logits, targets, mask) / np.log(2).item()

    def costs(self, logits: Array, targets: Array) -> Array:
        """The cross-entropy of every answer in nats."""
        return jax.nn.logsumexp(logits, axis=-1, keepdims=True) - self._of_target(
            logits, targets
        )

    def right(self, logits: Array, targets: Array) -> Array:
        """Whether the logit of the target is larger than all others."""
        is_target = jax.nn.one_hot(targets, self.size, dtype=jnp.bool_)
        others = jnp.max(logits, axis=-1, where=~is_target, initial=-jnp.inf)
        return self._of_target(logits, targets) > others[..., None]

    def predictions(self, logits: Array) -> Array:
        """The probabilities of the categories."""
        return jax.nn.softmax(logits, axis=-1)

    @property
    def kept_shape(self) -> tuple[int, ...]:
        """All probabilities, or one category."""
        return (self.size,) if self.size <= _MOST_KEPT else ()

    def kept(self, predictions: np.ndarray) -> np.ndarray:
        """The probabilities, or the most probable category."""
        return predictions if self.kept_shape else predictions.argmax(axis=-1)

    def as_they_were(self, kept: np.ndarray) -> np.ndarray:
        """The probabilities, or a 1 for the category."""
        if self.kept_shape:
            return kept
        return (kept[:, None] == np.arange(self.size)).astype(np.float32)

    def kept_fault(self, kept: np.ndarray) -> str | None:
        """Numbers that are no category."""
        if self.kept_shape:
            return None
        if kept.dtype.kind != "i":
            return f"got {kept.flat[0]}, want integers"
        return not_below(kept, self.size)

    def as_predictions(self, targets: Array) -> Array:
        """A 1 for the category of the target."""
        return jax.nn.one_hot(targets, self.size)

    def fault(self, targets: np.ndarray) -> str | None:
        """Numbers that are no category."""
        return not_below(targets, self.size)

    def _of_target(self, logits: Array, targets: Array) -> Array:
        """The logits of the targets, `[T, B, 1]`; of any target outside the mask."""
        places = jnp.clip(targets, 0, self.size - 1)[..., None]
        return jnp.take_along_axis(logits, places, axis=-1)


@dataclasses.dataclass(frozen=True)
class Reals(Targets):
    """Real numbers: the loss is the squared error, summed over an answer.

    Targets are `[T, B, size]`. The error is the root mean squared error of an answer. A
    number is right if it is at most `within` from its target; a network whose error is
    at most that has solved its task.
    """

    size: int = 1
    within: float = 0.1

    unit: ClassVar[str] = "numbers"
    loss_name: ClassVar[str] = "squared_error"

    def __post_init__(self) -> None:
        check_count("size", self.size)
        if not 0 < self.within < np.inf:
            raise ValueError(f"within: got {self.within}, want a number above 0")

    @property
    def error_name(self) -> str:
        """The error is not a count."""
        return "root mean squared error"

    @property
    def tolerance(self) -> float:
        """An error of `within`."""
        return self.within

    @property
    def step_shape(self) -> tuple[int, ...]:
        """All numbers."""
        return (self.size,)

    def loss(self, logits: Array, targets: Array, mask: Array) -> Array:
        """The squared error of each sequence's answer, `[B]`.

        A number that is not due can be NaN, which a product with 0 would keep in the
        gradient.
        """
        self.check(logits, targets)
        due = jnp.where(mask[:, :, None], targets, jnp.zeros_like(targets))
        return super().loss(logits, due, mask)

    def costs(self, logits: Array, targets: Array) -> Array:
        """The squared errors."""
        return jnp.square(logits - targets)

    def right(self, logits: Array, targets: Array) -> Array:
        """Whether the outputs are close enough to the targets."""
        return jnp.abs(logits - targets) <= self.within

    def errors(self, logits: Array, targets: Array, mask: Array) -> Array:
        """The root mean squared error of each sequence's answer, `[B]`."""
        loss = self.loss(logits, targets, mask)
        return jnp.sqrt(loss / jnp.maximum(self.count(mask), 1).astype(loss.dtype))

    def predictions(self, logits: Array) -> Array:
        """The numbers."""
        return logits

    def as_predictions(self, targets: Array) -> Array:
        """The targets."""
        return targets

    def fault(self, targets: np.ndarray) -> str | None:
        """Numbers that are not finite."""
        return not_finite(targets)


def not_below(values: np.ndarray, size: int) -> str | None:
    """What is wrong with integers that should be from 0 to size - 1, if anything is."""
    odd = values[(values < 0) | (values >= size)]
    return f"got {odd.flat[0]}, want from 0 to {size - 1}" if odd.size else None


def not_finite(values: np.ndarray) -> str | None:
    """What is wrong with numbers that should be finite, if anything is."""
    odd: Any = values[~np.isfinite(values)]
    return f"got {odd.flat[0]}, want finite numbers" if odd.size else None


def _sum_where_due(values: Array, mask: Array) -> Array:
    due = jnp.where(mask[:, :, None], values, jnp.zeros_like(values))
    return jnp.sum(due, axis=(0, 2))
