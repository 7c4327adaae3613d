"""Dynamic n-grams: bits from a new random table each time (paper, section 4.4).

>>> import jax
>>> batch = DynamicNGrams(order=2).sample(jax.random.key(4), batch_size=1, length=8)
>>> batch.inputs[:, 0, 0].astype(int).tolist()
[0, 1, 0, 0, 1, 0, 0]
>>> batch.targets[:, 0, 0].astype(int).tolist()  # the next bit at every step
[1, 0, 0, 1, 0, 0, 1]
>>> batch.mask[:, 0].astype(int).tolist()
[1, 1, 1, 1, 1, 1, 1]
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array, lax

from .checks import check_count
from .task import Batch, Difficulty, Range, Task, loss_bits

_HIGHEST_ORDER = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class DynamicNGrams(Task):
    """Bits that depend each on the `order` - 1 bits before it, its context.

    Every sequence has its own table: for each context the probability of a 1, drawn
    from Beta(1/2, 1/2). The bits of the first context are uniformly random; the
    predictions of all later bits count.
    """

    order: int = 6

    def __post_init__(self) -> None:
        check_count("order", self.order)
        if self.order > _HIGHEST_ORDER:
            raise ValueError(
                f"order: got {self.order}, want at most {_HIGHEST_ORDER}: there are "
                "2**(order - 1) contexts"
            )

    @property
    def input_size(self) -> int:
        """One bit."""
        return 1

    @property
    def input_names(self) -> tuple[str, ...]:
        """The name of the one channel."""
        return ("bit",)

    @property
    def output_size(self) -> int:
        """The next bit."""
        return 1

    @property
    def error_name(self) -> str:
        """Bits, beyond those that no predictor can know."""
        return "bits above the optimum"

    @property
    def tolerance(self) -> float:
        """The paper's machine is about that far from the best predictor (figure 13)."""
        return 0.5

    @property
    def difficulty(self) -> dict[str, Difficulty]:
        """The number of bits in a sequence."""
        return {"length": 200}

    @property
    def beyond(self) -> tuple[dict[str, int], ...]:
        """None in the paper."""
        return ()

    def ranges(self, **difficulty: Difficulty | Range) -> dict[str, Range]:
        """The same as for any task, with lengths beyond the first context.

        Raises:
          TypeError, ValueError: also for lengths with nothing to predict.
        """
        ranges = super().ranges(**difficulty)
        shortest = max(self.order, 2)
        if ranges["length"].below(shortest):
            raise ValueError(
                f"length: got {difficulty['length']!r}, want at least {shortest}: a "
                f"context of {self.order - 1} bits and one to predict"
            )
        return ranges

    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """A batch with T = (longest length) - 1."""
        length = ranges["length"]
        length_key, table_key, bits_key = jax.random.split(key, 3)
        lengths = length.draw(length_key, (1, batch_size))
        num_contexts = 2 ** (self.order - 1)
        # sin^2 of a uniform angle has the distribution Beta(1/2, 1/2).
        shape = num_contexts, batch_size
        angle = jax.random.uniform(table_key, shape, jnp.float32) * jnp.pi / 2
        table = jnp.sin(angle) ** 2
        shape = length.limit, batch_size
        chances = jax.random.uniform(bits_key, shape, jnp.float32)

        def draw(context: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            place, chance = now
            probability = jnp.take_along_axis(table, context[None], axis=0)[0]
            probability = jnp.where(place < self.order - 1, 0.5, probability)
            bit = chance < probability
            return (2 * context + bit.astype(jnp.int32)) % num_contexts, bit

        start = jnp.zeros(batch_size, jnp.int32)
        _, bits = lax.scan(
            draw, start, (jnp.arange(length.limit, dtype=jnp.int32), chances)
        )
        step = jnp.arange(length.limit - 1, dtype=jnp.int32)[:, None]
        mask = (step >= self.order - 2) & (step < lengths - 1)
        bits = bits.astype(jnp.float32)[:, :, None]
        return Batch(
            inputs=jnp.where((step < lengths)[:, :, None], bits[:-1], 0),
            targets=jnp.where(mask[:, :, None], bits[1:], 0),
            mask=mask,
        )

    def errors(self, logits: Array, batch: Batch) -> Array:
        """The cost of each answer above that of `optimal_logits`, in bits, `[B]`."""
        return loss_bits(logits, batch) - loss_bits(self.optimal_logits(batch), batch)

    def optimal_logits(self, batch: Batch) -> Array:
        """The best prediction from the bits so far, `[T, B, 1]`.

        P(1 | N1, N0, c) = (N1 + 1/2) / (N1 + N0 + 1), with the numbers of ones and
        zeros that followed the context c so far (eq. 10, after Murphy 2012).

        Args:
          batch: of this task.
        """
        num_contexts = 2 ** (self.order - 1)
        batch_size = batch.inputs.shape[1]

        def predict(seen: tuple[Array, Array], now: tuple[Array, Array, Array]):
            counts, context = seen
            bit, target, counted = now
            context = (2 * context + bit) % num_contexts
            own = jnp.arange(batch_size, dtype=jnp.int32), context
            zeros, ones = counts[0][own], counts[1][own]
            logit = jnp.log((ones + 0.5) / (zeros + 0.5))
            counts = counts.at[target, *own].add(counted)
            return (counts, context), logit

        bits, targets = (
            array[:, :, 0].astype(jnp.int32) for array in (batch.inputs, batch.targets)
        )
        start = (
            jnp.zeros((2, batch_size, num_contexts)),
            jnp.zeros(batch_size, jnp.int32),
        )
        counted = batch.mask.astype(jnp.float32)
        _, logits = lax.scan(predict, start, (bits, targets, counted))
        return logits[:, :, None]
