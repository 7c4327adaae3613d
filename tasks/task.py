"""What a task is, what it makes, and how an answer is judged.

Time comes first everywhere. Shapes use the letters T (time steps), B (sequences in the
batch), I (input channels) and O (output channels).
"""

import abc
import numbers
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array

Difficulty = int | tuple[int, int]


class Range(NamedTuple):
    """A difficulty that every sequence draws for itself, uniformly.

    Attributes:
      lowest: whole number.
      highest: whole number, possibly traced: it may change from call to call.
      limit: static; the batch is as long as the longest sequence that it allows.
    """

    lowest: int
    highest: int | Array
    limit: int

    def draw(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Whole numbers from `lowest` to `highest`."""
        return jax.random.randint(key, shape, self.lowest, self.highest + 1)


class Batch(struct.PyTreeNode):
    """Sequences to train or to test on; shorter ones are padded at their end.

    Attributes:
      inputs: `[T, B, I]`.
      targets: `[T, B, O]`, bits; zero where no answer is due.
      mask: bool `[T, B]`, True at the steps where an answer is due.
    """

    inputs: Array
    targets: Array
    mask: Array


class Task(abc.ABC):
    """A task: frozen, so that it can be a static argument under `jit`."""

    @property
    @abc.abstractmethod
    def input_size(self) -> int:
        """I, the width of an input vector."""

    @property
    @abc.abstractmethod
    def output_size(self) -> int:
        """O, the width of a target vector."""

    @property
    @abc.abstractmethod
    def difficulty(self) -> dict[str, Difficulty]:
        """What sets in `sample` how hard a sequence is, with the paper's values."""

    @property
    @abc.abstractmethod
    def beyond(self) -> tuple[dict[str, int], ...]:
        """The difficulties, harder than those, at which a trained network is tried."""

    @abc.abstractmethod
    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """A batch with a checked range for every difficulty; what `sample` calls."""

    def sample(
        self, key: Array, batch_size: int, **difficulty: Difficulty | Range
    ) -> Batch:
        """A batch of fresh sequences, made on the device.

        Args:
          key: of `jax.random.key`.
          batch_size: B; static, as are the difficulties.
          **difficulty: one number, or the (lowest, highest) of a uniform distribution
            from which every sequence draws its own, or a `Range`; the task's where not
            given.

        Raises:
          TypeError, ValueError: for sizes that are not whole and positive, and for a
            difficulty that the task does not have.
        """
        check_count("batch_size", batch_size)
        if not jnp.issubdtype(getattr(key, "dtype", float), jax.dtypes.prng_key):
            raise TypeError(f"key: got {key!r}, want one of jax.random.key(seed)")
        return self.make(key, batch_size, self.ranges(**difficulty))

    def ranges(self, **difficulty: Difficulty | Range) -> dict[str, Range]:
        """The range of every difficulty: the given one, or else the task's.

        Raises:
          TypeError, ValueError: as `sample` does.
        """
        if unknown := set(difficulty) - set(self.difficulty):
            raise ValueError(
                f"{min(unknown)}: got {difficulty[min(unknown)]!r}, but "
                f"{type(self).__name__} only has {', '.join(self.difficulty)}"
            )
        return {
            name: check_range(name, value)
            for name, value in {**self.difficulty, **difficulty}.items()
        }


def loss_bits(logits: Array, batch: Batch) -> Array:
    """Cost of each sequence's answer, `[B]`: its binary cross-entropy, in bits.

    Args:
      logits: `[T, B, O]`.
      batch: with the targets and the mask of the steps that count.

    Raises:
      ValueError: if `logits` are not of the shape of the targets.
    """
    check_logits(logits, batch)
    # -log of the probability of the right bit: exact however sure the answer is.
    cost = jax.nn.softplus(jnp.where(batch.targets > 0.5, -logits, logits))
    return _sum_where_due(cost, batch.mask) / np.log(2).item()


def wrong_bits(logits: Array, batch: Batch) -> Array:
    """Bits of each sequence's answer on the wrong side of one half, int `[B]`.

    Args:
      logits: `[T, B, O]`.
      batch: with the targets and the mask of the steps that count.

    Raises:
      ValueError: if `logits` are not of the shape of the targets.
    """
    check_logits(logits, batch)
    # Written so that a logit that is not a number counts as wrong.
    right = jnp.where(batch.targets > 0.5, logits > 0, logits < 0)
    return _sum_where_due(jnp.logical_not(right).astype(jnp.int32), batch.mask)


def as_channel(values: Array) -> Array:
    """`[T, B]` as one channel of an input or a target, `[T, B, 1]`."""
    return values.astype(jnp.float32)[:, :, None]


def check_logits(logits: Array, batch: Batch) -> None:
    """Raises a `ValueError` unless `logits` have the shape of the batch's targets."""
    if logits.shape != batch.targets.shape:
        raise ValueError(
            f"logits: got shape {list(logits.shape)}, want "
            f"{list(batch.targets.shape)}, the shape of the targets [T, B, O]"
        )


def check_count(name: str, value: Any) -> int:
    """`value` if it is a whole number of at least 1.

    Raises:
      TypeError, ValueError: otherwise, with the argument's name.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: got {value!r}, want a whole number >= 1")
    if value < 1:
        raise ValueError(f"{name}: got {value}, want a whole number >= 1")
    if int(value) >= 2**31:
        raise ValueError(f"{name}: got {value}, want less than 2**31")
    return int(value)


def check_choice(name: str, value: Any, literal: Any) -> None:
    """Raises a `ValueError` unless `value` is one of those of a `Literal`."""
    if value not in get_args(literal):
        wanted = ", ".join(get_args(literal))
        raise ValueError(f"{name}: got {value!r}, want one of {wanted}")


def check_range(name: str, difficulty: Any) -> Range:
    """The `Range` that a difficulty means, be it one number, a pair or a range.

    Raises:
      TypeError, ValueError: for other than whole numbers, 1 <= lowest <= highest.
    """
    if isinstance(difficulty, Range):
        if isinstance(difficulty.highest, Array):  # traced: known on the device alone
            check_range(name, (difficulty.lowest, difficulty.limit))
        elif not check_range(name, difficulty[:2]).highest <= difficulty.limit:
            raise ValueError(f"{name}: got {difficulty}, want highest <= limit")
        return difficulty
    if not isinstance(difficulty, tuple | list):
        difficulty = (difficulty, difficulty)
    if len(difficulty) != 2:
        raise ValueError(
            f"{name}: got {difficulty}, want a number or (lowest, highest)"
        )
    lowest, highest = (check_count(name, value) for value in difficulty)
    if lowest > highest:
        raise ValueError(f"{name}: got {difficulty}, want lowest <= highest")
    return Range(lowest, highest, limit=highest)


def _sum_where_due(values: Array, mask: Array) -> Array:
    due = jnp.where(mask[:, :, None], values, jnp.zeros_like(values))
    return jnp.sum(due, axis=(0, 2))
