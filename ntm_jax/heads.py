"""Heads: how the controller's output becomes k, β, g, s, γ and the vectors e and a.

Section 3.3 of Graves, Wayne and Danihelka 2014 (arXiv:1410.5401). A head applies one
affine map to the controller's output and splits the result into pieces. An activation
then brings each piece into its range. Shapes use the letters of `ntm_jax.addressing`,
and P for the number of values that a head emits.

For emitted values up to 1e36, every piece is in its range and its gradient is finite.
`emit` is finite for parameters and controller outputs up to 1e18.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax.linen import initializers
from jax import Array

from ntm_jax.addressing import softmax
from ntm_jax.exported import exportable

ACTIVATIONS = {
    "identity": lambda x: x,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
}

# Initial biases, in logits.
_GATE = 2.0  # of the gate: +2 prefers the content weighting, -2 the previous one
_STAY = 2.0  # of the shift by 0
_MOVE = 4.0  # of the shift by +1


@exportable
class Addressing(NamedTuple):
    """The addressing parameters of each head, as `ntm_jax.address` takes them.

    Attributes:
      key: `[..., H, M]`, the key k.
      strength: `[..., H]`, the key strength β >= 0.
      gate: `[..., H]`, the gate g in (0, 1).
      shift: `[..., H, S]`, the shift weighting s. It sums to 1 over the shifts -R to R.
      gamma: `[..., H]`, the exponent γ >= 1.
    """

    key: Array
    strength: Array
    gate: Array
    shift: Array
    gamma: Array


@exportable
class Writing(NamedTuple):
    """The erase and add vectors of each write head, as `ntm_jax.write` takes them.

    Attributes:
      erase: `[..., H, M]`, the erase vector e with entries in (0, 1).
      add: `[..., H, M]`, the add vector a.
    """

    erase: Array
    add: Array


def addressing_size(slot_size: int, shift_range: int) -> int:
    """Number of values that a read head emits: k, β, g, s and γ."""
    return sum(_addressing_sizes(slot_size, shift_range))


def writing_size(slot_size: int, shift_range: int) -> int:
    """Number of values that a write head emits: those of a read head, e and a."""
    return addressing_size(slot_size, shift_range) + 2 * slot_size


def init(
    key: Array, input_size: int, num_heads: int, size: int, scale: float = 1.0
) -> dict[str, Array]:
    """Parameters of `num_heads` heads: kernel `[input_size, H, P]`, bias `[H, P]`.

    Each head has the Glorot-uniform kernel of a separate dense layer, times `scale`.
    """
    glorot = initializers.glorot_uniform(in_axis=0, out_axis=2, batch_axis=1)
    return {
        "kernel": scale * glorot(key, (input_size, num_heads, size), jnp.float32),
        "bias": jnp.zeros((num_heads, size)),
    }


def tape_biases(
    params: dict[str, Array],
    slot_size: int,
    shift_range: int,
    *,
    num_moving: int,
    strength: float = 0.0,
) -> dict[str, Array]:
    """Adds biases with which untrained heads move over the memory as over a tape.

    The gate prefers the previous weighting to content. The first `num_moving` heads
    shift by +1 at every step, and the others stay at their slot.

    If a write head moves and the read heads stay, an untrained machine writes one slot
    after another, and its read heads stay at the first slot written. If a read head
    moves too, it is always at the slot written last, as on a stack. Training then only
    has to change what does not suit the task. Heads without a preference would have to
    learn three things at once: where to write, how to move and how to return.

    The bias for moving is larger than the bias for staying. A machine can learn
    sequences of one vector in two ways: it writes to the slot where the read heads
    stay, or it moves the read heads. Only the second way extends to longer sequences.

    Args:
      params: the heads' parameters.
      slot_size: M.
      shift_range: R.
      num_moving: how many heads move.
      strength: bias of the key strength β of the heads that stay. These heads may have
        to learn to move by content. With a larger bias, content influences them from
        the start.

    Returns:
      The parameters with these biases.
    """
    is_moving = jnp.arange(len(params["bias"])) < num_moving
    stays = _addressing_biases(slot_size, shift_range, gate=-_GATE, strength=strength)
    moves = _addressing_biases(slot_size, shift_range, gate=-_GATE, moves=True)
    return _add_biases(params, jnp.where(is_moving[:, None], moves, stays))


def content_biases(
    params: dict[str, Array], slot_size: int, shift_range: int, *, strength: float
) -> dict[str, Array]:
    """Adds biases with which untrained heads address by content.

    The gate prefers content to the previous weighting, the heads do not shift, and
    β = softplus(`strength`).

    A key is a function of what the controller has seen. If the initial slots differ, an
    untrained machine therefore uses a different slot for each context, like a hash
    table. Training then only has to learn which contexts should share a slot. If all
    initial slots are equal, every write changes them all equally, and they stay equal.

    Args:
      params: the heads' parameters.
      slot_size: M.
      shift_range: R.
      strength: bias of the key strength β.

    Returns:
      The parameters with these biases.
    """
    biases = _addressing_biases(slot_size, shift_range, gate=_GATE, strength=strength)
    return _add_biases(params, biases)


def _addressing_biases(
    slot_size: int,
    shift_range: int,
    *,
    gate: float,
    strength: float = 0.0,
    moves: bool = False,
) -> Array:
    """Biases `[P]` of k, β, g, s and γ of one head.

    Args:
      slot_size: M.
      shift_range: R.
      gate: bias of g.
      strength: bias of β.
      moves: whether the head prefers the shift by +1 or the shift by 0.
    """
    sizes = _addressing_sizes(slot_size, shift_range)
    key, beta, _, shift, gamma = (jnp.zeros(size) for size in sizes)
    if moves:
        shift = shift.at[shift_range + min(1, shift_range)].set(_MOVE)
    else:
        shift = shift.at[shift_range].set(_STAY)
    return jnp.concatenate([key, beta + strength, jnp.array([gate]), shift, gamma])


def _add_biases(params: dict[str, Array], biases: Array) -> dict[str, Array]:
    """The parameters with `biases`, `[P]` or `[H, P]`, added to the first P values."""
    bias = params["bias"]
    return {**params, "bias": bias.at[:, : biases.shape[-1]].add(biases)}


def emit(params: dict[str, Array], hidden: Array, clip: float | None = None) -> Array:
    """The values `[..., H, P]` that the heads emit.

    Args:
      params: the heads' parameters.
      hidden: `[..., units]`, the controller's output.
      clip: bound on the absolute values, as in Collier and Beel 2018
        (arXiv:1807.08518). None for no bound.
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
    """Splits the first values that a head emits into k, β, g, s and γ.

    An activation brings each into its range. With `sharpening="none"`, γ is 1.
    """
    *ends, size = itertools.accumulate(_addressing_sizes(slot_size, shift_range))
    key, strength, gate, shift, gamma = jnp.split(emitted[..., :size], ends, axis=-1)
    sharper = jax.nn.softplus(gamma)[..., 0]
    return Addressing(
        key=ACTIVATIONS[key_activation](key),
        strength=jax.nn.softplus(strength)[..., 0],
        gate=jax.nn.sigmoid(gate)[..., 0],
        shift=softmax(shift),
        gamma=1 + sharper if sharpening == "learned" else jnp.ones_like(sharper),
    )


def writing(emitted: Array, slot_size: int, add_activation: str = "tanh") -> Writing:
    """Splits the last values that a write head emits into e and a.

    An activation brings each into its range.
    """
    erase, add = jnp.split(emitted[..., -2 * slot_size :], 2, axis=-1)
    return Writing(erase=jax.nn.sigmoid(erase), add=ACTIVATIONS[add_activation](add))


def _addressing_sizes(slot_size: int, shift_range: int) -> tuple[int, ...]:
    """Number of values of k, β, g, s and γ each, in the order in which they stand."""
    return slot_size, 1, 1, 2 * shift_range + 1, 1
