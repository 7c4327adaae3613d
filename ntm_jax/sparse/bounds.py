r"""How far content can move a weighting at most, without looking at the memory.

Let a be the shifted weighting without its content part, and c what content adds to it.
All entries of c sum to g, the gate, and none is larger than g m, where m is the largest
weight that any N slots allow in a softmax of cosines: m = 1 / (1 + (N - 1) e^{-2 β}).
After the sharpening, with norms in ℓ_γ, the weighting is p' = ((a + c) / |a + c|)^γ in
place of p = (a / |a|)^γ. Where p' is below p, p' >= a^γ / |a + c|^γ, and so

    1/2 Σ |p' - p| <= 1 - (|a| / |a + c|)^γ <= 1 - (1 + |c| / |a|)^{-γ}

with |c| <= (g (g m)^{γ - 1})^{1/γ}. The shift changes none of these numbers.
"""

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

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
