"""Where a head looks: from what it emits to a weighting over the slots.

Equations 5-9 of Graves, Wayne and Danihelka 2014, *Neural Turing Machines*
(arXiv:1410.5401), one function each. Shapes use the letters N (slots of the memory),
M (width of a slot), S = 2R + 1 (shifts, -R to R) and H (heads).

Every function works on one head or on any leading batch axes `...` alike. Where a
function takes the memory, `[..., N, M]`, the head's arguments may have one axis more,
`[..., H, M]` for `[..., M]`: several heads at one memory.

Each function is finite, with a finite gradient, on every finite memory, key and
weighting, for β and γ of up to 1e6; so is each limit that the equations leave open.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.checks import check_arrays, check_float_array

# Length below which a key or a slot counts as zero: it bounds the cosine's gradient.
_SMALLEST_LENGTH = 1e-8
# Weight of an empty slot in the logarithm of eq. 9; 1e-30 is a normal bfloat16.
_SMALLEST_WEIGHT = 1e-30
# Powers of two (so that they round nothing) that keep products within float32's range.
_HEADROOM = 2.0**-32
_HUGE = 2.0**64
_LARGEST_SCALE = 2.0**125  # whose inverse is still a normal number


def content_weights(memory: Array, key: Array, strength: Array) -> Array:
    """Weighting by likeness to a key (eqs. 5 and 6).

    w_c(i) = softmax_i(β cos(k, M(i))), with cos = 0 where the key or the slot is zero.

    Args:
      memory: `[..., N, M]`, M.
      key: `[..., M]` or `[..., H, M]`, k.
      strength: `[...]` or `[..., H]`, β >= 0: how sharply the likest slot wins.

    Returns:
      `[..., N]` or `[..., H, N]`: non-negative, summing to 1 over the slots.

    Raises:
      TypeError, ValueError: for other dtypes and shapes than these.
    """
    head = head_axis(memory=memory, key=key)
    check_arrays(
        memory=(memory, "... N M"),
        key=(key, f"... {head}M"),
        strength=(strength, f"... {head}"),
    )
    # Only the direction of a key counts, so one that is huge may be made shorter.
    largest = jnp.max(jnp.abs(key), axis=-1, keepdims=True)
    key = key * lax.stop_gradient(jnp.where(largest > _HUGE, 1 / _HUGE, 1))
    direction = key * (_inverse_length(key)[..., None] * _HEADROOM)
    inverse_lengths = _inverse_length(memory) / _HEADROOM
    if head:
        product = jnp.einsum("...hm,...nm->...hn", direction, memory)
        cosine = product * inverse_lengths[..., None, :]
    else:
        product = jnp.einsum("...m,...nm->...n", direction, memory)
        cosine = product * inverse_lengths
    return jax.nn.softmax(strength[..., None] * cosine, axis=-1)


def interpolate(content: Array, previous: Array, gate: Array) -> Array:
    """Blend of the content weighting and the previous weighting (eq. 7).

    w_g = g w_c + (1 - g) w_{t-1}

    Args:
      content: `[..., N]`, w_c.
      previous: `[..., N]`, w_{t-1}.
      gate: `[...]`, g in [0, 1]; 0 keeps the previous focus.

    Returns:
      `[..., N]`, w_g.

    Raises:
      TypeError, ValueError: for other dtypes and shapes than these.
    """
    check_arrays(
        content=(content, "... N"), previous=(previous, "... N"), gate=(gate, "...")
    )
    gate = gate[..., None]
    return gate * content + (1 - gate) * previous


def circular_shift(weights: Array, shift: Array) -> Array:
    """Rotation of a weighting by a distribution over shifts (eq. 8).

    w~(i) = Σ_j w_g(j) s(i - j mod N)

    Args:
      weights: `[..., N]`, w_g.
      shift: `[..., S]`, s over the shifts -R, ..., 0, ..., R in this order, so that
        S = 2R + 1; all of it on +1 moves the focus to the next higher slot. At most a
        full turn each way: R <= N.

    Returns:
      `[..., N]`, w~.

    Raises:
      TypeError, ValueError: for other dtypes and shapes than these.
    """
    sizes = check_arrays(weights=(weights, "... N"), shift=(shift, "... S"))
    num_slots, num_shifts = sizes["N"], sizes["S"]
    if num_shifts % 2 == 0 or num_shifts > 2 * num_slots + 1:
        raise ValueError(
            f"shift: got {num_shifts} shifts on {num_slots} slots, want an odd number "
            f"(-R to R) with R <= {num_slots}"
        )
    reach = num_shifts // 2
    # Slot i takes from slot i - offset: a window, `offset` to the left, of the ring.
    ring = jnp.concatenate(
        [weights[..., num_slots - reach :], weights, weights[..., :reach]], axis=-1
    )
    windows = [
        shift[..., j, None]
        * lax.slice_in_dim(ring, 2 * reach - j, 2 * reach - j + num_slots, axis=-1)
        for j in range(num_shifts)
    ]
    return sum(windows[1:], start=windows[0])


def sharpen(weights: Array, gamma: Array) -> Array:
    """Weighting raised to a power and made to sum to 1 again (eq. 9).

    w(i) = w~(i)^γ / Σ_j w~(j)^γ, computed as softmax_i(γ log w~(i)), which cannot
    underflow to 0 / 0. Weights that are all zero give the uniform weighting.

    Args:
      weights: `[..., N]`, w~ >= 0.
      gamma: `[...]`, γ >= 1; 1 changes nothing.

    Returns:
      `[..., N]`, w: non-negative, summing to 1 over the slots.

    Raises:
      TypeError, ValueError: for other dtypes and shapes than these.
    """
    check_arrays(weights=(weights, "... N"), gamma=(gamma, "..."))
    return jax.nn.softmax(
        gamma[..., None] * jnp.log(weights + _SMALLEST_WEIGHT), axis=-1
    )


def address(
    memory: Array,
    previous: Array,
    key: Array,
    strength: Array,
    gate: Array,
    shift: Array,
    gamma: Array,
) -> Array:
    """The whole addressing mechanism (figure 2 of the paper): eqs. 5 to 9 in turn.

    Args:
      memory: `[..., N, M]`, M.
      previous: `[..., N]` or `[..., H, N]`, the head's weighting one step ago, w_{t-1}.
      key: `[..., M]` or `[..., H, M]`, k.
      strength: `[...]` or `[..., H]`, β >= 0.
      gate: `[...]` or `[..., H]`, g in [0, 1].
      shift: `[..., S]` or `[..., H, S]`, s over the shifts -R to R.
      gamma: `[...]` or `[..., H]`, γ >= 1.

    Returns:
      `[..., N]` or `[..., H, N]`, w: non-negative, summing to 1 over the slots.

    Raises:
      TypeError, ValueError: for other dtypes and shapes than these.
    """
    content = content_weights(memory, key, strength)
    gated = interpolate(content, previous, gate)
    return sharpen(circular_shift(gated, shift), gamma)


def head_axis(**arguments: Array) -> str:
    """`"H "` where the second argument has an axis of heads beside the first's axes."""
    for name, value in arguments.items():
        check_float_array(name, value)
    memory, per_head = arguments.values()
    return "H " if per_head.ndim == memory.ndim else ""


def _inverse_length(vector: Array) -> Array:
    """1 / sqrt(|x|^2 + ε^2) over the last axis.

    Divided by its largest entry first, so that no square overflows or underflows. The
    result does not depend on that scale, hence no gradient flows through it.
    """
    largest = jnp.max(jnp.abs(vector), axis=-1)
    scale = lax.stop_gradient(jnp.clip(largest, _SMALLEST_LENGTH, _LARGEST_SCALE))
    squares = jnp.sum((vector / scale[..., None]) ** 2, axis=-1)
    return lax.rsqrt(squares + (_SMALLEST_LENGTH / scale) ** 2) / scale
