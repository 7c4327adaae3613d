"""Sequences of categories that a model writes itself, each step after what it wrote."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from .model import Model

PyTree = Any
# Below it, a temperature counts as 0.
_COLDEST = 1e-6


class Sampled(NamedTuple):
    """What was written.

    Attributes:
      categories: int `[T, B]`.
      bits: `[T, B]`, what each costs under the model, at temperature 1.
    """

    categories: Array
    bits: Array


@functools.partial(
    jax.jit, static_argnames=("model", "following", "num_steps", "top_k")
)
def sample(
    params: PyTree,
    prompt: Array,
    keys: Array,
    temperature: Array,
    *,
    model: Model,
    following: Callable[[Array], Array],
    num_steps: int,
    top_k: int | None = None,
) -> Sampled:
    """Writes sequences, one for each key.

    Args:
      params: of the model.
      prompt: `[P, B, ...]`, the inputs up to the first that asks for an answer.
      keys: `[B]`; each decides what its sequence draws.
      temperature: divides the logits; 0 takes the most probable category.
      model: whose outputs are the logits of categories.
      following: from the categories `[B]` of a step to the inputs of the next.
      num_steps: T.
      top_k: draw only from so many most probable categories; None draws from all.
    """
    total = len(prompt) - 1 + num_steps, *prompt.shape[1:]
    start = model.start(params, jax.ShapeDtypeStruct(total, prompt.dtype))
    # Or XLA computes with a constant memory while it compiles, slowly.
    carry = lax.optimization_barrier(start)

    def read(carry: PyTree, x: Array) -> tuple[PyTree, None]:
        return model.step(params, carry, x)[0], None

    def write(state: PyTree, step: Array) -> tuple[PyTree, Sampled]:
        carry, x = state
        carry, logits = model.step(params, carry, x)
        own = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, step)
        chosen = choose(own, logits, temperature, top_k)
        costs = -jnp.take_along_axis(
            jax.nn.log_softmax(logits), chosen[:, None], axis=-1
        )[:, 0]
        x = following(chosen).astype(prompt.dtype)
        return (carry, x), Sampled(chosen, costs / jnp.log(2.0).astype(costs.dtype))

    carry, _ = lax.scan(read, carry, prompt[:-1])
    return lax.scan(write, (carry, prompt[-1]), jnp.arange(num_steps))[1]


def choose(
    keys: Array, logits: Array, temperature: Array, top_k: int | None = None
) -> Array:
    """A category for each key, int32 `[B]`, from logits `[B, O]`; see `sample`."""
    if top_k is not None and top_k < logits.shape[-1]:
        lowest = lax.top_k(logits, top_k)[0][:, -1:]
        logits = jnp.where(logits < lowest, -jnp.inf, logits)
    # The largest of logits with Gumbel noise is distributed as their softmax.
    shape = logits.shape[-1:]
    noise = jax.vmap(lambda key: jax.random.gumbel(key, shape, logits.dtype))(keys)
    warm = logits / jnp.maximum(temperature, _COLDEST) + noise
    return jnp.argmax(jnp.where(temperature > _COLDEST, warm, logits), axis=-1).astype(
        jnp.int32
    )
