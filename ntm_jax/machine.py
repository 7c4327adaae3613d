"""The Neural Turing Machine: its parameters, its state, one step and many.

Section 3 of Graves, Wayne and Danihelka 2014 (arXiv:1410.5401). Shapes use the letters
T (time steps), N (slots of the memory), M (width of a slot), R (read heads), W (write
heads), and `...` for batch axes, which every function takes alike: none, one or many.

With the controllers of `ntm_jax`, a step is finite for parameters, state and input with
entries up to 1e18, and any number of steps as long as no memory grows beyond that. The
gradient of a step is finite for parameters up to 1e2, state and input up to 1e9. That
of many steps is a product of theirs, which may outgrow float32: each step multiplies it
by up to γ where weights tie.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import errors, struct
from flax.linen import initializers
from jax import Array, lax

from ntm_jax import controllers, fast, heads
from ntm_jax.addressing import address, softmax
from ntm_jax.checks import (
    check_arrays,
    check_count,
    check_dtype,
    check_float_array,
    check_key,
    check_shape,
)
from ntm_jax.config import NTMConfig, check_shift_range
from ntm_jax.memory import initial_memory, read, write

PyTree = Any
Params = dict[str, Any]
# The parameters that every machine has.
ALWAYS = ("controller", "read_heads", "write_heads", "output")


class NTMState(struct.PyTreeNode):
    """All that a machine carries from one step to the next: a frozen pytree.

    Attributes:
      memory: `[..., N, M]`.
      read_weights: `[..., R, N]`, the read heads' last weightings.
      write_weights: `[..., W, N]`, the write heads' last weightings.
      reads: `[..., R, M]`, what the read heads last read.
      controller: whatever the controller carries; `()` for a stateless one.
    """

    memory: Array
    read_weights: Array
    write_weights: Array
    reads: Array
    controller: PyTree


def init(
    key: Array,
    config: NTMConfig,
    input_size: int,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Params:
    """Fresh parameters: a nested dict of arrays under Flax's names.

    Args:
      key: of `jax.random.key`.
      config: of the machine.
      input_size: width of an input vector.
      dtype: of the parameters, and so of all that is computed with them.

    Returns:
      `controller` (the module's own), `read_heads` and `write_heads` (kernel
      `[H, heads, P]`, bias `[heads, P]`), `output` (kernel `[H + R M, output_size]`,
      bias) and, for what the config has learned, `initial`. H is the width of the
      controller's output and P what a head emits.

    Raises:
      TypeError, ValueError: for arguments that are not of this kind.
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
            "kernel": initializers.glorot_uniform()(next(keys), output_shape),
            "bias": jnp.zeros(config.output_size),
        },
    }
    strength = config.initial_strength
    reads_moving = 1 if config.initial_heads == "stack" else 0
    for name, num_moving in (("read_heads", reads_moving), ("write_heads", 1)):
        match config.initial_heads:
            case "tape" | "stack":
                params[name] = heads.like_a_tape(
                    params[name],
                    m,
                    config.shift_range,
                    num_moving=num_moving,
                    strength=strength,
                )
            case "content":
                params[name] = heads.by_content(
                    params[name], m, config.shift_range, strength=strength
                )
    initial = init_initial(next(keys), config)
    if initial:
        params["initial"] = initial
    return cast(params, dtype)


def learns_initial_state(config: NTMConfig) -> bool:
    """Whether anything of the state before the first step is learned."""
    return "learned" in (
        config.initial_memory,
        config.initial_focus,
        config.initial_read,
        config.initial_carry,
    )


def init_initial(
    key: Array, config: NTMConfig, dtype: jax.typing.DTypeLike = jnp.float32
) -> Params:
    """What a machine of this config learns of its state before the first step."""
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
    if config.initial_focus == "learned":
        initial["read_focus"] = jax.random.normal(read_key, (r, n))
        initial["write_focus"] = jax.random.normal(write_key, (w, n))
    if config.initial_read == "learned":
        initial["reads"] = jnp.zeros((r, m))
    if config.initial_carry == "learned":
        # That of a cell depends on its own size, not on that of its input.
        initial["carry"] = controllers.initial_carry(config.controller, 1, ())
    return cast(initial, dtype)


