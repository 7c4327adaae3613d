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

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import errors, struct
from flax.linen import initializers
from jax import Array, lax

from ntm_jax import controllers, fast, heads
from ntm_jax.addressing import address, softmax
from ntm_jax.arrays import flat, restart, select
from ntm_jax.checks import (
    check_array,
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

    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> sorted(params), params["output"]["kernel"].shape
    (['controller', 'output', 'read_heads', 'write_heads'], (120, 8))

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
        config.initial_weighting,
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
    if config.initial_weighting == "learned":
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

    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> initial_state(params, config, num_slots=1024, batch_shape=(16,)).memory.shape
    (16, 1024, 20)

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
    for field in ("initial_memory", "initial_weighting"):
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
    r, m = config.num_read_heads, config.slot_size

    def learned(name: str, axes: str, shape: tuple[int, int]) -> Array:
        where = f"params['initial'][{name!r}]"
        leaf = _learned(initial, name)
        check_float_array(where, leaf)
        check_shape(where, leaf, shape, axes)
        # Who donates the state to a compiled step keeps the parameters.
        return jnp.copy(leaf)

    def focus(kind: str, num_heads: int) -> Array:
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
    # The carry of a cell depends on its own size, not on that of its input.
    carry = controllers.initial_carry(config.controller, 1, ())
    if config.initial_carry == "learned":
        carry = _learned_carry(initial, carry)

    state = NTMState(
        memory=memory,
        read_weights=focus("read", r),
        write_weights=focus("write", config.num_write_heads),
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
        raise ValueError(f"params: got no ['initial'][{name!r}], which config learns")
    return initial[name]


def _learned_carry(initial: Params, own: PyTree) -> PyTree:
    """The learned carry in the structure and shapes of the controller's own."""
    # Whatever file they come from may have made a list of the cell's own kind.
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
    # Copies: who donates the state to a compiled step keeps the parameters.
    return jax.tree.unflatten(jax.tree.structure(own), map(jnp.copy, leaves))


def step(
    params: Params, state: NTMState, x: Array, *, config: NTMConfig
) -> tuple[NTMState, Array]:
    """One time step. `functools.partial(step, params, config=config)` scans as it is.

    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> state = initial_state(params, config)
    >>> state, y = step(params, state, jnp.ones(9), config=config)
    >>> y.shape
    (8,)

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


def cell_step(
    params: Params,
    carry: NTMState,
    inputs: Array,
    config: NTMConfig,
    dtype: jax.typing.DTypeLike,
) -> tuple[NTMState, Array]:
    """`step` for a cell of Flax: computed in `dtype`, errors by the cell's names."""
    check_cell_call(carry, inputs)
    params, inputs = cast(params, dtype), jnp.asarray(inputs, dtype)
    return _step(params, carry, inputs, config, "inputs", "carry")[:2]


def check_cell_call(carry: NTMState, inputs: Array) -> None:
    """Raises unless these are, by their kinds, what a cell is called with."""
    if not isinstance(carry, NTMState):
        raise TypeError(
            f"carry: got {type(carry).__name__}, want an NTMState, such as that of "
            "initialize_carry"
        )
    check_array("inputs", inputs)
    # They are cast; but whole numbers, such as tokens, are no vectors.
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TypeError(f"inputs: got dtype {inputs.dtype}, want floats")
    if inputs.ndim < 1:
        raise ValueError("inputs: got shape [], want [..., input_size]")


def cell_batch_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    """The batch axes in what a cell's `initialize_carry` is given.

    Raises:
      TypeError, ValueError: for something else than `(*batch, input_size)`.
    """
    if not isinstance(input_shape, Sequence) or len(input_shape) == 0:
        raise TypeError(
            f"input_shape: got {input_shape!r}, want sizes (*batch, input_size)"
        )
    for size in input_shape:
        check_count("input_shape", size, 0)
    return tuple(input_shape[:-1])


def _step(
    params: Params,
    state: NTMState,
    x: Array,
    config: NTMConfig,
    x_name: str,
    state_name: str = "state",
) -> tuple[NTMState, Array, dict[str, Array]]:
    """`step`, for a caller whose own arguments are called `x_name` and `state_name`.

    Also returns what the `"read"` and `"write"` heads emitted, `[..., heads, P]`.
    """
    check_fit(x_name, params, state, x, config, state_name)
    inputs = jnp.concatenate([x, flat(state.reads)], axis=-1)
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
    if config.previous_weighting == "read":
        previous["write"] = state.read_weights
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
            writing = heads.writing(own, config.slot_size, config.add_activation)
            memory = write(memory, focus, *writing)

    new_state = NTMState(
        memory=memory,
        read_weights=jnp.concatenate(weights["read"], axis=-2),
        write_weights=jnp.concatenate(weights["write"], axis=-2),
        reads=jnp.concatenate(reads, axis=-2),
        controller=carry,
    )
    seen = jnp.concatenate([hidden, flat(new_state.reads)], axis=-1)
    output = seen @ params["output"]["kernel"]
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
    reset: Array | None = None,
    save_every: int | None = None,
) -> tuple[NTMState, Array]:
    """A whole sequence: `lax.scan` of `step` over time, the first axis.

    With `reset`, several sequences one after another, such as episodes: the results are
    those of unrolling each piece from one flag to the next by itself, with its part of
    the mask. So a flag counts at a masked step too: an episode whose first step is
    padding does not go on from the one before.

    The backward pass makes the memories again from one in K (`save_every`), and keeps
    of every step the foci and what is small. Where it applies, it is that of
    `ntm_jax.fast`: there, steps at the end that the mask leaves out in all sequences,
    and that `reset` does not flag, cost nothing. It can be differentiated once in
    reverse, and forwards over that (`jax.hessian`), but not forwards alone or twice in
    reverse; for these scan `step` yourself. Batch axes of `xs` cost less than
    `jax.vmap` over sequences.

    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> mask = jnp.arange(41)[:, None] < jnp.array([[41, 30]])  # two lengths
    >>> state, ys = unroll(params, jnp.ones((41, 2, 9)), config=config, mask=mask)
    >>> ys.shape
    (41, 2, 8)

    Args:
      params: of `init`.
      xs: `[T, ..., input_size]`.
      config: of the machine.
      state: to go on from; the initial state if not given.
      mask: bool `[T, ...]`, True where there is a step to make. Elsewhere the state
        stays exactly as it was and the output is zero, whatever the input.
      reset: bool `[T, ...]`, True where the state is made afresh before the step: it
        becomes the initial state of `params`, with as many slots as there were, and
        gradients reach what is learned of it.
      save_every: K, steps from one memory that is kept for the backward pass to the
        next; those between are made again, so that T / K + K are held at once. Unless
        given, the square root of T, with which they are fewest, or of G T for a batch
        that is made in G groups; where `ntm_jax.fast` does not apply, 1.

    Returns:
      The state after the last step, and the outputs `[T, ..., output_size]`, logits.

    Raises:
      TypeError, ValueError: for arguments that do not fit the machine.
    """
    state = _check_sequence(params, xs, config, state)
    _check_flags(xs, mask=mask, reset=reset)
    if save_every is not None:
        check_count("save_every", save_every)
    fresh = _fresh(params, state, config, reset)

    if len(xs) and fast.applies(config, state):
        # Raises what `step` raises for parameters that do not fit.
        x = jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype)
        jax.eval_shape(lambda p, s, x: _step(p, s, x, config, "xs"), params, state, x)
        return fast.unroll(params, xs, config, state, fresh, mask, reset, save_every)

    def masked_step(
        state: NTMState, inputs: tuple[Array, Array | None, Array | None]
    ) -> tuple[NTMState, Array]:
        x, keep, afresh = inputs
        state = restart(afresh, fresh, state)
        if keep is None:
            new_state, y, _ = _step(params, state, x, config, "xs")
            return new_state, y
        # The input too: whatever stands in a masked step must not reach the gradient.
        new_state, y, _ = _step(params, state, select(keep, x, 0), config, "xs")
        new_state = select(keep, new_state, state)
        return new_state, select(keep, y, 0)

    return _scan(masked_step, state, (xs, mask, reset), save_every or 1)


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
    reset: Array | None = None,
) -> Trace:
    """All that happens in `unroll`, step by step, to look at and to draw.

    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> what_it_did = trace(params, jnp.ones((41, 9)), config=config)
    >>> what_it_did.states.write_weights.shape  # where the write head looked
    (41, 1, 128)

    Args:
      params: of `init`.
      xs: `[T, ..., input_size]`.
      config: of the machine.
      state: to go on from; the initial state if not given.
      reset: bool `[T, ...]`, as `unroll` takes it.

    Returns:
      A `Trace`, whose `states` and `outputs` are those of `unroll`.

    Raises:
      TypeError, ValueError: for arguments that do not fit the machine.
    """
    state = _check_sequence(params, xs, config, state)
    _check_flags(xs, reset=reset)
    fresh = _fresh(params, state, config, reset)

    def traced_step(state: NTMState, inputs: tuple[Array, Array | None]):
        x, afresh = inputs
        state = restart(afresh, fresh, state)
        state, y, emitted = _step(params, state, x, config, "xs")
        return state, (state, y, emitted)

    _, (states, outputs, emitted) = lax.scan(traced_step, state, (xs, reset))
    m, reach = config.slot_size, config.shift_range
    kinds = config.key_activation, config.sharpening
    return Trace(
        states=states,
        outputs=outputs,
        read=heads.addressing(emitted["read"], m, reach, *kinds),
        write=heads.addressing(emitted["write"], m, reach, *kinds),
        writing=heads.writing(emitted["write"], m, config.add_activation),
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


def _check_flags(xs: Array, **flags: Array | None) -> None:
    """Raises unless each is None or says yes or no for every step of `xs`."""
    for name, value in flags.items():
        if value is None:
            continue
        if getattr(value, "dtype", None) != jnp.bool_:
            raise TypeError(
                f"{name}: got {getattr(value, 'dtype', type(value).__name__)}, "
                "want an array of bool"
            )
        check_shape(name, value, xs.shape[:-1], "T ...")


def check_fit(
    x_name: str,
    params: Params,
    state: NTMState,
    x: Array | jax.ShapeDtypeStruct,
    config: NTMConfig,
    state_name: str = "state",
) -> None:
    """Raises unless params, state and input belong to one machine and one batch."""
    check_config(config)
    check_params(params, config)
    check_float_array(x_name, x)
    if x.ndim < 1:
        raise ValueError(f"{x_name}: got shape [], want [..., input_size]")
    if not isinstance(state, NTMState):
        raise TypeError(f"{state_name}: got {type(state).__name__}, want an NTMState")
    r, w, m = config.num_read_heads, config.num_write_heads, config.slot_size
    batch = x.shape[:-1]
    check_arrays(**{f"{state_name}.memory": (state.memory, "... N M")})
    n = state.memory.shape[-2]
    for field, shape, axes in (
        ("memory", (n, m), "N M"),
        ("read_weights", (r, n), "R N"),
        ("write_weights", (w, n), "W N"),
        ("reads", (r, m), "R M"),
    ):
        leaf = getattr(state, field)
        check_float_array(f"{state_name}.{field}", leaf)
        check_shape(f"{state_name}.{field}", leaf, (*batch, *shape), f"... {axes}")
        _check_same_dtype(f"{state_name}.{field}", leaf, params)
    _check_same_dtype(x_name, x, params)
    wanted = jax.eval_shape(
        lambda: controllers.initial_carry(config.controller, 1, batch)
    )
    carry_name = f"{state_name}.controller"
    if jax.tree.structure(state.controller) != jax.tree.structure(wanted):
        raise ValueError(
            f"{carry_name}: got {jax.tree.structure(state.controller)}, want "
            f"{jax.tree.structure(wanted)}, the controller's own carry"
        )
    for leaf, want in zip(jax.tree.leaves(state.controller), jax.tree.leaves(wanted)):
        check_array(carry_name, leaf)
        check_shape(carry_name, leaf, want.shape, "...")
        if jnp.issubdtype(want.dtype, jnp.floating):
            _check_same_dtype(carry_name, leaf, params)
        elif leaf.dtype != want.dtype:
            raise TypeError(f"{carry_name}: got dtype {leaf.dtype}, want {want.dtype}")


def check_params(params: Params, config: NTMConfig) -> None:
    """Raises unless `params` are, by their shapes, of a machine of this config."""
    if not isinstance(params, Mapping):
        raise TypeError(f"params: got {type(params).__name__}, want a dict of init")
    m, reach = config.slot_size, config.shift_range
    kernels = {
        "output": (config.output_size,),
        "read_heads": (config.num_read_heads, heads.addressing_size(m, reach)),
        "write_heads": (config.num_write_heads, heads.writing_size(m, reach)),
    }
    for name in ALWAYS:
        if name not in params:
            raise ValueError(f"params: got {sorted(params)}, want {name!r} among them")
    for name, sizes in kernels.items():
        axes = "O" if name == "output" else "heads P"
        for entry, shape, letters in (
            ("bias", sizes, axes),
            ("kernel", (None, *sizes), f"H {axes}"),
        ):
            where = f"params[{name!r}][{entry!r}]"
            if not isinstance(params[name], Mapping) or entry not in params[name]:
                raise ValueError(f"params: got no {where}, want that of init")
            check_float_array(where, params[name][entry])
            check_shape(where, params[name][entry], shape, letters)
            _check_same_dtype(where, params[name][entry], params)
    for leaf in jax.tree.leaves(params["controller"]):
        check_array("params['controller']", leaf)
        # A module may keep whole numbers, such as a quantized kernel.
        if not jnp.issubdtype(leaf.dtype, jnp.integer):
            _check_same_dtype("params['controller']", leaf, params)
    shapes = {name: list(params[name]["kernel"].shape) for name in kernels}
    hidden_size = shapes["read_heads"][0]
    rows = [hidden_size + config.num_read_heads * m, hidden_size, hidden_size]
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

    def cast_leaf(leaf: Any) -> Any:
        # What is not even an array is for the checks to name.
        floating = jnp.issubdtype(getattr(leaf, "dtype", bool), jnp.floating)
        return leaf.astype(dtype) if floating else leaf

    return jax.tree.map(cast_leaf, tree)


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


def _fresh(
    params: Params, state: NTMState, config: NTMConfig, reset: Array | None
) -> NTMState | None:
    """What `reset` puts in place of a state like that one; None where it never does."""
    if reset is None:
        return None
    # The same at every place of the batch, so it is made for one.
    return initial_state(
        params,
        config,
        num_slots=state.memory.shape[-2],
        batch_shape=(1,) * (reset.ndim - 1),
    )


def _scan(
    body: Callable[[NTMState, PyTree], tuple[NTMState, Array]],
    state: NTMState,
    inputs: PyTree,
    save_every: int,
) -> tuple[NTMState, Array]:
    """`lax.scan` that keeps every `save_every`-th state and makes the rest again."""
    body = jax.checkpoint(body, prevent_cse=False)
    length = len(jax.tree.leaves(inputs)[0])
    if save_every == 1 or length <= save_every:
        return lax.scan(body, state, inputs)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def chunk(state: NTMState, inputs: PyTree) -> tuple[NTMState, Array]:
        return lax.scan(body, state, inputs)

    whole = length // save_every * save_every
    chunks = jax.tree.map(
        lambda leaf: leaf[:whole].reshape(-1, save_every, *leaf.shape[1:]), inputs
    )
    state, ys = lax.scan(chunk, state, chunks)
    ys = ys.reshape(whole, *ys.shape[2:])
    if whole == length:
        return state, ys
    state, last = chunk(state, jax.tree.map(lambda leaf: leaf[whole:], inputs))
    return state, jnp.concatenate([ys, last])


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
