"""The Neural Turing Machine: one step of it.

Section 3 of Graves, Wayne and Danihelka 2014 (arXiv:1410.5401). Shapes use the letters
T (time steps), N (slots of the memory), M (width of a slot), R (read heads), W (write
heads), and `...` for batch axes: none, one or many, the same for all arguments.

With the controllers of `ntm_jax`, a step is finite for parameters, state and input with
entries up to 1e18. So is any number of steps, as long as no memory grows beyond that.
The gradient of a step is finite for parameters up to 1e2, state and input up to 1e9.
The gradient of many steps is the product of the gradients of the steps and may overflow
float32: where two slots have the same largest weight, each step can multiply it by γ.
"""

from collections.abc import Callable
from typing import Any

from flax import errors
from jax import Array, lax
from jax import numpy as jnp

from ntm_jax import access, controllers, fit, heads
from ntm_jax.access import AccessState, Interface
from ntm_jax.arrays import canonical, flat
from ntm_jax.checks import check_rngs, check_shape
from ntm_jax.config import NTMConfig
from ntm_jax.controllers import Rngs
from ntm_jax.sparse import access as sparse
from ntm_jax.types import NTMState, Params, SparseState, StateT


def step(
    params: Params,
    state: StateT,
    x: Array,
    *,
    config: NTMConfig,
    rngs: Rngs | None = None,
) -> tuple[StateT, Array]:
    """One time step. `lax.scan` takes `functools.partial(step, params, config=config)`.

    >>> import jax
    >>> from ntm_jax import init, initial_state
    >>> config = NTMConfig(output_size=8)
    >>> params = init(jax.random.key(0), config, input_size=9)
    >>> state = initial_state(params, config)
    >>> state, y = step(params, state, jnp.ones(9), config=config)
    >>> y.shape
    (8,)

    Args:
      params: of `init`.
      state: the state before the step, of either kind of `initial_state`. Its arrays
        begin with the batch axes of `x`.
      x: `[..., input_size]`.
      config: of the machine.
      rngs: keys for a controller that draws random numbers, under Flax's names, such as
        `{"dropout": key}`.

    Returns:
      The new state, of the same kind, and the output `[..., output_size]`, logits.

    Raises:
      TypeError, ValueError: for a state or an input that does not fit the machine.
    """
    params, state, x = canonical((params, state, x))
    check_rngs(rngs)
    return named_step(params, state, x, config, "x", rngs=rngs)[:2]


def named_step(
    params: Params,
    state: StateT,
    x: Array,
    config: NTMConfig,
    x_name: str,
    state_name: str = "state",
    rngs: Rngs | None = None,
    use_memory: Callable[..., tuple[Array, Any]] | None = None,
) -> tuple[StateT, Array, Interface]:
    """`step`, whose errors name its arguments as the caller's are called.

    Also returns what the heads emitted. `use_memory` is how they use the memory, if not
    as the kind of the state says.
    """
    fit.check_fit(x_name, params, state, x, config, state_name)
    inputs = jnp.concatenate([x, flat(state.reads)], axis=-1)
    try:
        carry, hidden = controllers.apply(
            config.controller, params["controller"], state.controller, inputs, rngs
        )
    except errors.InvalidRngError as error:
        raise fit.no_key(rngs, error) from None
    except (errors.FlaxError, TypeError, ValueError) as error:
        raise fit.misfit(
            params, state, x, inputs, config, x_name, rngs, error
        ) from None
    check_shape(
        "params['read_heads']['kernel']",
        params["read_heads"]["kernel"],
        (hidden.shape[-1], None, None),
        "H heads P",
    )
    interface = Interface(
        read=heads.emit(params["read_heads"], hidden, config.head_clip),
        write=heads.emit(params["write_heads"], hidden, config.head_clip),
    )
    if use_memory is None:
        is_sparse = isinstance(state, SparseState)
        use_memory = sparse.apply if is_sparse else _use_all_slots
    reads, accessed = use_memory(interface, state, config)
    new_state = accessed.replace(reads=reads, controller=carry)
    # The barrier keeps XLA from one kernel for both, which it cannot compile for GPUs.
    output = jnp.concatenate([hidden, flat(lax.optimization_barrier(reads))], axis=-1)
    output = output @ params["output"]["kernel"]
    bias = params["output"]["bias"]
    output = output + bias.reshape((1,) * (output.ndim - 1) + bias.shape)
    return new_state, output, interface


def _use_all_slots(
    interface: Interface, state: NTMState, config: NTMConfig
) -> tuple[Array, NTMState]:
    """What the read heads read, and the state with what the heads changed of it."""
    reads, accessed = access.apply(
        interface,
        AccessState(state.memory, state.read_weights, state.write_weights),
        config,
    )
    return reads, state.replace(**accessed._asdict())
