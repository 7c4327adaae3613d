"""Stack RNN: a recurrent network with continuous stacks (Joulin and Mikolov 2015).

*Inferring Algorithmic Patterns with Stack-Augmented Recurrent Nets*, arXiv:1503.01007,
section 3, with the no-operation and with several stacks. A slot of the paper's stacks
is one number (`slot_size=1`). The vectors are those of Delétang et al. 2023
(arXiv:2207.02098), who compare this network with others on formal languages.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from ntm_jax.checks import check_count

# What an empty slot holds, which no number that is pushed can be.
EMPTY = -1.0
# How many slots, from the top, the network reads (the paper's k).
READ = 2


class StackRNN(nn.RNNCellBase):
    """One step; the carry is the hidden state `[..., H]` and the stacks.

    Attributes:
      units: H, units of the hidden state.
      num_stacks: S, stacks, each with its own actions.
      stack_size: N, slots of a stack, at least 2; what is pushed further is lost.
      slot_size: M, numbers in a slot.
    """

    units: int = 64
    num_stacks: int = 1
    stack_size: int = 64
    slot_size: int = 8

    def __post_init__(self) -> None:
        """Checks the sizes."""
        for name in ("units", "num_stacks", "slot_size"):
            check_count(name, getattr(self, name))
        check_count("stack_size", self.stack_size, READ)
        super().__post_init__()

    @nn.compact
    def __call__(
        self, carry: tuple[Array, Array], inputs: Array
    ) -> tuple[tuple[Array, Array], Array]:
        """The carry after the step, and the hidden state as the output."""
        hidden, stacks = carry
        tops = stacks[..., :READ, :]
        seen = [inputs, hidden, tops.reshape(*tops.shape[:-3], -1)]
        # h = σ(U x + R h' + P s'): one dense layer has all three matrices.
        dense = nn.Dense(self.units, name="hidden")
        hidden = nn.sigmoid(dense(jnp.concatenate(seen, axis=-1)))
        shape = *hidden.shape[:-1], self.num_stacks, -1
        actions = nn.Dense(3 * self.num_stacks, name="actions")(hidden)
        pushed = nn.Dense(self.num_stacks * self.slot_size, name="pushed")(hidden)
        stacks = act(
            stacks,
            jax.nn.softmax(actions.reshape(shape)),
            nn.sigmoid(pushed.reshape(shape)),
        )
        return (hidden, stacks), hidden

    @nn.nowrap
    def initialize_carry(
        self, rng: Any, input_shape: tuple[int, ...]
    ) -> tuple[Array, Array]:
        """Zeros, and empty stacks `[..., S, N, M]`."""
        del rng
        batch = input_shape[:-1]
        stacks = *batch, self.num_stacks, self.stack_size, self.slot_size
        hidden = jnp.zeros((*batch, self.units), jnp.float32)
        return hidden, jnp.full(stacks, EMPTY, jnp.float32)

    @property
    def num_feature_axes(self) -> int:
        """One: an input is a vector."""
        return 1


def act(stacks: Array, actions: Array, pushed: Array) -> Array:
    """The stacks after a mixture of push, pop and no operation.

    For a pure push, each slot takes the one above it, and the top what is pushed. For a
    pure pop, each takes the one below it.

    Args:
      stacks: `[..., S, N, M]`, the top first.
      actions: `[..., S, 3]`, the probabilities of push, pop and no operation.
      pushed: `[..., S, M]`.
    """
    empty = jnp.full_like(stacks[..., :1, :], EMPTY)
    down = jnp.concatenate([pushed[..., None, :], stacks[..., :-1, :]], axis=-2)
    up = jnp.concatenate([stacks[..., 1:, :], empty], axis=-2)
    push, pop, keep = (actions[..., i, None, None] for i in range(3))
    return push * down + pop * up + keep * stacks
