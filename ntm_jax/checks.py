"""Checks of public arguments. An error has the form "name: got X, want Y"."""

import dataclasses
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.dtypes import canonicalize_dtype

# Without float16, in which small weights that matter would be zero.
FLOATS = ("float32", "bfloat16", "float64")
# Numbers out of this range are zero or infinite in float32, or nearly so.
_SMALLEST, _LARGEST = 1e-37, 1e38


def check_arrays(**arguments: tuple[Any, str]) -> dict[str, int]:
    """Checks the ranks, sizes and dtypes of all arrays of one call.

    Args:
      arguments: for each name, the array and its axes, for example `"... N M"`. A
        letter stands for one size, which is the same wherever the letter occurs. `...`
        stands for the leading batch axes, which are the same for all arguments. The
        first array with a letter determines its size.

    Returns:
      The size of each letter.

    Raises:
      TypeError: if an argument is not an array of floats, or its dtype is not that of
        the first argument.
      ValueError: if a shape does not fit the axes, or N or M is 0.
    """
    sizes: dict[str, int] = {}
    leading: tuple[int, ...] | None = None
    first_name, (first, _) = next(iter(arguments.items()))
    for name, (value, axes) in arguments.items():
        check_float_array(name, value)
        if canonicalize_dtype(value.dtype) != canonicalize_dtype(first.dtype):
            raise TypeError(
                f"{name}: got dtype {value.dtype}, want {first.dtype}, "
                f"the dtype of {first_name}"
            )
        letters = axes.replace("...", "").split()
        batch_rank = value.ndim - len(letters)
        if leading is None and batch_rank >= 0 and "..." in axes:
            leading = value.shape[:batch_rank]
        for letter, size in zip(letters, value.shape[max(batch_rank, 0) :]):
            sizes.setdefault(letter, size)
        wanted = tuple(sizes.get(letter) for letter in letters)
        if "..." in axes:
            wanted = (..., *wanted) if leading is None else (*leading, *wanted)
        check_shape(name, value, wanted, axes)
        if 0 in (sizes.get(letter) for letter in letters if letter in "NM"):
            raise ValueError(
                f"{name}: got shape {list(value.shape)}, want N >= 1 and M >= 1"
            )
    return sizes


def check_array(name: str, value: Any, wanted: str = "an array") -> None:
    """Raises a `TypeError` unless `value` is an array (or tracer)."""
    if not _is_array(value):
        raise TypeError(f"{name}: got {type(value).__name__}, want {wanted}")


def check_float_array(name: str, value: Any) -> None:
    """Raises a `TypeError` unless `value` is an array (or tracer) of floats."""
    check_array(name, value, "an array of floats")
    check_dtype(name, value.dtype)


def check_dtype(name: str, dtype: Any) -> None:
    """Raises a `TypeError` unless `dtype` is one of `FLOATS`."""
    try:
        # An object that only has a dtype is refused, as newer NumPy and JAX do.
        named = isinstance(dtype, str | type | np.dtype)
        known = named and str(jnp.dtype(dtype)) in FLOATS
    except TypeError:
        known = False
    if not known:
        raise TypeError(f"{name}: got dtype {dtype}, want {' or '.join(FLOATS)}")


def check_shape(name: str, value: Any, wanted: Sequence[Any], axes: str) -> None:
    """Raises a `ValueError` unless `value` has the `wanted` shape.

    Args:
      name: name of the argument.
      value: an array or tracer.
      wanted: sizes. None stands for any size, `...` for any axes.
      axes: the names of the axes, for the message.
    """
    try:
        chex.assert_shape(value, tuple(wanted))
    except AssertionError:
        named = ", ".join(axes.split())
        sizes = ", ".join(
            {...: "...", None: "any"}.get(size, str(size)) for size in wanted
        )
        raise ValueError(
            f"{name}: got shape {list(value.shape)}, want [{named}] = [{sizes}]"
        ) from None


