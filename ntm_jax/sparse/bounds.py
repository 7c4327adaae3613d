r"""How far content can move a weighting at most, without looking at the memory.

Let a be the shifted weighting without its content part, and c what content adds to it.
All entries of c sum to g, the gate, and none is larger than g m, where m is the largest
weight that any N slots allow in a softmax of cosines: m = 1 / (1 + (N - 1) e^{-2 β}).
After the sharpening, with norms in ℓ_γ, the weighting is p' = ((a + c) / |a + c|)^γ in
place of p = (a / |a|)^γ. Where p' is below p, p' >= a^γ / |a + c|^γ, and so

    1/2 Σ |p' - p| <= 1 - (|a| / |a + c|)^γ <= 1 - (1 + |c| / |a|)^{-γ}

with |c| <= (g (g m)^{γ - 1})^{1/γ}. The shift changes none of these numbers. The same
bounds the difference that any two c make, as both are added to the same a.

If a is small everywhere, content does move a weighting, but the result may be flat too.
The mean μ of all cosines is known: the cosine of the key and a slot is a product of
unit vectors, and the state has the sum of those of all slots. By convexity, the mean of
e^{β cos} is between e^{β μ} and cosh β + μ sinh β, so that N times a content weight is
between e^l and e^h, with

    h = β - β μ,    l = -β - log(cosh β + μ sinh β).

So no weight is above (max a + g e^h / N)^γ N^{γ - 1}, since the powers of weights with
the sum 1 add up to N^{1 - γ} or more. With the content weighting 1 / N in place of c,
each power changes by a factor. If the largest such factor is e^D times the smallest,
it moves no more than tanh(D / 4) to other slots, as if the factors were only these two.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

from ntm_jax.addressing import unit_key
from ntm_jax.heads import Addressing
from ntm_jax.sparse.reach import Reached

_SMALLEST = 1e-37


def moved_by_content(
    shifted: Array, strength: Array, gate: Array, gamma: Array, num_slots: int
) -> Array:
    """Bound on what content moves of each weighting to other slots, in [0, 1].

    >>> move = lambda g, n: moved_by_content(
    ...     (1 - g) * jnp.array([0.0, 1.0]), jnp.array(1.0), g, jnp.array(5.0), n
    ... )
    >>> [f"{move(jnp.array(0.2), n):.0e}" for n in (10, 1_000_000)]
    ['5e-01', '1e-04']

    Args:
      shifted: `[..., C]`, a: the previous weighting times 1 - g, shifted.
      strength: `[...]`, β.
      gate: `[...]`, g.
      gamma: `[...]`, γ.
      num_slots: N.
    """
    largest = -jnp.log1p((num_slots - 1) * jnp.exp(-2 * strength))
    log_gate = jnp.log(gate)
    log_content = log_gate + (1 - 1 / gamma) * largest
    logs = jnp.log(jnp.maximum(shifted, _SMALLEST))
    log_kept = logsumexp(gamma[..., None] * logs, axis=-1) / gamma
    ratio = jnp.exp(jnp.minimum(log_content - log_kept, 80))
    return -jnp.expm1(-gamma * jnp.log1p(ratio))


class Flat(NamedTuple):
    """Bounds for a weighting with the content weighting 1 / N.

    Attributes:
      largest: `[..., H]`, on the weight of a slot, also with the true content.
      moved: `[..., H]`, on what the true one moves to other slots.
    """

    largest: Array
    moved: Array


def flat(
    reached: Reached, addressing: Addressing, directions: Array, num_slots: int
) -> Flat:
    """Bounds on a weighting that is nearly the same at all slots.

    Args:
      reached: a, the previous weighting times 1 - g, shifted.
      addressing: of the heads.
      directions: `[..., M]`, the sum of all slots, each scaled to the length 1.
      num_slots: N.
    """
    low, high = _content_range(addressing, directions, num_slots)
    log_gate = jnp.log(addressing.gate)

    def log_sum(weight: Array, log_content: Array) -> Array:
        weight = jnp.log(jnp.maximum(num_slots * weight, _SMALLEST))
        return jnp.logaddexp(weight, log_gate + log_content)

    # The largest weight is never below 1 / N.
    log_largest = jnp.maximum(log_sum(reached.largest(), high), 0)
    log_largest = addressing.gamma * log_largest
    smallest = reached.smallest()
    spread = log_sum(smallest, high) - log_sum(smallest, low)
    return Flat(
        largest=jnp.exp(jnp.minimum(log_largest - math.log(num_slots), 0)),
        moved=jnp.tanh(addressing.gamma * spread / 4),
    )


def _content_range(
    addressing: Addressing, directions: Array, num_slots: int
) -> tuple[Array, Array]:
    """The logarithms of N times the smallest and the largest content weight: l, h."""
    strength = addressing.strength
    key = unit_key(addressing.key)
    mean = jnp.sum(key * directions[..., None, :], axis=-1) / num_slots
    mean = jnp.clip(mean, -1, 1)
    falling = jnp.exp(-2 * strength) * (1 - mean)
    log_mean = strength + jnp.log(jnp.maximum(1 + mean + falling, _SMALLEST) / 2)
    return -strength - log_mean, strength - strength * mean
