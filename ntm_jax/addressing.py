"""Where a head looks: from what it emits to a weighting over the slots.

Equations 5-9 of Graves, Wayne and Danihelka 2014, *Neural Turing Machines*
(arXiv:1410.5401), one function each. Shapes use the letters N (slots of the memory),
M (width of a slot), S = 2R + 1 (shifts, -R to R) and H (heads).

Every function works on one head or on any leading batch axes `...` alike. Where a
function takes the memory, `[..., N, M]`, the head's arguments may have one axis more,
`[..., H, M]` for `[..., M]`: several heads at one memory.

Each function is finite, with a finite gradient, on every finite memory and key, weights
of up to 1e18, β and γ of up to 1e18, and at each limit that the equations leave open.
Weights sum to 1 within 1e-5 in float32. In bfloat16 each is rounded, by up to 2^-8 of
itself, from weights that do, so their sum is within 2^-8 + 1e-5 of 1.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.checks import check_arrays, check_float_array

# Length below which a key or a slot counts as zero: it bounds the cosine's gradient.
SMALLEST_LENGTH = 1e-8
# Share of an empty slot in the logarithm of eq. 9, beside 1 for the largest weight.
_SMALLEST_WEIGHT = 1e-30
# Sum below which weights are no weighting: it bounds the gradient of eq. 9.
_SMALLEST_SUM = 2.0**-32
# Powers of two (so that they round nothing) that keep products within float32's range.
HEADROOM = 2.0**-32
_LARGEST_SCALE = 2.0**125  # whose inverse is still a normal number


def content_weights(memory: Array, key: Array, strength: Array) -> Array:
    """Weighting by likeness to a key (eqs. 5 and 6).

    w_c(i) = softmax_i(β cos(k, M(i))), with cos = 0 where the key or the slot is zero.

    >>> memory = jnp.array([[2.0, 0.0], [0.0, 2.0]])
    >>> focus = content_weights(memory, jnp.array([1.0, 0.0]), jnp.array(3.0))
    >>> [round(float(weight), 2) for weight in focus]
    [0.95, 0.05]

    Args:
      memory: `[..., N, M]`, M.
      key: `[..., M]` or `[..., H, M]`, k.
      strength: `[...]` or `[..., H]`, β >= 0: how sharply the likest slot wins. More
        than 1/eps of the dtype, at least float32, counts as 1/eps.

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
    direction = unit_key(key)
    scale, inverse_lengths = _scale_and_inverse_length(memory)
    scale = scale * HEADROOM
    # Each factor of the cosine has a scale near 1, and so have their gradients.
    if head:
        product = jnp.einsum("...hm,...nm->...hn", direction, memory)
        cosine = product / scale[..., None, :] * inverse_lengths[..., None, :]
    else:
        product = jnp.einsum("...m,...nm->...n", direction, memory)
        cosine = product / scale * inverse_lengths
    return softmax_of_product(strength, cosine)


def unit_key(key: Array) -> Array:
    """The key's direction, `[..., M]`: of length `HEADROOM`, or zero for a zero key."""
    scale, inverse_length = _scale_and_inverse_length(key)
    return key / scale[..., None] * (inverse_length * HEADROOM)[..., None]


def interpolate(content: Array, previous: Array, gate: Array) -> Array:
    """Blend of the content weighting and the previous weighting (eq. 7).

    w_g = g w_c + (1 - g) w_{t-1}

    >>> interpolate(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]), jnp.array(0.25))
    Array([0.25, 0.75], dtype=float32)

    Args:
      content: `[..., N]`, w_c.
      previous: `[..., N]`, w_{t-1}.
      gate: `[...]`, g in [0, 1]; 0 keeps the previous focus.

    Returns:
      `[..., N]`, w_g, which sums to what the two do, mixed alike.

    Raises:
      TypeError, ValueError: for other dtypes and shapes than these.
    """
    check_arrays(
        content=(content, "... N"), previous=(previous, "... N"), gate=(gate, "...")
    )
    dtype = gate.dtype
    content, previous, gate = _widen(content, previous, gate[..., None])
    return (gate * content + (1 - gate) * previous).astype(dtype)


