"""The paper's equations and their reverses, side by side: `f` and `f_vjp`.

Layout: memory `[B, M, N]`, slots last; weightings `[B, K, N]`. `d_x` is the cotangent
of `x`. An `f_vjp` takes `f`'s residuals as an argument. It is no closure: so the loop
over time decides what is saved and what is recomputed.

Every equation but 7 and 8 touches the memory, by far the largest array of a step. So no
`f_vjp` makes a cotangent `[B, M, N]`. Each returns its part as factors, and
`memory_cotangent` adds all parts in one pass over the memory:

    dM(i) = dM'(i) Π_h (1 - w_h(i) e_h)        eqs. 3 and 4
          + Σ_k vectors_k weights_k(i)         eqs. 2 and 5, as `OuterProducts`
          + d_norm(i) M(i) l(i)                eq. 5, through the norm 1 / l(i)

Equations 6 and 9 are both softmax_i(factor x(i)), with max x = 0.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.addressing import (
    HEADROOM,
    SMALLEST_LENGTH,
    clip_negative,
    interpolate,
    log_weights,
    shifted_windows,
    sum_deficit,
    weighted_sum,
    wrap,
)
from ntm_jax.fast.xla import (
    for_cpu,
    noinline,
    products_with,
    sum_of_heads,
    sum_of_outer,
    sum_of_slots,
    sum_of_squares,
    twice_half,
    weighted_slots,
)

# A power of two (so that it rounds nothing) that makes the squares of any slot finite.
_TINY = 2.0**-80
# Squares beyond this may be infinite in float32.
OVERFLOW = 2.0**120


def saturated(cotangent: Array) -> Array:
    """The cotangent, each entry at most a sixteenth of the largest number in size.

    Infinity less infinity is NaN, and so is zero times infinity. Sums of a few
    saturated cotangents are finite. NaN stays NaN.
    """
    largest = 2.0 ** (jnp.finfo(cotangent.dtype).maxexp - 4)
    return jnp.clip(cotangent, -largest, largest)


class OuterProducts(NamedTuple):
    """A part of the memory's cotangent: Σ_k vectors_k weights_k(i)."""

    vectors: Array  # [B, K, M]
    weights: Array  # [B, K, N]


# Eqs. 5 and 6: content weighting.


class ContentResiduals(NamedTuple):
    """What `content_weights_vjp` needs beside the arguments of `content_weights`."""

    cosine: Array  # [B, K, N]
    max_cosine: Array  # [B, K]
    inverse_norms: Array  # [B, N], l(i) = 1 / sqrt(|M(i)|^2 + ε^2)


def content_weights(
    memory: Array, unit_key: Array, strength: Array
) -> tuple[Array, ContentResiduals]:
    """c(i) = u M(i) l(i);  p = softmax(β c).

    Args:
      memory: `[B, M, N]`, M.
      unit_key: `[B, K, M]`, u, the key over its norm.
      strength: `[B, K]`, β.
    """
    norms = norm(memory)
    product = jnp.einsum("bkm,bmn->bkn", HEADROOM * unit_key, memory)
    # Divided, so that slots of one direction have one cosine where M = 1.
    cosine = product / (HEADROOM * norms)[:, None]
    residuals = ContentResiduals(cosine, jnp.max(cosine, axis=-1), 1 / norms)
    return content_from_residuals(residuals, strength), residuals


def content_from_residuals(residuals: ContentResiduals, strength: Array) -> Array:
    """The p of `content_weights` again, without a pass over the memory."""
    return _softmax(strength, residuals.cosine - residuals.max_cosine[..., None])


def content_weights_vjp(
    residuals: ContentResiduals,
    memory: Array,
    unit_key: Array,
    strength: Array,
    content: Array,
    d_content: Array,
) -> tuple[OuterProducts, Array, Array, Array]:
    """Two parts of dM, as outer products and the norms' cotangent `[B, N]`; du; dβ.

    z(i) = p(i) (dp(i) - Σ_j p(j) dp(j));  dβ = Σ_i z(i) c(i);  dc(i) = β z(i)
    du   = Σ_i dc(i) l(i) M(i)
    dM(i) += dc(i) l(i) u - dc(i) c(i) l(i)^2 M(i)
    """
    cosine, max_cosine, inverse_norms = residuals
    d_strength, d_cosine = _softmax_vjp(
        content, strength, cosine - max_cosine[..., None], d_content
    )
    d_product = saturated(d_cosine * inverse_norms[:, None])
    d_unit_key = weighted_slots(d_product, memory)
    d_norms = saturated(-sum_of_heads(d_cosine * cosine, memory) * inverse_norms)
    return OuterProducts(unit_key, d_product), d_norms, d_unit_key, d_strength