def initial_state(
    params: Params,
    config: NTMConfig,
    *,
    num_slots: int | None = None,
    batch_shape: tuple[int, ...] = (),
) -> NTMState:
    """The state before the first step.

    Args:
      params: of `init`.
      config: of the machine.
      num_slots: N, instead of the config's; a machine runs with any number of slots,
        unless it learned its initial memory or focus slot by slot.
      batch_shape: the batch axes `...` of the state.

    Returns:
      An `NTMState` of the dtype of `params`.

    Raises:
      TypeError, ValueError: for a `num_slots` that the machine cannot have, or
        arguments that do not fit each other.
    """
    check_config(config)
    check_params(params, config)
    n = config.num_slots if num_slots is None else num_slots
    check_count("num_slots", n)
    if not isinstance(batch_shape, tuple):
        raise TypeError(f"batch_shape: got {batch_shape!r}, want a tuple of sizes")
    for size in batch_shape:
        check_count("batch_shape", size, 0)
    check_shift_range(config.shift_range, n)
    for field in ("initial_memory", "initial_focus"):
        if getattr(config, field) == "learned" and n != config.num_slots:
            raise ValueError(
                f"num_slots: got {n}, want {config.num_slots}: with {field}='learned' "
                "the parameters hold one entry per slot"
            )
    return start(
        params.get("initial", {}),
        config,
        num_slots=n,
        batch_shape=batch_shape,
        dtype=params["output"]["bias"].dtype,
    )


def start(
    initial: Params,
    config: NTMConfig,
    *,
    num_slots: int,
    batch_shape: tuple[int, ...],
    dtype: jax.typing.DTypeLike,
) -> NTMState:
    """`initial_state` of what is learned of it, for arguments that fit."""

    def learned(name: str) -> PyTree:
        if name not in initial:
            raise ValueError(
                f"params: got no ['initial'][{name!r}], which config learns"
            )
        return initial[name]

    def focus(kind: str, num_heads: int) -> Array:
        shape = (num_heads, num_slots)
        match config.initial_focus:
            case "first_slot":
                return jnp.zeros(shape, dtype).at[:, 0].set(1)
            case "uniform":
                return jnp.full(shape, 1 / num_slots, dtype)
            case "none":
                return jnp.zeros(shape, dtype)
            case "learned":
                return softmax(learned(f"{kind}_focus"))

    if config.initial_memory == "learned":
        memory = learned("memory")
    else:
        memory = initial_memory(
            num_slots, config.slot_size, config.initial_memory, dtype
        )
    if config.initial_read == "learned":
        reads = learned("reads")
    else:
        reads = jnp.zeros((config.num_read_heads, config.slot_size), dtype)
    if config.initial_carry == "learned":
        # Whatever file they come from may have made a list of the cell's own kind.
        own = jax.eval_shape(
            lambda: controllers.initial_carry(config.controller, 1, ())
        )
        carry = jax.tree.unflatten(
            jax.tree.structure(own), jax.tree.leaves(learned("carry"))
        )
    else:
        # The carry of a cell depends on its own size, not on that of its input.
        carry = controllers.initial_carry(config.controller, 1, ())

    state = NTMState(
        memory=memory,
        read_weights=focus("read", config.num_read_heads),
        write_weights=focus("write", config.num_write_heads),
        reads=reads,
        controller=carry,
    )
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (*batch_shape, *leaf.shape)),
        cast(state, dtype),
    )


def step(
    params: Params, state: NTMState, x: Array, *, config: NTMConfig
) -> tuple[NTMState, Array]:
    """One time step. `functools.partial(step, params, config=config)` scans as it is.

    Args:
      params: of `init`.
      state: with batch axes `...`.
      x: `[..., input_size]`.
      config: of the machine.

    Returns:
      The new state, and the output `[..., output_size]`, logits.

    Raises:
      TypeError, ValueError: for a state or an input that does not fit the machine.
    """
    return _step(params, state, x, config, "x")[:2]


