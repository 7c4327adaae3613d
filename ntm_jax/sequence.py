"""Many steps of the machine: `unroll` for its results, `trace` for all that happens."""

import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import Array, export, lax

from ntm_jax import fast, heads
from ntm_jax.access import Interface
from ntm_jax.arrays import canonical, reset_where, select
from ntm_jax.checks import check_choice, check_count, check_float_array, check_rngs
from ntm_jax.config import NTMConfig
from ntm_jax.controllers import Rngs
from ntm_jax.fit import check_config, check_fit, check_flags
from ntm_jax.initial import initial_state
from ntm_jax.machine import named_step
from ntm_jax.masking import harmless_state
from ntm_jax.sharding import compiler_shards
from ntm_jax.sparse import through_time
from ntm_jax.sparse.kinds import Access
from ntm_jax.types import NTMState, Params, PyTree, SparseState, Trace

Implementation = Literal["auto", "fast", "pallas", "autodiff"]
# x, mask, reset and the controller's keys, of one step.
StepInputs = tuple[Array, Array | None, Array | None, Rngs | None]


def unroll(
    params: Params,
    xs: Array,
    *,
    config: NTMConfig,
    state: NTMState | SparseState | None = None,
    mask: Array | None = None,
    reset: Array | None = None,
    save_every: int | None = None,
    implementation: Implementation = "auto",
    rngs: Rngs | None = None,
    access: str | Access | None = None,
) -> tuple[Any, Array]:
    """A whole sequence: `lax.scan` of `step` over time, the first axis.

    >>> from ntm_jax import init
    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> mask = jnp.arange(41)[:, None] < jnp.array([[41, 30]])  # two lengths
    >>> state, ys = unroll(params, jnp.ones((41, 2, 9)), config=config, mask=mask)
    >>> ys.shape
    (41, 2, 8)

    Batch axes of `xs` cost less than `jax.vmap` over sequences.

    Args:
      params: of `init`.
      xs: `[T, ..., input_size]`.
      config: of the machine.
      state: the state before the first step; the initial state if not given.
      mask: bool `[T, ...]`, True for steps to make. At a masked step (False) the output
        is zero, whatever the input and the state. The state stays exactly as it was,
        unless `reset` is True at that step. Its cotangent passes unchanged likewise.
      reset: bool `[T, ...]`, True where the state is reset before the step. It becomes
        the `initial_state` of `params`, with the same number of slots. Gradients flow
        into the learned parts of the initial state. So one sequence can hold several
        episodes: each is computed as if it were unrolled by itself. A reset also
        happens at a masked step.
      save_every: K, steps between the states that are saved for the backward pass. The
        other states are recomputed, so T / K + K memories are held at once. The default
        is the square root of T, which makes that sum smallest. (On a CPU, a large batch
        is split into G parts that are computed in turn. The default K is then the
        square root of G T.) With `"autodiff"` the default is 1, and with `"pallas"` it
        is less than the square root of T if only that fits on the chip.
      implementation: how gradients are computed.
        `"fast"` has a backward pass derived by hand (`ntm_jax.fast`), about twice as
        fast; on a CPU, trailing steps that the mask leaves out in all sequences cost
        nothing. It supports reverse mode (`jax.grad`) and forward over reverse
        (`jax.hessian`), but not forward mode alone (`jax.jvp`). It needs
        `order="read_first"`, `previous_weighting="own"`, float32 or float64, and no
        symbolic sizes.
        `"pallas"` is `"fast"` as one Pallas kernel forwards and one backwards, for a
        TPU (`ntm_jax.pallas`). It was compiled for a TPU, and compared with a scan of
        `step` in interpret mode. It was never run on a TPU, so `"auto"` never picks it.
        On a CPU it runs in Pallas' interpret mode, which is slow and meant for tests;
        on a GPU it is an error. It needs what `"fast"` needs, float32, an LSTM of one
        layer, and a memory that fits on the chip. It supports reverse mode (`jax.grad`)
        alone and only once, and `jax.vmap`. On several devices, wrap the call in
        `jax.shard_map` with `check_vma=False`: XLA cannot split a kernel.
        `"autodiff"` is a scan that JAX differentiates, slower, in any mode and any
        number of times: `jax.jvp`, gradients of gradients, gradient penalties, MAML.
        `"auto"`, the default, is `"fast"` if these allow it, else `"autodiff"`. It
        cannot see how you will differentiate: for `jax.jvp` alone, or for `jax.grad` of
        `jax.grad`, ask for `"autodiff"`.
      rngs: keys for a controller that draws random numbers, under Flax's names, such as
        `{"dropout": key}`. Step t gets `jax.random.fold_in(key, t)`. `"fast"` and
        `"pallas"` do not support them.
      access: the slots that a weighting keeps, as `initial_state` takes it, if no state
        is given. With a `SparseState`, gradients flow through the slots that are kept;
        only reverse mode and only once. `save_every` has no effect; `"fast"`,
        `"pallas"` and `reset` do not support it.

    Returns:
      The state after the last step, and the outputs `[T, ..., output_size]`, logits.
      With explicit shardings, both are sharded over the batch axes as `xs` is.

    Raises:
      TypeError, ValueError: for arguments that do not fit the machine or each other,
        and for `"fast"` and `"pallas"` where they do not apply.
      NotImplementedError: when either of these is differentiated twice in reverse.
    """
    check_choice("implementation", implementation, get_args(Implementation))
    params, xs, first = _checked(params, xs, config, state, access)
    check_flags(xs, mask=mask, reset=reset)
    check_rngs(rngs)
    if isinstance(first, SparseState):
        if reset is not None:
            raise ValueError(
                f"reset: got flags with access={str(first.access)!r}, want None: "
                "unroll each episode by itself"
            )
        if implementation in ("fast", "pallas"):
            raise ValueError(
                f"implementation: got {implementation!r} with access="
                f"{str(first.access)!r}, want 'auto' or 'autodiff'"
            )
        run = functools.partial(through_time.unroll, config=config)
        keys = _keys(rngs, xs.shape[0])
        return compiler_shards(run, xs, first, params, mask, keys)
    if save_every is not None:
        check_count("save_every", save_every)
        if save_every > 1 and export.is_symbolic_dim(xs.shape[0]):
            raise ValueError(
                f"save_every: got {save_every} with the symbolic number of steps "
                f"{xs.shape[0]}, want None or 1; or export for a number of steps"
            )
    initial = _after_reset(params, first, config, reset)

    by_hand = fast
    if implementation == "pallas":
        from ntm_jax import pallas as by_hand  # not before: Pallas takes long to import
    obstacle = by_hand.obstacle(config, first) or _symbolic_size(xs, first)
    if rngs:
        obstacle = obstacle or "rngs, and it needs a controller without random numbers"
    if implementation in ("fast", "pallas") and obstacle:
        raise ValueError(
            f"implementation: got {implementation!r} with {obstacle}; pass "
            "implementation='auto' or 'autodiff'"
        )
    scans = implementation == "autodiff" or obstacle or xs.shape[0] == 0
    run = functools.partial(
        _unroll,
        config=config,
        save_every=save_every,
        by_hand=None if scans else by_hand.unroll,
    )
    return compiler_shards(run, xs, first, params, initial, mask, reset, rngs)


