"""How the work of a kernel is split, and whether it fits on the chip."""

import math
from typing import NamedTuple

from jax import Array

from ntm_jax import heads
from ntm_jax.config import NTMConfig
from ntm_jax.types import NTMState

# Of the 16 MiB that Mosaic gives a kernel, for what `bytes_on_chip` counts.
ROOM = 15 * 2**20
# Sequences in a tile. The program grows with them, and so does the time to compile it.
LARGEST_TILE = 32
# A vector register of a TPU: arrays on the chip have whole ones in their last two axes.
SUBLANES, LANES = 8, 128


class Plan(NamedTuple):
    """How sequences and steps are split between programs."""

    tile: int  # sequences in a program
    chunk: int  # K, steps in a program

    @classmethod
    def of(
        cls, config: NTMConfig, state: NTMState, xs: Array, save_every: int | None
    ) -> "Plan":
        """The largest tile that fits; if not even the smallest does, shorter chunks.

        Raises:
          ValueError: if nothing fits.
        """
        length, sizes = len(xs), tiles(math.prod(xs.shape[1:-1]))
        longest = min(save_every or math.isqrt(length), length)
        chunks = [longest] if save_every else halves(longest)
        plans = [cls(tile, chunk) for chunk in chunks for tile in sizes]
        num_slots, hidden = state.memory.shape[-2], state.controller[0].shape[-1]
        of_machine = config, num_slots, hidden, xs.shape[-1]
        for plan in plans:
            if bytes_on_chip(*of_machine, *plan) <= ROOM:
                return plan
        tile, chunk = plans[-1]
        mib = bytes_on_chip(*of_machine, tile, chunk) / 2**20
        raise ValueError(
            f"implementation: got 'pallas' with {num_slots} slots of size "
            f"{config.slot_size}, {tile} sequences and {chunk} steps of which take "
            f"{mib:.0f} MiB on the chip, want at most {ROOM // 2**20} MiB; pass "
            "implementation='auto'"
            + (", or a smaller save_every" if save_every else "")
        )


def halves(number: int) -> list[int]:
    """The number, half of it, and so on until 1.

    >>> halves(6)
    [6, 3, 2, 1]
    """
    return [number] if number == 1 else [number, *halves(-(-number // 2))]


def tiles(batch: int) -> list[int]:
    """Sizes of a tile, the largest first: the whole batch, or whole registers of it.

    >>> tiles(20), tiles(100)
    ([20, 16, 8], [32, 24, 16, 8])
    """
    whole = [batch] if batch <= LARGEST_TILE else []
    largest = min(batch - 1, LARGEST_TILE) // SUBLANES * SUBLANES
    return [*whole, *range(largest, 0, -SUBLANES)]


def bytes_on_chip(
    config: NTMConfig, num_slots: int, hidden: int, inputs: int, tile: int, chunk: int
) -> int:
    """What the backward pass holds at once, estimated; the forward pass holds less."""
    m, reads = config.slot_size, config.num_read_heads
    num_heads = reads + config.num_write_heads
    emitted = num_heads * heads.addressing_size(m, config.shift_range)
    emitted += config.num_write_heads * 2 * m
    memory = tile * padded(m, num_slots)
    # Weightings before the step, and cosines; inverse norms; reads; what layers give.
    weighting = padded(num_heads, num_slots)
    row = (
        tile * (2 * weighting + padded(num_heads, 3))
        + padded(tile, num_slots)
        + tile * padded(reads, m)
        + 2 * padded(tile, hidden)
        + 2 * (padded(tile, emitted) + padded(tile, 4 * hidden))
    )
    weights = padded(inputs + reads * m + hidden, 4 * hidden) + padded(hidden, emitted)
    # Whatever streams past is there twice: in use, and on its way. So are the memory
    # before the chunk and the cotangents of the last and the first memory. The rest is
    # for values within a step.
    shifted = num_heads * padded(2 * config.shift_range + 1, num_slots)
    within = 2 * memory + 8 * tile * (weighting + shifted)
    return 4 * ((chunk + 6) * memory + 2 * chunk * row + 2 * weights + within)


def padded(rows: int, columns: int) -> int:
    """Numbers that an array of that size takes on the chip.

    >>> padded(3, 100), padded(20, 129)
    (512, 6144)
    """
    sublanes = min(SUBLANES, 1 << (rows - 1).bit_length())
    return -(-rows // sublanes) * sublanes * -(-columns // LANES) * LANES