def check_count(name: str, value: Any, minimum: int = 1) -> None:
    """Raises unless `value` is an integer from `minimum` to 2**31 - 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: got {value!r}, want an integer >= {minimum}")
    if value < minimum:
        raise ValueError(f"{name}: got {value}, want an integer >= {minimum}")
    if int(value) >= 2**31:
        raise ValueError(f"{name}: got {value}, want less than 2**31")


def check_size(name: str, value: Any, minimum: int = 1) -> None:
    """Raises unless `value` is a size of an axis: a count, or a symbolic size.

    `jax.export.symbolic_shape` makes symbolic sizes. One is refused unless its
    constraints say that it is at least `minimum`.
    """
    if not export.is_symbolic_dim(value):
        check_count(name, value, minimum)
        return
    try:
        fits = value >= minimum
    except jax.errors.InconclusiveDimensionOperation:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: got the symbolic size {value}, want one that is known to be at "
            f"least {minimum}: pass constraints=['{value} >= {minimum}'] to "
            "jax.export.symbolic_shape"
        )


def check_positive(
    name: str, value: Any, *, zero_too: bool = False, none_too: bool = False
) -> None:
    """Raises unless `value` is a positive number that float32 can represent.

    Args:
      name: name of the argument.
      value: what to check.
      zero_too: whether zero is allowed.
      none_too: whether None is allowed.
    """
    if none_too and value is None:
        return
    wanted = f"a positive number from {_SMALLEST:g} to {_LARGEST:g}"
    wanted += ", or 0" * zero_too + ", or None" * none_too
    kinds = int | float | np.integer | np.floating
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name}: got {value!r}, want {wanted}")
    if not (_SMALLEST <= value <= _LARGEST or (zero_too and value == 0)):
        raise ValueError(f"{name}: got {value}, want {wanted}")


def check_fields(config: Any, zero_too: Sequence[str] = ()) -> None:
    """Raises unless the fields of a dataclass fit their annotations.

    A `Literal` field has one of its choices, and a number is positive. Fields with
    other annotations are not checked. A NumPy scalar becomes a number of Python, whose
    dtype is that of the arrays that it meets.

    Args:
      config: the dataclass.
      zero_too: names of the fields that may also be zero.
    """
    for field in dataclasses.fields(config):
        name, value = field.name, getattr(config, field.name)
        if isinstance(value, np.generic):
            value = value.item()
            object.__setattr__(config, name, value)
        if get_origin(field.type) is Literal:
            check_choice(name, value, get_args(field.type))
        elif field.type is int:
            check_count(name, value, 0 if name in zero_too else 1)
        elif field.type is float or field.type == (float | None):
            check_positive(
                name,
                value,
                zero_too=name in zero_too,
                none_too=field.type is not float,
            )


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raises unless `value` is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: got {value!r}, want one of {', '.join(choices)}")


def check_key(name: str, key: Any) -> None:
    """Raises unless `key` is one key, made by `jax.random.key` or `PRNGKey`."""
    is_array = _is_array(key)
    if not (is_array and _key_shape(key) == ()):
        got = f"{key.dtype}{list(key.shape)}" if is_array else type(key).__name__
        raise TypeError(f"{name}: got {got}, want one key: use jax.random.key(seed)")


def check_rngs(rngs: Any) -> None:
    """Raises unless `rngs` is None, or a dict of names and keys."""
    if rngs is None:
        return
    if not isinstance(rngs, Mapping) or not all(isinstance(n, str) for n in rngs):
        raise TypeError(
            f"rngs: got {type(rngs).__name__}, want a dict of names and keys, such as "
            "{'dropout': jax.random.key(0)}"
        )
    for name, key in rngs.items():
        check_key(f"rngs[{name!r}]", key)


def _key_shape(array: Any) -> tuple[int, ...] | None:
    """The shape of an array of keys; None if the array does not hold keys."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return array.shape
    if array.dtype != jnp.uint32:
        return None
    try:
        # How many words of a `PRNGKey` are one key depends on the default generator.
        return jax.eval_shape(jax.random.wrap_key_data, array).shape
    except TypeError:
        return None


def _is_array(value: Any) -> bool:
    """Whether the value is an array or a tracer."""
    # Their classes too have a `shape`, but there it is a property, not a tuple.
    return isinstance(getattr(value, "shape", None), tuple) and hasattr(value, "dtype")
