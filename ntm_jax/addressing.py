"""Addressing: how the values that a head emits become a weighting over the slots.

One function for each of equations 5 to 9 of Graves, Wayne and Danihelka 2014, *Neural
Turing Machines* (arXiv:1410.5401), and `address`, which applies them in turn. Shapes
use these letters: N is the number of slots, M the width of a slot, S = 2R + 1 the
number of shifts (from -R to R) and H the number of heads.

Every function works on one head and on any leading batch axes `...`. A function that
takes the memory, `[..., N, M]`, also takes several heads for each memory. The head's
arguments then have one more axis: `[..., H, M]` instead of `[..., M]`.

Values and gradients are finite for every finite memory and key, and for weights, β and
γ up to 1e18. They are also finite where an equation has the form 0 / 0.

In float32 a weighting sums to 1 within 1e-5. In bfloat16 each weight is rounded once,
by at most 2^-8 of its value, so a weighting sums to 1 within 2^-8 + 1e-5.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.checks import check_arrays, check_float_array

# A key or a slot shorter than this counts as zero. This bounds the cosine's gradient.
SMALLEST_LENGTH = 1e-8
# Added to each weight in the logarithm of eq. 9, where the largest weight is 1.
_SMALLEST_WEIGHT = 1e-30
# Smallest sum of the weights in eq. 9. This bounds the gradient.
_SMALLEST_SUM = 2.0**-32
# Powers of two keep products within float32's range, and multiplying by them is exact.
HEADROOM = 2.0**-32
_LARGEST_SCALE = 2.0**125  # its inverse is still a normal number


def content_weights(memory: Array, key: Array, strength: Array) -> Array:
    """Weighting by similarity to a key (eqs. 5 and 6).

    w_c(i) = softmax_i(β cos(k, M(i))). The cosine is 0 if the key or the slot is zero.

    >>> memory = jnp.array([[2.0, 0.0], [0.0, 2.0]])
    >>> weights = content_weights(memory, jnp.array([1.0, 0.0]), jnp.array(3.0))
    >>> [round(float(weight), 2) for weight in weights]
    [0.95, 0.05]

    Args:
      memory: `[..., N, M]`, N slots of width M.
      key: `[..., M]` or `[..., H, M]`, the key k.
      strength: `[...]` or `[..., H]`, the key strength β >= 0. The larger β is, the
        more weight the most similar slots receive. With β = 0 all slots weigh the same.
        Values above 1/eps count as 1/eps, where eps is that of the dtype, or of float32
        for bfloat16.

    Returns:
      `[..., N]` or `[..., H, N]`, the content weighting w_c. It is non-negative and
      sums to 1 over the slots.

    Raises:
      TypeError: if an argument is not an array of floats, or the dtypes differ.
      ValueError: if the shapes do not fit each other.
    """
    head = head_axis(memory=memory, key=key)
    check_arrays(
        memory=(memory, "... N M"),
        key=(key, f"... {head}M"),
        strength=(strength, f"... {head}"),
    )
    direction = HEADROOM * unit_key(key)
    scale, inverse_lengths = _scale_and_inverse_length(memory)
    scale = scale * HEADROOM
    # Each factor of the cosine has a scale near 1, and so does its gradient.
    if head:
        product = jnp.einsum("...hm,...nm->...hn", direction, memory)
        cosine = product / scale[..., None, :] * inverse_lengths[..., None, :]
    else:
        product = jnp.einsum("...m,...nm->...n", direction, memory)
        cosine = product / scale * inverse_lengths
    return softmax_of_product(strength, cosine)


def unit_key(key: Array) -> Array:
    """The key `[..., M]`, scaled to the length 1. A zero key stays zero."""
    scale, inverse_length = _scale_and_inverse_length(key)
    return key / scale[..., None] * inverse_length[..., None]


def interpolate(content: Array, previous: Array, gate: Array) -> Array:
    """Interpolation between the content weighting and the previous weighting (eq. 7).

    w_g = g w_c + (1 - g) w_{t-1}

    >>> interpolate(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]), jnp.array(0.25))
    Array([0.25, 0.75], dtype=float32)

    Args:
      content: `[..., N]`, the content weighting w_c.
      previous: `[..., N]`, the weighting of the previous step, w_{t-1}.
      gate: `[...]`, the gate g in [0, 1]. 0 keeps the previous weighting, 1 takes the
        content weighting.

    Returns:
      `[..., N]`, the gated weighting w_g. It sums to 1 if both weightings do.

    Raises:
      TypeError: if an argument is not an array of floats, or the dtypes differ.
      ValueError: if the shapes do not fit each other.
    """
    check_arrays(
        content=(content, "... N"), previous=(previous, "... N"), gate=(gate, "...")
    )
    dtype = gate.dtype
    content, previous, gate = _widen(content, previous, gate[..., None])
    return (gate * content + (1 - gate) * previous).astype(dtype)


def circular_shift(weights: Array, shift: Array) -> Array:
    """Circular convolution of a weighting with a distribution over shifts (eq. 8).

    w~(i) = Σ_j w_g(j) s(i - j mod N)

    >>> circular_shift(jnp.array([0.0, 0.0, 1.0]), jnp.array([0.0, 0.5, 0.5]))
    Array([0.5, 0. , 0.5], dtype=float32)

    Args:
      weights: `[..., N]`, the gated weighting w_g.
      shift: `[..., S]`, the shift weighting s. It lists the shifts -R, ..., 0, ..., R
        in this order, so S = 2R + 1. A shift of +1 moves weight from a slot to the next
        higher one, and from the last slot to the first. R is at most N.

    Returns:
      `[..., N]`, the shifted weighting w~. It sums to 1 if `weights` and `shift` do.

    Raises:
      TypeError: if an argument is not an array of floats, or the dtypes differ.
      ValueError: if the shapes do not fit each other, S is even, or R is above N.
    """
    sizes = check_arrays(weights=(weights, "... N"), shift=(shift, "... S"))
    num_slots, num_shifts = sizes["N"], sizes["S"]
    if num_shifts % 2 == 0 or num_shifts > 2 * num_slots + 1:
        raise ValueError(
            f"shift: got {num_shifts} shifts on {num_slots} slots, want an odd number "
            f"(-R to R) with R <= {num_slots}"
        )
    reach, dtype = num_shifts // 2, weights.dtype
    weights, shift = _widen(weights, shift)
    shifted = shifted_windows(wrap(weights, reach), reach)
    return weighted_sum(shifted, shift).astype(dtype)


def wrap(weights: Array, reach: int) -> Array:
    """Weights `[..., N]`, padded by R at each end from the other end: `[..., N + 2R]`.

    >>> wrap(jnp.array([1.0, 2.0, 3.0]), reach=1)
    Array([3., 1., 2., 3., 1.], dtype=float32)
    """
    num_slots = weights.shape[-1]
    ends = weights[..., num_slots - reach :], weights[..., :reach]
    return jnp.concatenate([ends[0], weights, ends[1]], axis=-1)


def shifted_windows(wrapped: Array, reach: int) -> list[Array]:
    """The weights `[..., N]` rotated by each shift from -R to R.

    Args:
      wrapped: `[..., N + 2R]`, the weights as `wrap` returns them.
      reach: R.
    """
    num_slots = wrapped.shape[-1] - 2 * reach
    # With a shift of j, slot i takes its weight from slot i - j.
    return [
        lax.slice_in_dim(wrapped, start, start + num_slots, axis=-1)
        for start in range(2 * reach, -1, -1)
    ]


def weighted_sum(windows: list[Array], shift: Array) -> Array:
    """Sum of the windows, `[..., N]` each, weighted by `shift`, `[..., S]`."""
    parts = [shift[..., j, None] * window for j, window in enumerate(windows)]
    return sum(parts[1:], start=parts[0])


def sharpen(weights: Array, gamma: Array) -> Array:
    """Sharpening: each weight to the power γ, divided by the sum (eq. 9).

    w(i) = w~(i)^γ / Σ_j w~(j)^γ

    The function computes softmax_i(γ log(w~(i) / max w~)), which cannot underflow to
    0 / 0. If the weights sum to less than 2^-32, then 2^-32 minus their sum is added to
    each weight. Weights that are all zero therefore give the uniform weighting.

    Where `weights` sum to 1, no entry of their cotangent is more than 2 γ N times as
    large as the largest entry of the result's cotangent.

    >>> weights = sharpen(jnp.array([0.25, 0.75]), jnp.array(2.0))
    >>> [round(float(weight), 2) for weight in weights]
    [0.1, 0.9]

    Args:
      weights: `[..., N]`, the shifted weighting w~ >= 0. The weights may have any sum.
        A negative weight counts as 0.
      gamma: `[...]`, the exponent γ >= 1. 1 leaves a weighting as it is. Values above
        1/eps count as 1/eps, where eps is that of the dtype, or of float32 for
        bfloat16.

    Returns:
      `[..., N]`, the weighting w. It is non-negative and sums to 1 over the slots.

    Raises:
      TypeError: if an argument is not an array of floats, or the dtypes differ.
      ValueError: if the shapes do not fit each other.
    """
    check_arrays(weights=(weights, "... N"), gamma=(gamma, "..."))
    dtype = weights.dtype
    weights, gamma = _widen(weights, gamma)
    weights = clip_negative(weights)
    weights = weights + sum_deficit(jnp.sum(weights, axis=-1))[..., None]
    # The result does not depend on a common scale, so no gradient flows through it.
    largest = lax.stop_gradient(jnp.max(weights, axis=-1))
    return softmax_of_product(gamma, log_weights(weights, largest)).astype(dtype)


def clip_negative(weights: Array) -> Array:
    """The weights, with 0 in place of each negative one."""
    # Not `maximum`, which would halve the gradient at zero.
    return jnp.where(weights < 0, 0, weights)


def sum_deficit(total: Array) -> Array:
    """By how much a sum of weights is below 2^-32, the smallest sum for eq. 9."""
    return jnp.maximum(_SMALLEST_SUM - total, 0)


def log_weights(weights: Array, largest: Array) -> Array:
    """The logarithms of eq. 9, log(w~(i) / max w~): at most 0, and always finite.

    Args:
      weights: `[..., N]`, w~.
      largest: `[...]`, max w~.
    """
    return jnp.log(weights / largest[..., None] + _SMALLEST_WEIGHT)


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

    >>> weights = address(
    ...     memory=jnp.eye(3),
    ...     previous=jnp.array([1.0, 0.0, 0.0]),
    ...     key=jnp.array([0.0, 0.0, 1.0]),  # the content of the last slot
    ...     strength=jnp.array(100.0),
    ...     gate=jnp.array(1.0),  # take the content weighting
    ...     shift=jnp.array([0.0, 0.0, 1.0]),  # +1: from the last slot to the first
    ...     gamma=jnp.array(1.0),
    ... )
    >>> [round(float(weight), 2) for weight in weights]
    [1.0, 0.0, 0.0]

    Args:
      memory: `[..., N, M]`, N slots of width M.
      previous: `[..., N]` or `[..., H, N]`, the head's weighting at the previous step,
        w_{t-1}.
      key: `[..., M]` or `[..., H, M]`, the key k.
      strength: `[...]` or `[..., H]`, the key strength β >= 0.
      gate: `[...]` or `[..., H]`, the gate g in [0, 1].
      shift: `[..., S]` or `[..., H, S]`, the shift weighting s over -R to R.
      gamma: `[...]` or `[..., H]`, the exponent γ >= 1.

    Returns:
      `[..., N]` or `[..., H, N]`, the weighting w. It is non-negative and sums to 1
      over the slots.

    Raises:
      TypeError: if an argument is not an array of floats, or the dtypes differ.
      ValueError: if the shapes do not fit each other, S is even, or R is above N.
    """
    content = content_weights(memory, key, strength)
    gated = interpolate(content, previous, gate)
    return sharpen(circular_shift(gated, shift), gamma)