def norm(memory: Array) -> Array:
    """sqrt(|M(i)|^2 + ε^2), `[B, N]`, even where the squares overflow."""

    def usual(squares):
        return jnp.sqrt(squares + SMALLEST_LENGTH**2)

    def where_they_overflow(squares, tiny_squares):
        fits = squares < OVERFLOW
        # 1 where it is not chosen: 1 / 0 would reach second derivatives.
        tiny_squares = jnp.where(fits, 1, tiny_squares)
        return jnp.where(fits, usual(squares), jnp.sqrt(tiny_squares) / _TINY)

    if not for_cpu():
        # Both sums in one pass.
        scales = jnp.array([1, _TINY], memory.dtype)[:, None, None, None]
        return where_they_overflow(*jnp.sum((scales * memory[None]) ** 2, axis=2))
    squares = sum_of_squares(memory)
    # The branch spares a second pass over the memory. The total bounds each square.
    fit = jnp.all(sum_of_slots(squares) < OVERFLOW)
    return lax.cond(
        fit,
        usual,
        lambda squares: where_they_overflow(squares, sum_of_squares(memory, _TINY)),
        squares,
    )


# Eqs. 7 and 8: interpolation and circular shift.


def gate_and_shift(
    content: Array, previous: Array, gate: Array, shift: Array
) -> tuple[Array, list[Array]]:
    """Q = g p + (1 - g) w-;  v(i) = Σ_j s(j) q(i - j).

    Args:
      content: `[B, K, N]`, p.
      previous: `[B, K, N]`, w-, the weightings one step ago.
      gate: `[B, K]`, g.
      shift: `[B, K, S]`, s.

    Returns:
      v `[B, K, N]`, and as residuals q rolled by each of the S shifts.
    """
    rolled = _rolled(interpolate(content, previous, gate), shift)
    return weighted_sum(rolled, shift), rolled


def gate_and_shift_vjp(
    rolled: list[Array],
    content: Array,
    previous: Array,
    gate: Array,
    shift: Array,
    d_shifted: Array,
) -> tuple[Array, Array, Array, Array]:
    """dp, dw-, dg and ds.

    ds(j) = Σ_i dv(i) q(i - j);  dq(i) = Σ_j s(j) dv(i + j)
    dg = Σ_i dq(i) (p(i) - w-(i));  dp = g dq;  dw- = (1 - g) dq
    """
    d_shift = products_with(rolled, d_shifted)
    # The opposite shift undoes a shift. Pallas has no `shift[..., ::-1]`.
    opposite = jnp.concatenate(jnp.split(shift, shift.shape[-1], -1)[::-1], -1)
    d_gated = weighted_sum(_rolled(d_shifted, shift), opposite)
    d_gate = sum_of_slots(d_gated * (content - previous))
    d_content = gate[..., None] * d_gated
    return d_content, d_gated - d_content, d_gate, d_shift


def _rolled(weights: Array, shift: Array) -> list[Array]:
    """The weights `[B, K, N]` rolled by each of the S shifts."""
    reach = shift.shape[-1] // 2
    if reach == 0:
        return [weights]
    wrapped = noinline(functools.partial(wrap, reach=reach))(weights)
    return shifted_windows(wrapped, reach)


# Eq. 9: sharpening.


class SharpenResiduals(NamedTuple):
    """What `sharpen_vjp` needs beside the arguments of `sharpen`."""

    deficit: Array  # [B, K], added to every weight so that their sum is not zero
    max_weight: Array  # [B, K], the largest weight, deficit included


def sharpen(shifted: Array, gamma: Array) -> tuple[Array, SharpenResiduals]:
    """x(i) = log(v(i) / max v);  w = softmax(γ x).

    Args:
      shifted: `[B, K, N]`, v.
      gamma: `[B, K]`, γ.
    """
    positive = clip_negative(shifted)
    deficit = sum_deficit(sum_of_slots(positive))
    # The deficit is the same for all slots, so the largest weight stays the largest.
    residuals = SharpenResiduals(deficit, jnp.max(positive, axis=-1) + deficit)
    logs = log_weights(positive + deficit[..., None], residuals.max_weight)
    return _softmax(gamma, logs), residuals


def sharpen_vjp(
    residuals: SharpenResiduals,
    shifted: Array,
    gamma: Array,
    weighting: Array,
    d_weighting: Array,
) -> tuple[Array, Array]:
    """Dv and dγ.

    z(i) = w(i) (dw(i) - Σ_j w(j) dw(j));  dγ = Σ_i z(i) x(i);  dx = γ z

    JAX derives dv from dx. The deficit's part of it is added by hand.
    """
    deficit, max_weight = residuals
    logs, logs_vjp = jax.vjp(
        lambda weights: log_weights(weights, max_weight),
        clip_negative(shifted) + deficit[..., None],
    )
    d_gamma, d_logs = _softmax_vjp(weighting, gamma, logs, d_weighting)
    (d_positive,) = logs_vjp(d_logs)
    # A deficit is 2^-32 - Σ v, and was added to every slot.
    d_deficit = jnp.where(deficit > 0, sum_of_slots(d_positive), 0)[..., None]
    d_shifted = jnp.where(shifted < 0, 0, d_positive - d_deficit)
    return saturated(d_shifted), d_gamma


