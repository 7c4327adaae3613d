"""Repeat copy: a sequence several times, then an end marker (paper, section 4.2).

>>> import jax
>>> task = RepeatCopy(num_bits=1)
>>> batch = task.sample(jax.random.key(1), batch_size=1, length=2, repeats=3)
>>> batch.targets[:, 0].astype(int).tolist()  # the bit and the end marker
[[0, 0], [0, 0], [0, 0], [0, 0], [1, 0], [0, 0], [1, 0], [0, 0], [1, 0], [0, 1]]
>>> batch.mask[:, 0].astype(int).tolist()
[0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
"""

import dataclasses
import math
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from .checks import check_choice
from .task import Batch, Difficulty, Range, as_channel
from .vectors import VectorTask, taken

RepeatCode = Literal["scalar", "pulses"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RepeatCopy(VectorTask):
    """Sequences of `num_bits` wide vectors, a delimiter and the number of repeats.

    The number of repeats has a channel of its own, in one of two codes:

    * `"scalar"`, as in the paper: one number at the delimiter, normalised to mean 0 and
      variance 1 over the numbers of the paper's training, 1 to 10. A network has never
      seen the values of larger numbers.
    * `"pulses"`: as many ones as repeats, one at each step after the delimiter. It can
      express any number, and a network that counts them can count further.

    The answer is the copies, then a 1 on an output channel of its own. There is no
    input while the answer is due.
    """

    repeat_code: RepeatCode = "scalar"

    other_inputs: ClassVar[tuple[str, ...]] = ("delimiter", "repeats")
    other_outputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("repeat_code", self.repeat_code, RepeatCode)

    @property
    def difficulty(self) -> dict[str, Difficulty]:
        """The number of vectors in a sequence, and of its copies."""
        return {"length": (1, 10), "repeats": (1, 10)}

    @property
    def beyond(self) -> tuple[dict[str, int], ...]:
        """Twice the length, and twice the repeats (paper, figure 8)."""
        return {"length": 20, "repeats": 10}, {"length": 10, "repeats": 20}

    def make(self, key: Array, batch_size: int, ranges: dict[str, Range]) -> Batch:
        """A batch as long as the longest sequence with its answer."""
        length, repeats = ranges["length"], ranges["repeats"]
        length_key, repeats_key, bits_key = jax.random.split(key, 3)
        lengths = length.draw(length_key, (1, batch_size))
        counts = repeats.draw(repeats_key, (1, batch_size))
        bits = self.draw_bits(bits_key, length.limit, batch_size)

        pulses = self.repeat_code == "pulses"
        said = repeats.limit if pulses else 0
        num_steps = length.limit + 1 + said + length.limit * repeats.limit + 1
        step = jnp.arange(num_steps, dtype=jnp.int32)[:, None]
        presented = taken(bits, step, step < lengths)
        delimiter = step == lengths
        if pulses:
            number = (step > lengths) & (step <= lengths + counts)
            asked = lengths + counts
        else:
            number = jnp.where(delimiter, self._normalised(counts), 0)
            asked = lengths

        answered = step - asked - 1
        copied = (answered >= 0) & (answered < lengths * counts)
        end = answered == lengths * counts
        answers = taken(bits, answered % lengths, copied)
        return Batch(
            inputs=jnp.concatenate(
                [presented, as_channel(delimiter), as_channel(number)], axis=-1
            ),
            targets=jnp.concatenate([answers, as_channel(end)], axis=-1),
            mask=copied | end,
        )

    def _normalised(self, counts: Array) -> Array:
        """Mean 0 and variance 1 over the repeats of the paper's training."""
        lowest, highest = 1, 10
        mean = (lowest + highest) / 2
        deviation = math.sqrt(((highest - lowest + 1) ** 2 - 1) / 12)
        return (counts.astype(jnp.float32) - mean) / deviation
