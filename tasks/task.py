"""The interface of a task, its batches, and the measures of an answer.

Time comes first everywhere. Shapes use the letters T (time steps), B (sequences in the
batch), I (input channels) and O (output channels).
"""

import abc
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array, export
from jax.core import Tracer

from .checks import check_count
from .inputs import Tokens, Vectors
from .targets import Bits, Targets

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
      inputs: `[T, B, I]`, or tokens `[T, B]`.
      targets: as the task's `targets` say, for example bits `[T, B, O]`; anything at
        steps where no answer is due.
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

    A subclass says what its `inputs` and its `targets` are; for vectors and bits,
    `input_size` and `output_size` are enough.
    """

    @property
    def inputs(self) -> Vectors | Tokens:
        """What the inputs are: by default vectors of `input_size` numbers."""
        self._check_said("inputs", "input_size", "tasks.Vectors(8)")
        return Vectors(self.input_size)

    @property
    def targets(self) -> Targets:
        """What the outputs are: by default `output_size` bits."""
        self._check_said("targets", "output_size", "tasks.Bits(8)")
        return Bits(self.output_size)

    @property
    def input_size(self) -> int:
        """I, the width of an input vector, or the number of tokens."""
        self._check_said("inputs", "input_size", "tasks.Vectors(8)")
        return self.inputs.size

    @property
    def output_size(self) -> int:
        """O, how many numbers a network outputs at a step."""
        self._check_said("targets", "output_size", "tasks.Bits(8)")
        return self.targets.size

    @property
    def input_names(self) -> tuple[str, ...]:
        """The name of each input channel, in words."""
        return self.inputs.names

    @property
    def error_name(self) -> str:
        """The unit of `errors`, in words."""
        return self.targets.error_name

    @property
    def tolerance(self) -> float:
        """A network whose mean of `errors` is at most this has solved the task."""
        return self.targets.tolerance

    @property
    def difficulty(self) -> dict[str, Difficulty]:
        """The arguments of `sample` for the difficulty, with their training values."""
        return {}

    @property
    def easiest(self) -> dict[str, int]:
        """Where a curriculum starts: by default the lowest of each difficulty."""
        return {name: int(range_.lowest) for name, range_ in self.ranges().items()}

    @property
    def beyond(self) -> tuple[dict[str, int], ...]:
        """Harder difficulties, at which a trained network is evaluated."""
        return ()

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

        By default that of the `targets`.

        Args:
          logits: `[T, B, O]`.
          batch: of this task.

        Raises:
          ValueError: if `logits` are not of the shape of the targets.
        """
        return self.targets.errors(logits, batch.targets, batch.mask)

    def input_words(self, inputs: np.ndarray) -> list[str] | None:
        """The input at each step in words, which figures show instead of channels.

        By default None: figures show the channels. A task with words has `Categories`
        as targets.

        Args:
          inputs: of one sequence, `[T, ...]`.
        """
        del inputs
        return None

    def answer_words(self, answers: np.ndarray) -> list[str] | None:
        """The answer at each step in words, if the inputs have words.

        Args:
          answers: categories, `[T]`.
        """
        del answers
        return None

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
        batch, too_long = None, False
        try:
            batch = self.make(key, batch_size, ranges)
        except OverflowError:
            too_long = True
        if not (too_long or isinstance(batch, Batch)):
            raise TypeError(
                f"batch: {type(self).__name__} makes a {type(batch).__name__}, want "
                "tasks.Batch(inputs=..., targets=..., mask=...)"
            )
        if batch is None or max(np.shape(batch.mask)[:1], default=0) >= 2**31:
            limits = {name: range_.limit for name, range_ in ranges.items()}
            got = ", ".join(map(str, limits.values()))
            raise ValueError(
                f"{', '.join(limits) or 'batch_size'}: got {got}, want less than 2**31 "
                "steps in all"
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
                f"{type(self).__name__} only has {', '.join(self.difficulty) or 'none'}"
            )
        return {
            name: check_range(name, value)
            for name, value in {**self.difficulty, **difficulty}.items()
        }

    def _check_said(self, kind: str, size: str, such_as: str) -> None:
        """Raises a `TypeError` if a subclass has neither of two properties."""
        own = type(self)
        if getattr(own, kind) is getattr(Task, kind) and (
            getattr(own, size) is getattr(Task, size)
        ):
            raise TypeError(
                f"{kind}: {own.__name__} has none, want a property that returns what "
                f"they are, such as {such_as}"
            )


def loss_bits(logits: Array, batch: Batch) -> Array:
    """Cost of each sequence's answer in bits, `[B]`: its binary cross-entropy.

    Args:
      logits: `[T, B, O]`.
      batch: with bits as targets, and the mask of the steps that count.

    Raises:
      ValueError: if `logits` are not of the shape of the targets.
    """
    return _bits_of(batch).loss(logits, batch.targets, batch.mask)


def wrong_bits(logits: Array, batch: Batch) -> Array:
    """Bits of each sequence's answer on the wrong side of one half, int `[B]`.

    Args:
      logits: `[T, B, O]`.
      batch: with bits as targets, and the mask of the steps that count.

    Raises:
      ValueError: if `logits` are not of the shape of the targets.
    """
    return _bits_of(batch).wrong(logits, batch.targets, batch.mask)


def as_channel(values: Array) -> Array:
    """`[T, B]` as one channel of an input or a target, `[T, B, 1]`."""
    return values.astype(jnp.float32)[:, :, None]


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


def _bits_of(batch: Batch) -> Bits:
    return Bits(batch.targets.shape[-1])