# Eq. 2: read.


def read(memory: Array, weighting: Array) -> Array:
    """R = Σ_i w(i) M(i), `[B, K, M]`."""
    return weighted_slots(weighting, memory)


def read_vjp(
    memory: Array, weighting: Array, d_reads: Array
) -> tuple[OuterProducts, Array]:
    """Its part of dM, w(i) dr, as outer products; dw(i) = dr M(i)."""
    d_weighting = jnp.einsum("bkm,bmn->bkn", d_reads, memory)
    return OuterProducts(d_reads, weighting), d_weighting


# Eqs. 3 and 4: write.


def write(memory: Array, weighting: Array, erase: Array, add: Array) -> Array:
    """M'(i) = M(i) Π_h (1 - w_h(i) e_h) + Σ_h w_h(i) a_h.

    Args:
      memory: `[B, M, N]`, M.
      weighting: `[B, W, N]`, w.
      erase: `[B, W, M]`, e.
      add: `[B, W, M]`, a.
    """
    for factor in kept_by_erase(weighting, erase):
        memory = memory * factor
    for h in range(weighting.shape[1]):
        memory = memory + _outer(add[:, h], weighting[:, h])
    return memory


def kept_by_erase(weighting: Array, erase: Array) -> list[Array]:
    """1 - w e of each write head, `[B, M, N]`: the part that its erase leaves."""
    return [1 - _outer(erase[:, h], weighting[:, h]) for h in range(erase.shape[1])]


def write_vjp(
    memory: Array, weighting: Array, erase: Array, add: Array, d_memory: Array
) -> tuple[Array, Array, Array]:
    """dw, de and da. The part of dM is `kept_by_erase`, see `memory_cotangent`.

        da_h    = Σ_i w_h(i) dM'(i)
        de_h    = -Σ_i w_h(i) M(i) dM'(i) k_h(i)
        dw_h(i) = a_h dM'(i) - e_h (M(i) dM'(i) k_h(i))

    with k_h(i) the part that the erases of the other heads leave.
    """
    d_add = weighted_slots(weighting, d_memory)
    d_weighting = jnp.einsum("bkm,bmn->bkn", add, d_memory)
    factors = kept_by_erase(weighting, erase)
    d_erase, d_erased = [], []
    for h in range(weighting.shape[1]):
        left, head = memory, slice(h, h + 1)
        # First by what erases leave, which may be 0: zero times infinity is NaN.
        for factor in factors[:h] + factors[h + 1 :]:
            left = left * factor

        def sum_of_lost(lost, head=head):
            return (
                weighted_slots(weighting[:, head], lost),
                jnp.einsum("bkm,bmn->bkn", erase[:, head], lost),
            )

        over_slots, over_width = twice_half(sum_of_lost, d_memory, left)
        d_erase.append(-over_slots)
        d_erased.append(over_width)
    d_erased = saturated(jnp.concatenate(d_erased, axis=1))
    d_weighting = saturated(d_weighting) - d_erased
    return d_weighting, jnp.concatenate(d_erase, axis=1), d_add


def memory_cotangent(
    d_memory: Array,
    memory: Array,
    write_factors: list[Array],
    products: tuple[OuterProducts, ...],
    inverse_norms: Array,
    d_norms: Array,
) -> Array:
    """DM of the whole step, from the parts that the `f_vjp` returned."""
    for factor in write_factors:
        d_memory = d_memory * factor
    # The unit slot comes first: the square of an inverse norm may overflow.
    d_memory = d_memory + memory * inverse_norms[:, None] * d_norms[:, None]
    vectors, weights = (
        jnp.concatenate(parts, axis=1) for parts in zip(*products, strict=True)
    )
    return d_memory + sum_of_outer(vectors, weights)


# Eqs. 6 and 9 have this in common.


def _softmax(factor: Array, values: Array) -> Array:
    """softmax_i(f x(i)), for x whose largest is 0."""
    powers = jnp.exp(factor[..., None] * values)
    return powers / sum_of_slots(powers)[..., None]


def _softmax_vjp(
    softmax: Array, factor: Array, values: Array, d_softmax: Array
) -> tuple[Array, Array]:
    """Df and dx, from the softmax itself. x may lack a common term."""
    d_softmax = saturated(d_softmax)
    d_product = softmax * (d_softmax - sum_of_slots(softmax * d_softmax)[..., None])
    return sum_of_slots(d_product * values), saturated(factor[..., None] * d_product)


def _outer(vector: Array, weights: Array) -> Array:
    """`[B, M]` and `[B, N]` to `[B, M, N]`."""
    # Not `vector[:, :, None]`, which Pallas cannot do for parts of a wider vector.
    return jnp.swapaxes(vector[:, None], 1, 2) * weights[:, None]
