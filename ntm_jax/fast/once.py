"""A function that cannot be differentiated twice in reverse, and says so."""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

PyTree = Any


def once_in_reverse(function: Callable[..., PyTree], error: str) -> Callable[..., Any]:
    """`function`; its reverse derivative raises `NotImplementedError(error)`.

    Forward derivatives (`jax.jvp`, and so `jax.hessian` of what calls it) are as usual.
    """
    guarded = jax.custom_jvp(function)

    def guard(tangent):
        is_float = tangent.dtype != jax.dtypes.float0
        return _guard.bind(tangent, error=error) if is_float else tangent

    @guarded.defjvp
    def jvp(primals, tangents):
        _, tangents_out = jax.jvp(function, primals, tangents)
        # Computed apart, the result does not depend on the tangents. JAX can then
        # transpose up to the guard, which raises the error.
        return function(*primals), jax.tree.map(guard, tangents_out)

    return guarded


def _transpose(cotangent: Array, operand: Any, *, error: str) -> Any:
    del cotangent, operand
    raise NotImplementedError(error)


# The identity, which is linear, but whose transpose is an error.
_guard = Primitive("once_in_reverse")
_guard.def_impl(lambda operand, *, error: operand)
_guard.def_abstract_eval(lambda operand, *, error: operand)
ad.deflinear2(_guard, _transpose)
batching.defvectorized(_guard)
mlir.register_lowering(_guard, lambda context, operand, *, error: [operand])
