"""Which parameters weight decay applies to."""

import itertools
from typing import Any

import jax

PyTree = Any
# Names of Flax, Haiku and Equinox.
_WEIGHTS = {"kernel", "embedding"}
_OFFSETS_AND_SCALES = {"bias", "b", "offset", "scale"}
# The entries of `params["initial"]`.
_INITIAL = {"memory", "read_focus", "write_focus", "reads", "carry"}


def weight_decay_mask(params: PyTree) -> PyTree:
    """True for the parameters that weight decay should shrink: the kernels.

    Pass this function as `mask` to `optax.adamw`. The usual mask, `ndim > 1`, is wrong
    for a machine: the biases of its heads have the shape `[heads, P]`, and they hold
    how the heads move.

    >>> import ntm_jax
    >>> config = ntm_jax.NTMConfig(output_size=8, initial_memory="learned")
    >>> params = ntm_jax.init(jax.random.key(0), config, input_size=9)
    >>> mask = ntm_jax.weight_decay_mask(params)
    >>> mask["read_heads"], mask["initial"]
    ({'bias': False, 'kernel': True}, {'memory': False})

    Args:
      params: of `init`, or of a whole model of Flax Linen or NNX, Haiku or Equinox,
        with machines anywhere in it. Leading axes of stacked parameters, as `jax.vmap`
        and `nn.scan` make them, change nothing for parameters with the names below.

    Returns:
      A bool for every parameter, in the structure of `params`. By the parameter's own
      name: True for `kernel` and `embedding`; False for `bias`, `b`, `offset`, `scale`,
      any other name that ends with `bias`, and a machine's learned initial state, which
      is where a machine starts and not what it multiplies with. Any other parameter:
      True if it has at least two axes.
    """
    return jax.tree_util.tree_map_with_path(_is_decayed, params)


def _is_decayed(path: tuple[Any, ...], leaf: Any) -> bool:
    names = _names(path)
    if _in_initial_state(names):
        return False
    own = names[-1] if names else ""
    if own in _WEIGHTS:
        return True
    if own in _OFFSETS_AND_SCALES or own.endswith("bias"):
        return False
    return getattr(leaf, "ndim", 0) > 1


def _in_initial_state(names: list[str]) -> bool:
    return any(
        above == "initial" and below in _INITIAL
        for above, below in itertools.pairwise(names)
    )


def _names(path: tuple[Any, ...]) -> list[str]:
    """The names on the way to a parameter, without positions in lists."""
    names = []
    for key in path:
        name = getattr(key, "key", getattr(key, "name", None))
        if isinstance(name, str):
            names.extend(name.split("/"))  # Haiku's names of nested modules
    # An NNX parameter is a variable, whose array is its `value`.
    return names[:-1] if names[-1:] == ["value"] else names