def _step(
    params: Params, state: NTMState, x: Array, config: NTMConfig, x_name: str
) -> tuple[NTMState, Array, dict[str, Array]]:
    """`step`, for a caller whose own argument is called `x_name`.

    Also returns what the `"read"` and `"write"` heads emitted, `[..., heads, P]`.
    """
    check_fit(x_name, params, state, x, config)
    inputs = _append_reads(x, state.reads)
    try:
        carry, hidden = controllers.apply(
            config.controller, params["controller"], state.controller, inputs
        )
    except (errors.FlaxError, TypeError, ValueError) as error:
        raise _misfit(params, state, x, inputs, config, x_name, error) from None
    check_shape(
        "params['read_heads']['kernel']",
        params["read_heads"]["kernel"],
        (hidden.shape[-1], None, None),
        "H heads P",
    )

    emitted = {
        "read": heads.emit(params["read_heads"], hidden, config.head_clip),
        "write": heads.emit(params["write_heads"], hidden, config.head_clip),
    }
    previous = {"read": state.read_weights, "write": state.write_weights}
    weights: dict[str, list[Array]] = {"read": [], "write": []}
    reads, memory = [], state.memory
    for kind, which in _schedule(config):
        own = emitted[kind][..., which, :]
        addressing = heads.addressing(
            own,
            config.slot_size,
            config.shift_range,
            config.key_activation,
            config.sharpening,
        )
        focus = address(memory, previous[kind][..., which, :], *addressing)
        weights[kind].append(focus)
        if kind == "read":
            reads.append(read(memory, focus))
        else:
            writing = heads.writing(
                own, config.slot_size, config.shift_range, config.add_activation
            )
            memory = write(memory, focus, *writing)

    new_state = NTMState(
        memory=memory,
        read_weights=jnp.concatenate(weights["read"], axis=-2),
        write_weights=jnp.concatenate(weights["write"], axis=-2),
        reads=jnp.concatenate(reads, axis=-2),
        controller=carry,
    )
    output = _append_reads(hidden, new_state.reads) @ params["output"]["kernel"]
    bias = params["output"]["bias"]
    output = output + bias.reshape((1,) * (output.ndim - 1) + bias.shape)
    return new_state, output, emitted


def unroll(
    params: Params,
    xs: Array,
    *,
    config: NTMConfig,
    state: NTMState | None = None,
    mask: Array | None = None,
) -> tuple[NTMState, Array]:
    """A whole sequence: `lax.scan` of `step` over time, the first axis.

    The backward pass computes most of each step again instead of keeping it, so that
    memory grows with T by little more than the states. Where it applies, it is that of
    `ntm_jax.fast`: there, steps at the end that the mask leaves out in all sequences
    cost nothing, but it knows reverse mode alone, and with a mask only first
    derivatives; for others scan `step` yourself. Batch axes of `xs` cost less than
    `jax.vmap` over sequences.

    Args:
      params: of `init`.
      xs: `[T, ..., input_size]`.
      config: of the machine.
      state: to go on from; the initial state if not given.
      mask: bool `[T, ...]`, True where there is a step to make. Elsewhere the state
        stays exactly as it was and the output is zero, whatever the input.

    Returns:
      The state after the last step, and the outputs `[T, ..., output_size]`, logits.

    Raises:
      TypeError, ValueError: for arguments that do not fit the machine.
    """
    state = _check_sequence(params, xs, config, state)
    if mask is not None:
        if getattr(mask, "dtype", None) != jnp.bool_:
            raise TypeError(
                f"mask: got {getattr(mask, 'dtype', type(mask).__name__)}, "
                "want an array of bool"
            )
        check_shape("mask", mask, xs.shape[:-1], "T ...")

    if fast.applies(config, state):
        # Raises what `step` raises for parameters that do not fit.
        x = jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype)
        jax.eval_shape(lambda p, s, x: _step(p, s, x, config, "xs"), params, state, x)
        return fast.unroll(params, xs, config, state, mask)

    def masked_step(state: NTMState, inputs: tuple[Array, Array | None]):
        x, keep = inputs
        if keep is None:
            new_state, y, _ = _step(params, state, x, config, "xs")
            return new_state, y
        # The input too: whatever stands in a masked step must not reach the gradient.
        new_state, y, _ = _step(params, state, _select(keep, x, 0), config, "xs")
        new_state = jax.tree.map(
            lambda new, old: _select(keep, new, old), new_state, state
        )
        return new_state, _select(keep, y, 0)

    return lax.scan(jax.checkpoint(masked_step, prevent_cse=False), state, (xs, mask))