def trace(
    params: Params,
    xs: Array,
    *,
    config: NTMConfig,
    state: NTMState | None = None,
    mask: Array | None = None,
    reset: Array | None = None,
    rngs: Rngs | None = None,
) -> Trace:
    """Everything that happens in `unroll`, step by step, to look at and to plot.

    >>> from ntm_jax import init
    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> traced = trace(params, jnp.ones((41, 9)), config=config)
    >>> traced.states.write_weights.shape  # the write head's weighting at every step
    (41, 1, 128)

    Args:
      params: of `init`.
      xs: `[T, ..., input_size]`.
      config: of the machine.
      state: the state before the first step; the initial state if not given.
      mask: bool `[T, ...]`, as `unroll` takes it. At a masked step the output is zero,
        and so is all that the heads emit.
      reset: bool `[T, ...]`, as `unroll` takes it.
      rngs: as `unroll` takes them.

    Returns:
      A `Trace`, whose `states` and `outputs` are those of `unroll`.

    Raises:
      TypeError, ValueError: for arguments that do not fit the machine or each other.
    """
    if isinstance(state, SparseState):
        raise TypeError(
            "state: got SparseState, want an NTMState: a trace has all slots"
        )
    params, xs, first = _checked(params, xs, config, state)
    check_flags(xs, mask=mask, reset=reset)
    check_rngs(rngs)
    initial = _after_reset(params, first, config, reset)

    run = functools.partial(_trace, config=config)
    return compiler_shards(
        run, xs, first, params, initial, mask, reset, rngs, ends=False
    )


