"""Tape-RNN: a recurrent network with a tape that it moves (Delétang et al. 2023).

*Neural Networks and the Chomsky Hierarchy*, arXiv:2207.02098, section 4: in a step, the
network writes at its place on the tape, and then moves. The benchmark's network stays,
moves by one slot in either direction, or jumps by the length of the input. A cell sees
one step at a time and does not know that length; `moves` can have a fixed one. The
hidden state is bounded by tanh: with the relu of the benchmark's code, it grew without
bound here.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ntm_jax.checks import check_count


class TapeRNN(nn.RNNCellBase):
    """One step; the carry is the hidden state `[..., H]` and the tapes.

    Attributes:
      units: H, units of the hidden state.
      num_tapes: S, tapes, each with its own actions.
      tape_size: N, slots of a tape, which is a ring.
      slot_size: M, numbers in a slot.
      write_units: units of the two layers between the hidden state and what is written.
      moves: slots by which the head can move in a step.
    """

    units: int = 64
    num_tapes: int = 1
    tape_size: int = 64
    slot_size: int = 8
    write_units: int = 64
    moves: tuple[int, ...] = (0, -1, 1)

    def __post_init__(self) -> None:
        """Checks the sizes."""
        for name in ("units", "num_tapes", "tape_size", "slot_size", "write_units"):
            check_count(name, getattr(self, name))
        if not self.moves:
            raise ValueError("moves: got none, want at least one, such as (0, -1, 1)")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, carry: tuple[Array, Array], inputs: Array
    ) -> tuple[tuple[Array, Array], Array]:
        """The carry after the step, and the hidden state as the output."""
        hidden, tapes = carry
        here = tapes[..., 0, :]
        seen = [inputs, hidden, here.reshape(*here.shape[:-2], -1)]
        dense = nn.Dense(self.units, name="hidden")
        hidden = nn.tanh(dense(jnp.concatenate(seen, axis=-1)))
        written = hidden
        for layer in range(2):
            written = nn.relu(
                nn.Dense(self.write_units, name=f"write_{layer}")(written)
            )
        written = nn.Dense(self.num_tapes * self.slot_size, name="written")(written)
        actions = nn.Dense(self.num_tapes * len(self.moves), name="actions")(hidden)
        shape = *hidden.shape[:-1], self.num_tapes, -1
        tapes = act(
            tapes,
            jax.nn.softmax(actions.reshape(shape)),
            written.reshape(shape),
            self.moves,
        )
        return (hidden, tapes), hidden

    @nn.nowrap
    def initialize_carry(
        self, rng: Any, input_shape: tuple[int, ...]
    ) -> tuple[Array, Array]:
        """Zeros, and tapes `[..., S, N, M]` of zeros."""
        del rng
        batch = input_shape[:-1]
        tapes = *batch, self.num_tapes, self.tape_size, self.slot_size
        hidden = jnp.zeros((*batch, self.units), jnp.float32)
        return hidden, jnp.zeros(tapes, jnp.float32)

    @property
    def num_feature_axes(self) -> int:
        """One: an input is a vector."""
        return 1


def act(tapes: Array, actions: Array, written: Array, moves: tuple[int, ...]) -> Array:
    """The tapes after something is written at the head, and a mixture of moves.

    Args:
      tapes: `[..., S, N, M]`, from the slot at the head on.
      actions: `[..., S, K]`, the probability of each move.
      written: `[..., S, M]`.
      moves: K distances. A pure move by 1 brings the head to the next slot.
    """
    tapes = jnp.concatenate([written[..., None, :], tapes[..., 1:, :]], axis=-2)
    return sum(
        actions[..., i, None, None] * jnp.roll(tapes, -move, axis=-2)
        for i, move in enumerate(moves)
    )  # type: ignore[return-value]