def head_axis(**arguments: Array) -> str:
    """`"H "` if the arguments hold several heads for each memory, else `""`.

    Args:
      arguments: the memory, `[..., N, M]`, and then a head's key or weighting.
    """
    for name, value in arguments.items():
        check_float_array(name, value)
    memory, per_head = arguments.values()
    return "H " if per_head.ndim == memory.ndim else ""


def softmax(logits: Array) -> Array:
    """Softmax over the last axis, computed in at least float32 and rounded once."""
    return jax.nn.softmax(*_widen(logits), axis=-1).astype(logits.dtype)


def softmax_of_product(factor: Array, values: Array) -> Array:
    """softmax_i(f x(i)), with |f| limited to 1/eps.

    The values x carry rounding errors of about eps, and the largest is near 1 or 0.
    With a larger factor these errors alone would decide the result. It could even
    overflow: the softmax subtracts the largest f x from each, and the compiler may fuse
    the product into this difference and round its two sides differently.
    """
    dtype = values.dtype
    factor, values = _widen(factor, values)
    return softmax(clip_factor(factor)[..., None] * values).astype(dtype)


def clip_factor(factor: Array) -> Array:
    """The factor of `softmax_of_product`, clipped to ±1/eps."""
    bound = 1 / float(jnp.finfo(factor.dtype).eps)
    return jnp.clip(factor, -bound, bound)


def _widen(*arrays: Array) -> tuple[Array, ...]:
    """The arrays in at least float32. The caller then rounds its result only once."""
    return tuple(
        x.astype(jnp.float32 if x.dtype == jnp.bfloat16 else x.dtype) for x in arrays
    )


def _scale_and_inverse_length(vector: Array) -> tuple[Array, Array]:
    """A scale s of the vector x over the last axis, and s / sqrt(|x|^2 + ε^2).

    The second divided by the first is the inverse length of x. It does not depend on s,
    so no gradient flows through s. As s is the largest entry, no square overflows.
    """
    largest = jnp.max(jnp.abs(vector), axis=-1)
    scale = lax.stop_gradient(jnp.clip(largest, SMALLEST_LENGTH, _LARGEST_SCALE))
    squares = jnp.sum((vector / scale[..., None]) ** 2, axis=-1)
    return scale, lax.rsqrt(squares + (SMALLEST_LENGTH / scale) ** 2)