class Trace(struct.PyTreeNode):
    """What a machine did at every step of a sequence: time is the first axis of all.

    Attributes:
      states: after each step.
      outputs: `[T, ..., output_size]`, logits.
      read: what the read heads emitted, each field `[T, ..., R, (its own axes)]`.
      write: the same of the write heads, `[T, ..., W, (its own axes)]`.
      writing: what the write heads erased and added, `[T, ..., W, M]`.
    """

    states: NTMState
    outputs: Array
    read: heads.Addressing
    write: heads.Addressing
    writing: heads.Writing


def trace(
    params: Params,
    xs: Array,
    *,
    config: NTMConfig,
    state: NTMState | None = None,
) -> Trace:
    """All that happens in `unroll`, step by step, to look at and to draw.

    Args:
      params: of `init`.
      xs: `[T, ..., input_size]`.
      config: of the machine.
      state: to go on from; the initial state if not given.

    Returns:
      A `Trace`, whose `states` and `outputs` are those of `unroll`.

    Raises:
      TypeError, ValueError: for arguments that do not fit the machine.
    """
    state = _check_sequence(params, xs, config, state)

    def traced_step(state: NTMState, x: Array):
        state, y, emitted = _step(params, state, x, config, "xs")
        return state, (state, y, emitted)

    _, (states, outputs, emitted) = lax.scan(traced_step, state, xs)
    m, reach = config.slot_size, config.shift_range
    kinds = config.key_activation, config.sharpening
    return Trace(
        states=states,
        outputs=outputs,
        read=heads.addressing(emitted["read"], m, reach, *kinds),
        write=heads.addressing(emitted["write"], m, reach, *kinds),
        writing=heads.writing(emitted["write"], m, reach, config.add_activation),
    )


def _check_sequence(
    params: Params, xs: Array, config: NTMConfig, state: NTMState | None
) -> NTMState:
    """The state to start from, once all arguments are known to fit."""
    check_float_array("xs", xs)
    if xs.ndim < 2:
        raise ValueError(
            f"xs: got shape {list(xs.shape)}, want [T, ..., input_size]: time first"
        )
    check_config(config)
    if state is None:
        state = initial_state(params, config, batch_shape=xs.shape[1:-1])
    x = jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype)
    check_fit("xs", params, state, x, config)
    return state


def check_fit(
    x_name: str,
    params: Params,
    state: NTMState,
    x: Array | jax.ShapeDtypeStruct,
    config: NTMConfig,
) -> None:
    """Raises unless params, state and input belong to one machine and one batch."""
    check_config(config)
    check_params(params, config)
    check_float_array(x_name, x)
    if x.ndim < 1:
        raise ValueError(f"{x_name}: got shape [], want [..., input_size]")
    if not isinstance(state, NTMState):
        raise TypeError(f"state: got {type(state).__name__}, want an NTMState")
    r, w, m = config.num_read_heads, config.num_write_heads, config.slot_size
    batch = x.shape[:-1]
    check_arrays(**{"state.memory": (state.memory, "... N M")})
    n = state.memory.shape[-2]
    for field, shape, axes in (
        ("memory", (n, m), "N M"),
        ("read_weights", (r, n), "R N"),
        ("write_weights", (w, n), "W N"),
        ("reads", (r, m), "R M"),
    ):
        leaf = getattr(state, field)
        check_float_array(f"state.{field}", leaf)
        check_shape(f"state.{field}", leaf, (*batch, *shape), f"... {axes}")
        _check_same_dtype(f"state.{field}", leaf, params)
    _check_same_dtype(x_name, x, params)
    wanted = jax.eval_shape(
        lambda: controllers.initial_carry(config.controller, 1, batch)
    )
    if jax.tree.structure(state.controller) != jax.tree.structure(wanted):
        raise ValueError(
            f"state.controller: got {jax.tree.structure(state.controller)}, want "
            f"{jax.tree.structure(wanted)}, the controller's own carry"
        )
    for leaf, want in zip(jax.tree.leaves(state.controller), jax.tree.leaves(wanted)):
        check_shape("state.controller", leaf, want.shape, "...")
        if jnp.issubdtype(want.dtype, jnp.floating):
            _check_same_dtype("state.controller", leaf, params)