def _unroll(
    xs: Array,
    state: NTMState,
    params: Params,
    initial: NTMState | None,
    mask: Array | None,
    reset: Array | None,
    rngs: Rngs | None,
    *,
    config: NTMConfig,
    save_every: int | None,
    by_hand: Callable[..., tuple[NTMState, Array]] | None,
) -> tuple[NTMState, Array]:
    """`unroll`, for arguments that fit. `initial` is the state after a reset.

    `by_hand` is an `unroll` with a backward pass derived by hand, or None for a scan.
    """
    if by_hand:
        # Raises what `step` raises for parameters that do not fit.
        x = jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype)
        jax.eval_shape(
            lambda p, s, x: named_step(p, s, x, config, "xs")[:2], params, state, x
        )
        return by_hand(params, xs, config, state, initial, mask, reset, save_every)

    def output_step(state: NTMState, inputs: StepInputs) -> tuple[NTMState, Array]:
        return _masked_step(params, state, inputs, config, initial)[:2]

    inputs = xs, mask, reset, _keys(rngs, xs.shape[0])
    return _scan(output_step, state, inputs, save_every or 1)


def _trace(
    xs: Array,
    state: NTMState,
    params: Params,
    initial: NTMState | None,
    mask: Array | None,
    reset: Array | None,
    rngs: Rngs | None,
    *,
    config: NTMConfig,
) -> Trace:
    """`trace`, for arguments that fit. `initial` is the state after a reset."""

    def traced_step(state: NTMState, inputs: StepInputs):
        state, y, interface = _masked_step(params, state, inputs, config, initial)
        return state, (state, y, interface)

    inputs = xs, mask, reset, _keys(rngs, xs.shape[0])
    _, (states, outputs, emitted) = lax.scan(traced_step, state, inputs)
    m, reach = config.slot_size, config.shift_range
    kinds = config.key_activation, config.sharpening
    interface = (
        heads.addressing(emitted.read, m, reach, *kinds),
        heads.addressing(emitted.write, m, reach, *kinds),
        heads.writing(emitted.write, m, config.add_activation),
    )
    if mask is not None:
        interface = jax.tree.map(lambda leaf: select(mask, leaf, 0), interface)
    read, write, writing = interface
    return Trace(
        states=states, outputs=outputs, read=read, write=write, writing=writing
    )


def _masked_step(
    params: Params,
    state: NTMState,
    inputs: StepInputs,
    config: NTMConfig,
    initial: NTMState | None,
) -> tuple[NTMState, Array, Interface]:
    """`named_step` after a reset, if there is one; a masked step changes nothing."""
    x, mask, reset, rngs = inputs
    state = reset_where(reset, initial, state)
    if mask is None:
        return named_step(params, state, x, config, "xs", rngs=rngs)
    # Neither the state nor the input of a masked step may reach the gradient.
    harmless = harmless_state(config.controller, state)
    seen, x = select(mask, state, harmless), select(mask, x, 0)
    new_state, y, interface = named_step(params, seen, x, config, "xs", rngs=rngs)
    return select(mask, new_state, state), select(mask, y, 0), interface


def _keys(rngs: Rngs | None, num_steps: int) -> Rngs | None:
    """The keys of every step, `[T]`."""
    if not rngs:
        return None
    steps = jnp.arange(num_steps)
    of_steps = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
    return {name: of_steps(key, steps) for name, key in rngs.items()}


def _after_reset(
    params: Params, state: NTMState, config: NTMConfig, reset: Array | None
) -> NTMState | None:
    """What a reset puts in place of `state`, batch axes of size 1; None without one."""
    if reset is None:
        return None
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
    """`lax.scan` that saves every `save_every`-th state and recomputes the others."""
    body = jax.checkpoint(body, prevent_cse=False)
    length = jax.tree.leaves(inputs)[0].shape[0]
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


def _symbolic_size(xs: Array, state: NTMState) -> str | None:
    """A size of the sequence or the memory that is symbolic, in words; None if none."""
    for size in (*xs.shape[:-1], *state.memory.shape):
        if export.is_symbolic_dim(size):
            return f"the symbolic size {size}, and it needs numbers"
    return None


def _checked(
    params: Params,
    xs: Array,
    config: NTMConfig,
    given: NTMState | SparseState | None,
    access: str | Access | None = None,
) -> tuple[Params, Array, Any]:
    """Params, inputs and the state before the first step, which fit each other."""
    state: Any
    params, xs, state = canonical((params, xs, given))
    check_float_array("xs", xs)
    if xs.ndim < 2:
        raise ValueError(
            f"xs: got shape {list(xs.shape)}, want [T, ..., input_size]: time first"
        )
    check_config(config)
    if state is None:
        state = initial_state(params, config, batch_shape=xs.shape[1:-1], access=access)
    elif access is not None:
        raise ValueError(
            f"access, state: got {str(access)!r} and a state, want one of them: pass "
            "access to initial_state"
        )
    x = jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype)
    check_fit("xs", params, state, x, config)
    return params, xs, state
