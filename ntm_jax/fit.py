"""Checks that arguments fit each other: parameters, state, inputs and config."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from ntm_jax import controllers, heads
from ntm_jax.checks import check_array, check_arrays, check_float_array, check_shape
from ntm_jax.config import NTMConfig
from ntm_jax.types import NTMState, Params, SparseState

# The parameters that every machine has.
ALWAYS = ("controller", "read_heads", "write_heads", "output")


def check_config(config: NTMConfig) -> None:
    """Raises a `TypeError` unless `config` is an `NTMConfig`."""
    if not isinstance(config, NTMConfig):
        raise TypeError(f"config: got {type(config).__name__}, want an NTMConfig")


def check_params(params: Params, config: NTMConfig) -> None:
    """Raises unless the shapes of `params` are those of a machine of this config."""
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
        # A module may keep integers, such as a quantized kernel.
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


def check_fit(
    x_name: str,
    params: Params,
    state: NTMState | SparseState,
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
    if not isinstance(state, NTMState | SparseState):
        raise TypeError(f"{state_name}: got {type(state).__name__}, want an NTMState")
    r, w, m = config.num_read_heads, config.num_write_heads, config.slot_size
    batch = x.shape[:-1]
    check_arrays(**{f"{state_name}.memory": (state.memory, "... N M")})
    kept = n = state.memory.shape[-2]
    if isinstance(state, SparseState):
        kept = state.access.num_kept(n)
        _check_slots(state, {"read_slots": r, "write_slots": w}, kept, state_name)
    for field, shape, axes in (
        ("memory", (n, m), "N M"),
        ("read_weights", (r, kept), "R N" if kept is n else "R K"),
        ("write_weights", (w, kept), "W N" if kept is n else "W K"),
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


def _check_slots(
    state: SparseState, num_heads: dict[str, int], kept: int, state_name: str
) -> None:
    for field, heads_of_kind in num_heads.items():
        name, leaf = f"{state_name}.{field}", getattr(state, field)
        check_array(name, leaf)
        if leaf.dtype != jnp.int32:
            raise TypeError(f"{name}: got dtype {leaf.dtype}, want int32")
        batch = state.memory.shape[:-2]
        check_shape(name, leaf, (*batch, heads_of_kind, kept), "... heads K")


def _check_same_dtype(name: str, leaf: Any, params: Params) -> None:
    dtype = params["output"]["bias"].dtype
    if leaf.dtype != dtype:
        raise TypeError(
            f"{name}: got dtype {leaf.dtype}, want {dtype}, the dtype of params"
        )


def misfit(
    params: Params,
    state: NTMState | SparseState,
    x: Array,
    inputs: Array,
    config: NTMConfig,
    x_name: str,
    rngs: controllers.Rngs | None,
    error: Exception,
) -> Exception:
    """The error to raise instead of the controller's: are x or params wrong?"""
    size = controllers.fitting_input_size(
        config.controller, params["controller"], state.controller, inputs, rngs
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


def no_key(rngs: controllers.Rngs | None, error: Exception) -> Exception:
    """The error to raise instead of Flax's, for a name that is not in `rngs`."""
    got = ", ".join(map(repr, rngs)) if rngs else "none"
    says = str(error).splitlines()[0].removesuffix(".")
    return ValueError(
        f"rngs: got {got}, but the controller draws random numbers ({says}); pass "
        "rngs={'dropout': key} or the like, or a config whose controller is "
        "deterministic"
    )


def check_flags(xs: Array, **flags: Array | None) -> None:
    """Raises unless each is None or has a bool for every step of `xs`."""
    for name, value in flags.items():
        if value is None:
            continue
        if getattr(value, "dtype", None) != jnp.bool_:
            raise TypeError(
                f"{name}: got {getattr(value, 'dtype', type(value).__name__)}, "
                "want an array of bool"
            )
        check_shape(name, value, xs.shape[:-1], "T ...")
