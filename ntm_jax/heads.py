"""From the controller's output to what each head does: k, β, g, s, γ and e, a.

Section 3.3 of Graves, Wayne and Danihelka 2014 (arXiv:1410.5401). A head is one affine
map of the controller's output, cut into pieces, each brought into its range. Letters as
in `ntm_jax.addressing`; P is the number of values that a head emits.

Every piece is in its range, with a finite gradient, for emitted values up to 1e36; and
`emit` is finite for parameters and outputs of the controller up to 1e18.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.linen import initializers
from jax import Array

from ntm_jax.addressing import softmax

ACTIVATIONS = {
    "identity": lambda x: x,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}

# Biases, in logits, of heads that have not learned: for content, or against it; to stay
# where they are, or to move on.
_GATE, _STAY, _MOVE = 2.0, 2.0, 4.0


class Addressing(NamedTuple):
    """What the heads emit to `ntm_jax.address`, in the order of its arguments.

    Attributes:
      key: `[..., H, M]`, k.
      strength: `[..., H]`, β >= 0.
      gate: `[..., H]`, g in (0, 1).
      shift: `[..., H, S]`, s, summing to 1 over the shifts -R to R.
      gamma: `[..., H]`, γ >= 1.
    """

    key: Array
    strength: Array
    gate: Array
    shift: Array
    gamma: Array


class Writing(NamedTuple):
    """What the write heads emit to `ntm_jax.write`, in the order of its arguments.

    Attributes:
      erase: `[..., H, M]`, e in (0, 1).
      add: `[..., H, M]`, a.
    """

    erase: Array
    add: Array


def addressing_size(slot_size: int, shift_range: int) -> int:
    """Values that a read head emits: k, β, g, s and γ."""
    return sum(_addressing_sizes(slot_size, shift_range))


def writing_size(slot_size: int, shift_range: int) -> int:
    """Values that a write head emits: those of a read head, e and a."""
    return addressing_size(slot_size, shift_range) + 2 * slot_size


def init(
    key: Array, input_size: int, num_heads: int, size: int, scale: float = 1.0
) -> dict[str, Array]:
    """Parameters of `num_heads` heads: kernel `[input_size, H, P]`, bias `[H, P]`.

    Each head starts as a dense layer of its own would, `scale` times Glorot-uniform.
    """
    glorot = initializers.glorot_uniform(in_axis=0, out_axis=2, batch_axis=1)
    return {
        "kernel": scale * glorot(key, (input_size, num_heads, size)),
        "bias": jnp.zeros((num_heads, size)),
    }


def like_a_tape(
    params: dict[str, Array],
    slot_size: int,
    shift_range: int,
    *,
    num_moving: int,
    strength: float = 0.0,
) -> dict[str, Array]:
    """The parameters, with biases by which heads at first move as on a tape.

    With little regard to content, the first `num_moving` go to the next slot at every
    step and the others stay: where a write head moves and read heads stay, an untrained
    machine writes slot after slot and keeps in sight where it began; where a read head
    moves too, it stays with what was written last, as on a stack. It has but to unlearn
    what a task does not want, while heads without a preference have to find, all at
    once, where to write, how to move and how to come back.

    Moving is the stronger preference. A sequence of one vector can be learned by
    writing where the read heads wait as well as by moving these, and only the second
    carries over to longer ones.

    Heads that stay are those that a task may send elsewhere by content; with the bias
    `strength` they notice any from the beginning.
    """
    is_moving = jnp.arange(len(params["bias"])) < num_moving
    stays = _inclined(slot_size, shift_range, gate=-_GATE, strength=strength)
    moves = _inclined(slot_size, shift_range, gate=-_GATE, moves=True)
    return _biased(params, jnp.where(is_moving[:, None], moves, stays))


def by_content(
    params: dict[str, Array], slot_size: int, shift_range: int, *, strength: float
) -> dict[str, Array]:
    """The parameters, with biases by which heads at first look for content.

    With little regard to where they looked before, they go to the slots that are most
    like their keys, with β = softplus(`strength`), and stay there. A key is a function
    of what the controller has seen; so where the slots differ from the beginning, an
    untrained machine writes and reads in another place for every context, as in a hash
    table. It has but to learn which contexts are to share a place. Slots that are all
    alike it would make more alike still.
    """
    return _biased(
        params, _inclined(slot_size, shift_range, gate=_GATE, strength=strength)
    )


def _inclined(
    slot_size: int,
    shift_range: int,
    *,
    gate: float,
    strength: float = 0.0,
    moves: bool = False,
) -> Array:
    """What a head is to emit for its addressing before it has learned."""
    sizes = _addressing_sizes(slot_size, shift_range)
    key, beta, _, shift, gamma = (jnp.zeros(size) for size in sizes)
    if moves:
        shift = shift.at[shift_range + min(1, shift_range)].set(_MOVE)
    else:
        shift = shift.at[shift_range].set(_STAY)
    return jnp.concatenate([key, beta + strength, jnp.array([gate]), shift, gamma])


def _biased(params: dict[str, Array], addressing: Array) -> dict[str, Array]:
    """The parameters, with that `[P]`, or `[H, P]`, added to what the heads emit."""
    bias = params["bias"]
    return {**params, "bias": bias.at[:, : addressing.shape[-1]].add(addressing)}


def emit(params: dict[str, Array], hidden: Array, clip: float | None = None) -> Array:
    """What the heads emit, `[..., H, P]`, for the controller's output `[..., units]`.

    Values beyond ±`clip` are clipped, as Collier and Beel 2018 (arXiv:1807.08518) do.
    """
    emitted = jnp.einsum("...i,ihp->...hp", hidden, params["kernel"])
    bias = params["bias"]
    emitted = emitted + bias.reshape((1,) * (emitted.ndim - 2) + bias.shape)
    return emitted if clip is None else jnp.clip(emitted, -clip, clip)


def addressing(
    emitted: Array,
    slot_size: int,
    shift_range: int,
    key_activation: str = "tanh",
    sharpening: str = "learned",
) -> Addressing:
    """The first part of what a head emits, each piece brought into its range."""
    ends = list(itertools.accumulate(_addressing_sizes(slot_size, shift_range)))
    key, strength, gate, shift, gamma, _ = jnp.split(emitted, ends, axis=-1)
    learned = 1 if sharpening == "learned" else 0
    return Addressing(
        key=ACTIVATIONS[key_activation](key),
        strength=jax.nn.softplus(strength)[..., 0],
        gate=jax.nn.sigmoid(gate)[..., 0],
        shift=softmax(shift),
        gamma=1 + learned * jax.nn.softplus(gamma)[..., 0],
    )


def writing(emitted: Array, slot_size: int, add_activation: str = "tanh") -> Writing:
    """The last part of what a write head emits, each piece brought into its range."""
    erase, add = jnp.split(emitted[..., -2 * slot_size :], 2, axis=-1)
    return Writing(erase=jax.nn.sigmoid(erase), add=ACTIVATIONS[add_activation](add))


def _addressing_sizes(slot_size: int, shift_range: int) -> tuple[int, ...]:
    """Values of k, β, g, s and γ: in this order they stand in what a head emits."""
    return slot_size, 1, 1, 2 * shift_range + 1, 1