def circular_shift(weights: Array, shift: Array) -> Array:
    """Rotation of a weighting by a distribution over shifts (eq. 8).

    w~(i) = Σ_j w_g(j) s(i - j mod N)

    >>> circular_shift(jnp.array([0.0, 0.0, 1.0]), jnp.array([0.0, 0.5, 0.5]))
    Array([0.5, 0. , 0.5], dtype=float32)

    Args:
      weights: `[..., N]`, w_g.
      shift: `[..., S]`, s over the shifts -R, ..., 0, ..., R in this order, so that
        S = 2R + 1; all of it on +1 moves the focus to the next higher slot. At most a
        full turn each way: R <= N.

    Returns:
      `[..., N]`, w~, which sums to the product of both sums.

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
    reach, dtype = num_shifts // 2, weights.dtype
    weights, shift = _widen(weights, shift)
    return blend(windows(ring(weights, reach), reach), shift).astype(dtype)


def ring(weights: Array, reach: int) -> Array:
    """Weights `[..., N]` with R of the other end at each end, `[..., N + 2R]`."""
    num_slots = weights.shape[-1]
    ends = weights[..., num_slots - reach :], weights[..., :reach]
    return jnp.concatenate([ends[0], weights, ends[1]], axis=-1)


def windows(ring: Array, reach: int) -> list[Array]:
    """The weights of a ring `[..., N + 2R]`, rotated by each shift from -R to R."""
    num_slots = ring.shape[-1] - 2 * reach
    # Slot i takes from slot i - offset, that is from `offset` to the left.
    return [
        lax.slice_in_dim(ring, start, start + num_slots, axis=-1)
        for start in range(2 * reach, -1, -1)
    ]


def blend(windows: list[Array], shift: Array) -> Array:
    """Their sum, `[..., N]` each, in the proportions `[..., S]`."""
    parts = [shift[..., j, None] * window for j, window in enumerate(windows)]
    return sum(parts[1:], start=parts[0])


def sharpen(weights: Array, gamma: Array) -> Array:
    """Weighting raised to a power and made to sum to 1 again (eq. 9).

    w(i) = w~(i)^γ / Σ_j w~(j)^γ, computed as softmax_i(γ log(w~(i) / max w~)), which
    cannot underflow to 0 / 0. What weights lack to a sum of 2^-32 is added to each, so
    that weights that are all zero give the uniform weighting.

    On a weighting the gradient is at most 2 γ N times as large as the one it is given.

    >>> focus = sharpen(jnp.array([0.25, 0.75]), jnp.array(2.0))
    >>> [round(float(weight), 2) for weight in focus]
    [0.1, 0.9]

    Args:
      weights: `[..., N]`, w~ >= 0 of any size; a negative one counts as 0.
      gamma: `[...]`, γ >= 1; 1 changes nothing. More than 1/eps of the dtype, at least
        float32, counts as 1/eps.

    Returns:
      `[..., N]`, w: non-negative, summing to 1 over the slots.

    Raises:
      TypeError, ValueError: for other dtypes and shapes than these.
    """
    check_arrays(weights=(weights, "... N"), gamma=(gamma, "..."))
    dtype = weights.dtype
    weights, gamma = _widen(weights, gamma)
    weights = not_negative(weights)
    weights = weights + lacking(jnp.sum(weights, axis=-1))[..., None]
    # The result does not depend on a common scale, hence no gradient flows through it.
    largest = lax.stop_gradient(jnp.max(weights, axis=-1))
    return softmax_of_product(gamma, logarithms(weights, largest)).astype(dtype)


def lacking(total: Array) -> Array:
    """What weights of such a sum lack to one of 2^-32, which is added to each."""
    return jnp.maximum(_SMALLEST_SUM - total, 0)


def logarithms(weights: Array, largest: Array) -> Array:
    """Those of eq. 9, log(w~(i) / max w~) of `[..., N]`: at most 0, never infinite."""
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

    >>> focus = address(
    ...     memory=jnp.eye(3),
    ...     previous=jnp.array([1.0, 0.0, 0.0]),
    ...     key=jnp.array([0.0, 0.0, 1.0]),
    ...     strength=jnp.array(100.0),
    ...     gate=jnp.array(1.0),  # by content, to the last slot,
    ...     shift=jnp.array([0.0, 0.0, 1.0]),  # and from there to the next, the first
    ...     gamma=jnp.array(1.0),
    ... )
    >>> [round(float(weight), 2) for weight in focus]
    [1.0, 0.0, 0.0]

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


def softmax(logits: Array) -> Array:
    """Over the last axis, computed in float32 at least: bfloat16 rounds it once."""
    return jax.nn.softmax(*_widen(logits), axis=-1).astype(logits.dtype)


def softmax_of_product(factor: Array, values: Array) -> Array:
    """softmax_i(f x(i)) for x that are rounded at about eps, the largest near 1 or 0.

    Beyond f = 1/eps the rounding of x alone would decide. It need not even be the same
    for the x whose largest is subtracted and for that largest, as compilers fuse
    products into differences: f times that would overflow the exponential.
    """
    dtype = values.dtype
    factor, values = _widen(factor, values)
    return softmax(bounded(factor)[..., None] * values).astype(dtype)


def bounded(factor: Array) -> Array:
    """The factor of `softmax_of_product`, at most 1/eps."""
    bound = 1 / float(jnp.finfo(factor.dtype).eps)
    return jnp.clip(factor, -bound, bound)


def not_negative(weights: Array) -> Array:
    """The weights, 0 where they are negative."""
    # Not `maximum`, which would halve the gradient at zero.
    return jnp.where(weights < 0, 0, weights)


def _widen(*arrays: Array) -> tuple[Array, ...]:
    """The arrays in float32 at least: what is computed of them is rounded only once."""
    return tuple(
        x.astype(jnp.float32 if x.dtype == jnp.bfloat16 else x.dtype) for x in arrays
    )


def _scale_and_inverse_length(vector: Array) -> tuple[Array, Array]:
    """A scale s of x over the last axis, and s / sqrt(|x|^2 + ε^2).

    Their quotient is what counts: it does not depend on the scale, hence no gradient
    flows through that. The largest entry is one by which no square overflows.
    """
    largest = jnp.max(jnp.abs(vector), axis=-1)
    scale = lax.stop_gradient(jnp.clip(largest, SMALLEST_LENGTH, _LARGEST_SCALE))
    squares = jnp.sum((vector / scale[..., None]) ** 2, axis=-1)
    return scale, lax.rsqrt(squares + (SMALLEST_LENGTH / scale) ** 2)
