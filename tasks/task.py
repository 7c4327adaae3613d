"""The interface of a task, its batches, and the measures of an answer.

Time comes first everywhere. Shapes use the letters T (time steps), B (sequences in the
batch), I (input channels) and O (output channels).
"""

import abc
import numbers
from typing import Any, ClassVar, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array, export
from jax.core import Tracer

Difficulty = int | tuple[int, int]


class Range(NamedTuple):
    """A difficulty that every sequence draws for itself.

    Attributes:
      lowest: integer.
      highest: integer. Both can be traced, and so change from call to call.
      limit: static; the batch is as long as the longest sequence that it allows.
      at_highest: static; fraction of the sequences that take the highest. The others
        draw uniformly.
    """

    lowest: int | Array
    highest: int | Array
    limit: int
    at_highest: float = 0.0

    def below(self, least: int) -> bool:
        """Whether the lowest is known and less than that."""
        known = not isinstance(self.lowest, Tracer)
        return known and bool(self.lowest < least)

    def draw(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Integers from `lowest` to `highest`."""
        if not self.at_highest:
            return self._uniform(key, shape)
        chance_key, key = jax.random.split(key)
        drawn = self._uniform(key, shape)
        chance = jnp.float32(self.at_highest)
        hardest = jax.random.bernoulli(chance_key, chance, shape)
        return jnp.where(hardest, self.highest, drawn)

    def _uniform(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Of one dtype: with `jax_enable_x64`, JAX's default draws other numbers."""
        top = self.highest + 1
        return jax.random.randint(key, shape, self.lowest, top, jnp.int32)


class Batch(struct.PyTreeNode):
    """Sequences for training or evaluation; shorter ones are padded at their end.

    Attributes:
      inputs: `[T, B, I]`.
      targets: `[T, B, O]`, bits; zero at steps where no answer is due.
      mask: bool `[T, B]`, True at the steps where an answer is due.
    """

    inputs: Array
    targets: Array
    mask: Array

    @property
    def steps(self) -> Array:
        """Each sequence's steps up to its last answer, bool `[T, B]`."""
        return jnp.flip(jnp.cumsum(jnp.flip(self.mask, 0), 0), 0) > 0


export.register_namedtuple_serialization(Range, serialized_name="tasks.Range")
export.register_pytree_node_serialization(
    Batch,
    serialized_name="tasks.Batch",
    serialize_auxdata=lambda aux_data: b"",
    deserialize_auxdata=lambda serialized_aux_data: (),
    from_children=lambda aux_data, children: Batch(*children),
)


class Task(abc.ABC):
    """A task: frozen, so that it can be a static argument under `jit`.

    Attributes:
      error_name: the unit of `errors`, in words.
      tolerance: a network whose mean of `errors` is at most this has solved the task.
    """

    error_name: ClassVar[str] = "wrong bits"
    tolerance: ClassVar[float] = 0.0

    @property
    @abc.abstractmethod
    def input_size(self) -> int:
        """I, the width of an input vector."""

    @property
    @abc.abstractmethod
    def output_size(self) -> int:
        """O, the width of a target vector."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """The name of each input channel, in words."""
        return tuple(f"channel {i + 1}" for i in range(self.input_size))

    @property
    @abc.abstractmethod
    def difficulty(self) -> dict[str, Difficulty]:
        """The arguments of `sample` for the difficulty, with the paper's values."""

    @property
    def easiest(self) -> dict[str, int]:
        """Where a curriculum starts: by default the lowest of each difficulty."""
        return {name: int(range_.lowest) for name, range_ in self.ranges().items()}

    @property
    @abc.abstractmethod
    def beyond(self) -> tuple[dict[str, int], ...]:
        """Harder difficulties, at which a trained network is evaluated."""

    def trials(self) -> tuple[dict[str, int], ...]:
        """The difficulties of an evaluation: the hardest of training, then `beyond`."""
        hardest = {name: range_.limit for name, range_ in self.ranges().items()}
        return hardest, *self.beyond

    def min_slots(self, ranges: dict[str, Range]) -> int:
        """The fewest slots that a memory needs; 1 if no bound is known."""
        del ranges
        return 1

    @abc.abstractmethod
    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """A batch for the checked range of every difficulty; `sample` calls it."""

    def errors(self, logits: Array, batch: Batch) -> Array:
        """The error of each sequence's answer, `[B]`; 0 for the best possible answer.

        Args:
          logits: `[T, B, O]`.
          batch: of this task.

        Raises:
          ValueError: if `logits` are not of the shape of the targets.
        """
        return wrong_bits(logits, batch).astype(jnp.float32)

    def sample(
        self, key: Array, batch_size: int, **difficulty: Difficulty | Range
    ) -> Batch:
        """A batch of random sequences, made on the device.

        Args:
          key: of `jax.random.key`.
          batch_size: B; static, as are the difficulties.
          **difficulty: one number, or the (lowest, highest) of a uniform distribution
            from which every sequence draws its own, or a `Range`. The default is the
            task's own.

        Raises:
          TypeError, ValueError: for sizes that are not positive integers, or too large
            for an array, and for a difficulty that the task does not have.
        """
        check_count("batch_size", batch_size)
        dtype = getattr(key, "dtype", None)
        typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
        if not typed or key.shape:
            got = f"{dtype}{list(key.shape)}" if typed else repr(key)
            raise TypeError(f"key: got {got}, want one key of jax.random.key(seed)")
        ranges = self.ranges(**difficulty)
        try:
            batch = self.make(key, batch_size, ranges)
        except OverflowError:
            batch = None
        if batch is None or len(batch.mask) >= 2**31:
            limits = {name: range_.limit for name, range_ in ranges.items()}
            got = ", ".join(map(str, limits.values()))
            raise ValueError(
                f"{', '.join(limits)}: got {got}, want less than 2**31 steps in all"
            )
        return batch

    def ranges(self, **difficulty: Difficulty | Range) -> dict[str, Range]:
        """The range of every difficulty: the given one, or the task's own.

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
    # -log of the probability of the right bit, exact for logits of any size.
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
    # A logit that is NaN counts as wrong.
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
    """`value` if it is an integer of at least 1.

    Raises:
      TypeError, ValueError: otherwise, with the argument's name.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: got {value!r}, want an integer >= 1")
    if value < 1:
        raise ValueError(f"{name}: got {value}, want an integer >= 1")
    if int(value) >= 2**31:
        raise ValueError(f"{name}: got {value}, want less than 2**31")
    return int(value)


def check_choice(name: str, value: Any, literal: Any) -> None:
    """Raises a `ValueError` unless `value` is one of those of a `Literal`."""
    if value not in get_args(literal):
        wanted = ", ".join(get_args(literal))
        raise ValueError(f"{name}: got {value!r}, want one of {wanted}")


def check_range(name: str, difficulty: Any) -> Range:
    """The `Range` of a difficulty that is one number, a pair or a `Range`.

    Raises:
      TypeError, ValueError: unless these are integers, 1 <= lowest <= highest.
    """
    if isinstance(difficulty, Range):
        # Traced values are known on the device only.
        known = [v for v in difficulty[:2] if not isinstance(v, Tracer)]
        known = [int(v) if isinstance(v, Array) else v for v in known]
        ordered = [check_count(name, value) for value in (*known, difficulty.limit)]
        if ordered != sorted(ordered):
            raise ValueError(
                f"{name}: got {difficulty}, want lowest <= highest <= limit"
            )
        part = difficulty.at_highest
        if not (isinstance(part, int | float) and 0 <= part <= 1):
            raise ValueError(f"{name}: got {difficulty}, want at_highest from 0 to 1")
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