def check_params(params: Params, config: NTMConfig) -> None:
    """Raises unless `params` are, by their shapes, of a machine of this config."""
    if not isinstance(params, Mapping):
        raise TypeError(f"params: got {type(params).__name__}, want a dict of init")
    m, reach = config.slot_size, config.shift_range
    kernels = {
        "read_heads": (config.num_read_heads, heads.addressing_size(m, reach)),
        "write_heads": (config.num_write_heads, heads.writing_size(m, reach)),
        "output": (config.output_size,),
    }
    for name in ALWAYS:
        if name not in params:
            raise ValueError(f"params: got {sorted(params)}, want {name!r} among them")
    for name, sizes in kernels.items():
        axes = "O" if name == "output" else "heads P"
        for entry, shape, letters in (
            ("kernel", (None, *sizes), f"H {axes}"),
            ("bias", sizes, axes),
        ):
            where = f"params[{name!r}][{entry!r}]"
            if not isinstance(params[name], Mapping) or entry not in params[name]:
                raise ValueError(f"params: got no {where}, want that of init")
            check_float_array(where, params[name][entry])
            check_shape(where, params[name][entry], shape, letters)
    shapes = {name: list(params[name]["kernel"].shape) for name in kernels}
    hidden_size = shapes["read_heads"][0]
    rows = [hidden_size, hidden_size, hidden_size + config.num_read_heads * m]
    if [shape[0] for shape in shapes.values()] != rows:
        raise ValueError(
            f"params: got kernels of the shapes {shapes}, want H rows in read_heads "
            "and write_heads and H + num_read_heads * slot_size in output"
        )


def check_config(config: NTMConfig) -> None:
    """Raises a `TypeError` unless `config` is an `NTMConfig`."""
    if not isinstance(config, NTMConfig):
        raise TypeError(f"config: got {type(config).__name__}, want an NTMConfig")


def _check_same_dtype(name: str, leaf: Any, params: Params) -> None:
    dtype = params["output"]["bias"].dtype
    if leaf.dtype != dtype:
        raise TypeError(
            f"{name}: got dtype {leaf.dtype}, want {dtype}, the dtype of params"
        )


def cast(tree: PyTree, dtype: jax.typing.DTypeLike) -> PyTree:
    """The tree with its floating leaves of that dtype."""
    return jax.tree.map(
        lambda leaf: (
            leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
        ),
        tree,
    )


def _schedule(config: NTMConfig) -> list[tuple[str, slice]]:
    """Which heads act in turn; those that act together see the same memory."""
    r, w = config.num_read_heads, config.num_write_heads
    if config.order == "read_first":
        return [("read", slice(0, r)), ("write", slice(0, w))]
    if config.order == "write_first":
        return [("write", slice(0, w)), ("read", slice(0, r))]
    return [
        (kind, slice(i, i + 1))
        for i in range(max(r, w))
        for kind, count in (("read", r), ("write", w))
        if i < count
    ]


def _append_reads(vector: Array, reads: Array) -> Array:
    """`[..., V]` and `[..., R, M]` to `[..., V + R M]`."""
    flat = reads.reshape(*reads.shape[:-2], reads.shape[-2] * reads.shape[-1])
    return jnp.concatenate([vector, flat], axis=-1)


def _select(keep: Array, new: Array, old: Array | int) -> Array:
    """`new` where `keep` is True, else `old`; `keep` lacks the last axes of `new`."""
    keep = keep.reshape(*keep.shape, *(1,) * (new.ndim - keep.ndim))
    return jnp.where(keep, new, old)


def _misfit(
    params: Params,
    state: NTMState,
    x: Array,
    inputs: Array,
    config: NTMConfig,
    x_name: str,
    error: Exception,
) -> Exception:
    """What to raise instead of the controller's error: is x wrong, or are params?"""
    size = controllers.fitting_input_size(
        config.controller, params["controller"], state.controller, inputs
    )
    if size is None or size == inputs.shape[-1]:
        return ValueError(
            "params['controller']: got parameters that do not fit the config's "
            f"controller, want those of init: {str(error).splitlines()[0]}"
        )
    read_size = inputs.shape[-1] - x.shape[-1]
    return ValueError(
        f"{x_name}: got width {x.shape[-1]}, want {size - read_size}, the input_size "
        "that params were made for"
    )
