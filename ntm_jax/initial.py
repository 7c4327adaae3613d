"""How a machine begins: its parameters, and its state before the first step."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen import initializers
from jax import Array, export

from ntm_jax import controllers, fixed, heads
from ntm_jax.addressing import softmax
from ntm_jax.arrays import canonical, cast
from ntm_jax.checks import (
    check_array,
    check_choice,
    check_count,
    check_dtype,
    check_float_array,
    check_key,
    check_shape,
    check_size,
)
from ntm_jax.config import NTMConfig, check_shift_range
from ntm_jax.fit import check_config, check_params
from ntm_jax.sparse.kinds import Access
from ntm_jax.sparse.start import from_dense
from ntm_jax.types import NTMState, Params, PyTree

FIXED_MEMORIES = ("constant", "random")
# The constant initialisation of Collier and Beel 2018 (arXiv:1807.08518).
_CONSTANT = 1e-6

# The heads that untrained machines move by content.
_BY_CONTENT = {"content": ("read_heads", "write_heads"), "lookup": ("read_heads",)}


def init(
    key: Array,
    config: NTMConfig,
    input_size: int,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Params:
    """New parameters: a nested dict of arrays under Flax's names.

    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> sorted(params), params["output"]["kernel"].shape
    (['controller', 'output', 'read_heads', 'write_heads'], (120, 8))

    Args:
      key: of `jax.random.key`.
      config: of the machine.
      input_size: width of an input vector.
      dtype: of the parameters, and so of everything computed with them. All numbers
        are drawn in float32 and then cast.

    Returns:
      `controller` (the module's parameters), `read_heads` and `write_heads` (kernel
      `[H, heads, P]`, bias `[heads, P]`), `output` (kernel `[H + R M, output_size]`,
      bias) and, if the config learns a part of the initial state, `initial`. H is the
      width of the controller's output and P the number of values that a head emits.

    Raises:
      TypeError, ValueError: if an argument is invalid. The message names it.
    """
    check_key("key", key)
    check_config(config)
    check_count("input_size", input_size)
    check_dtype("dtype", dtype)
    keys = iter(jax.random.split(key, 5))
    m, r, w = config.slot_size, config.num_read_heads, config.num_write_heads
    controller_params, hidden_size = controllers.init(
        next(keys), config.controller, input_size + r * m
    )
    reading = heads.addressing_size(m, config.shift_range)
    writing = heads.writing_size(m, config.shift_range)
    output_shape = (hidden_size + r * m, config.output_size)
    scale = config.head_scale
    params = {
        "controller": controller_params,
        "read_heads": heads.init(next(keys), hidden_size, r, reading, scale),
        "write_heads": heads.init(next(keys), hidden_size, w, writing, scale),
        "output": {
            "kernel": initializers.glorot_uniform()(
                next(keys), output_shape, jnp.float32
            ),
            "bias": jnp.zeros(config.output_size),
        },
    }
    strength = config.initial_strength
    reads_moving = 1 if config.initial_heads == "stack" else 0
    by_content = _BY_CONTENT.get(config.initial_heads, ())
    for name, num_moving in (("read_heads", reads_moving), ("write_heads", 1)):
        sizes = m, config.shift_range
        if name in by_content:
            params[name] = heads.content_biases(params[name], *sizes, strength=strength)
        elif config.initial_heads != "neutral":
            params[name] = heads.tape_biases(
                params[name], *sizes, num_moving=num_moving, strength=strength
            )
    initial = init_initial(next(keys), config)
    if initial:
        params["initial"] = initial
    return cast(params, dtype)


def learns_initial_state(config: NTMConfig) -> bool:
    """Whether a part of the initial state is learned."""
    return "learned" in (
        config.initial_memory,
        config.initial_weighting,
        config.initial_read,
        config.initial_carry,
    )


def init_initial(
    key: Array, config: NTMConfig, dtype: jax.typing.DTypeLike = jnp.float32
) -> Params:
    """The learned parts of the initial state: `params["initial"]`."""
    n, m, r, w = (
        config.num_slots,
        config.slot_size,
        config.num_read_heads,
        config.num_write_heads,
    )
    read_key, write_key = jax.random.split(key)
    initial = {}
    if config.initial_memory == "learned":
        initial["memory"] = initial_memory(n, m, "random")
    if config.initial_weighting == "learned":
        initial["read_focus"] = jax.random.normal(read_key, (r, n), jnp.float32)
        initial["write_focus"] = jax.random.normal(write_key, (w, n), jnp.float32)
    if config.initial_read == "learned":
        initial["reads"] = jnp.zeros((r, m))
    if config.initial_carry == "learned":
        # The shape of a carry does not depend on the input size, so any size will do.
        initial["carry"] = controllers.initial_carry(config.controller, 1, ())
    return cast(initial, dtype)


def initial_memory(
    num_slots: int,
    slot_size: int,
    kind: str = "constant",
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Array:
    """The content of a memory before the first write.

    >>> initial_memory(128, 20).shape
    (128, 20)

    Args:
      num_slots: N, the number of slots.
      slot_size: M, the width of a slot.
      kind: `"constant"`: every entry is 1e-6, as in Collier and Beel 2018. `"random"`:
        the entries are uniform in ±1/sqrt(M). Every call returns the same numbers, in
        every dtype and under all flags of JAX. They depend on the slot but not on N, so
        a larger memory begins with the same slots.
      dtype: dtype of the memory.

    Returns:
      `[N, M]`.

    Raises:
      TypeError: if a size is not an integer or the dtype is not supported.
      ValueError: if a size is not positive or the kind is unknown.
    """
    check_size("num_slots", num_slots)
    check_count("slot_size", slot_size)
    check_choice("kind", kind, FIXED_MEMORIES)
    check_dtype("dtype", dtype)
    if kind == "constant":
        return jnp.full((num_slots, slot_size), _CONSTANT, dtype)
    limit = slot_size**-0.5

    def slot(seed: Array) -> Array:
        key, shape = fixed.key(seed), (slot_size,)
        return jax.random.uniform(key, shape, jnp.float32, -limit, limit)

    with fixed.draws():
        return jax.vmap(slot)(jnp.arange(num_slots)).astype(dtype)


def initial_state(
    params: Params,
    config: NTMConfig,
    *,
    num_slots: int | None = None,
    batch_shape: tuple[int, ...] = (),
    access: str | Access | None = None,
) -> Any:
    """The state before the first step.

    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> initial_state(params, config, num_slots=1024, batch_shape=(16,)).memory.shape
    (16, 1024, 20)

    Args:
      params: of `init`.
      config: of the machine.
      num_slots: N, instead of the config's. A machine runs with any number of slots,
        unless it learned its initial memory or weightings, which have one entry a slot.
        It may be a symbolic size of `jax.export`.
      batch_shape: the batch axes `...` of the state. Sizes may be symbolic.
      access: the slots that a weighting keeps. `"dense"`, the default: all.
        `"window:W"`: W neighbouring slots, with the largest weight in the middle.
        `"sparse:K"`: the K slots of the largest weights. See the guide to long
        sequences.

    Returns:
      An `NTMState` of the dtype of `params`, or a `SparseState` if slots are left out.

    Raises:
      TypeError, ValueError: if the machine cannot have `num_slots` slots, or the
        arguments do not fit each other.
    """
    check_config(config)
    params = canonical(params)
    check_params(params, config)
    n = config.num_slots if num_slots is None else num_slots
    # A number that is too small for the shifts has an error of its own.
    symbolic = export.is_symbolic_dim(n)
    check_size("num_slots", n, 2 * config.shift_range + 1 if symbolic else 1)
    if not isinstance(batch_shape, tuple):
        raise TypeError(f"batch_shape: got {batch_shape!r}, want a tuple of sizes")
    for size in batch_shape:
        check_size("batch_shape", size, 0)
    check_shift_range(config.shift_range, n)
    kept = Access.parse(access)
    for size in (n, *batch_shape):
        if kept is not None and export.is_symbolic_dim(size):
            raise ValueError(
                f"num_slots, batch_shape: got the symbolic size {size}, want a number "
                f"with access={str(kept)!r}"
            )
    for field in ("initial_memory", "initial_weighting"):
        if getattr(config, field) == "learned" and n != config.num_slots:
            raise ValueError(
                f"num_slots: got {n}, want {config.num_slots}: with {field}='learned' "
                "the parameters have one entry per slot"
            )
    state = start(
        params.get("initial", {}),
        config,
        num_slots=n,
        batch_shape=batch_shape,
        dtype=params["output"]["bias"].dtype,
    )
    return state if kept is None else from_dense(state, kept)


def start(
    initial: Params,
    config: NTMConfig,
    *,
    num_slots: int,
    batch_shape: tuple[int, ...],
    dtype: jax.typing.DTypeLike,
) -> NTMState:
    """`initial_state`, from `params["initial"]`, for arguments that fit."""
    r, m = config.num_read_heads, config.slot_size

    def learned(name: str, axes: str, shape: tuple[int, int]) -> Array:
        where = f"params['initial'][{name!r}]"
        leaf = _learned(initial, name)
        check_float_array(where, leaf)
        check_shape(where, leaf, shape, axes)
        # A copy: a caller may donate the state to a compiled step.
        return jnp.copy(leaf)

    def weighting(kind: str, num_heads: int) -> Array:
        shape = (num_heads, num_slots)
        match config.initial_weighting:
            case "first_slot":
                return jnp.zeros(shape, dtype).at[:, 0].set(1)
            case "uniform":
                return jnp.full(shape, 1 / num_slots, dtype)
            case "none":
                return jnp.zeros(shape, dtype)
            case "learned":
                return softmax(learned(f"{kind}_focus", "heads N", shape))

    if config.initial_memory == "learned":
        memory = learned("memory", "N M", (num_slots, m))
    else:
        memory = initial_memory(
            num_slots, config.slot_size, config.initial_memory, dtype
        )
    if config.initial_read == "learned":
        reads = learned("reads", "R M", (r, m))
    else:
        reads = jnp.zeros((r, m), dtype)
    # The shape of a carry does not depend on the input size, so any size will do.
    carry = controllers.initial_carry(config.controller, 1, ())
    if config.initial_carry == "learned":
        carry = _learned_carry(initial, carry)

    state = NTMState(
        memory=memory,
        read_weights=weighting("read", r),
        write_weights=weighting("write", config.num_write_heads),
        reads=reads,
        controller=carry,
    )
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (*batch_shape, *leaf.shape)),
        cast(state, dtype),
    )


def _learned(initial: Params, name: str) -> PyTree:
    """One entry of `params["initial"]`."""
    if not isinstance(initial, Mapping) or name not in initial:
        raise ValueError(
            f"params: got no ['initial'][{name!r}], want it: the config learns it"
        )
    return initial[name]


def _learned_carry(initial: Params, own: PyTree) -> PyTree:
    """The learned carry in the structure and shapes of the controller's own."""
    # A file may have turned the cell's own kind of carry into a list.
    leaves, wanted = jax.tree.leaves(_learned(initial, "carry")), jax.tree.leaves(own)
    where = "params['initial']['carry']"
    if len(leaves) != len(wanted):
        raise ValueError(
            f"{where}: got {len(leaves)} arrays, want {len(wanted)}, as many as the "
            "controller's own carry has"
        )
    for leaf, want in zip(leaves, wanted):
        check_array(where, leaf)
        check_shape(where, leaf, want.shape, "...")
        if jnp.issubdtype(want.dtype, jnp.floating):
            check_float_array(where, leaf)
    # Copies: a caller may donate the state to a compiled step.
    return jax.tree.unflatten(jax.tree.structure(own), map(jnp.copy, leaves))
