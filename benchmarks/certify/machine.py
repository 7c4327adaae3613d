"""The weights of a machine, as a certificate is about them."""

from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from ntm_jax import NTMConfig, controllers

Array = np.ndarray[Any, np.dtype[np.float64]]


class Machine(NamedTuple):
    """A machine with a feed-forward controller of one layer, as float64.

    Attributes:
      inner: `[I + M, H]`, the controller's kernel. Inputs come first, then the read.
      inner_bias: `[H]`.
      outer: `[H, P]`, what follows from the controller's output: the 26 numbers of the
        read head, the 66 of the write head, and the logits, for slots of 20.
      outer_bias: `[P]`.
      read_to_logits: `[M, O]`, what the logits get from what is read.
    """

    inner: Array
    inner_bias: Array
    outer: Array
    outer_bias: Array
    read_to_logits: Array

    @property
    def slot_size(self) -> int:
        """M."""
        return len(self.read_to_logits)


# What the proof is about. `num_slots` and the sizes are free.
_WANTED = {
    "num_read_heads": 1,
    "num_write_heads": 1,
    "shift_range": 1,
    "order": "read_first",
    "add_activation": "tanh",
    "sharpening": "learned",
    "head_clip": None,
    "previous_weighting": "own",
    "initial_memory": "constant",
    "initial_weighting": "first_slot",
    "initial_read": "zeros",
}


def of(params: Any, config: NTMConfig) -> Machine:
    """The weights of a machine.

    Raises:
      ValueError: if the proof does not cover this kind of machine.
    """
    for name, want in _WANTED.items():
        if (got := getattr(config, name)) != want:
            raise ValueError(f"config.{name}: got {got!r}, want {want!r}")
    controller = config.controller
    if (
        not isinstance(controller, controllers.FeedForward)
        or len(controller.units) != 1
        or controller.activation is not nn.tanh
    ):
        raise ValueError(
            f"config.controller: got {controller!r}, want feed_forward with one layer"
        )
    dense, read, write, output = (
        {name: np.asarray(leaf, np.float64) for name, leaf in layer.items()}
        for layer in (
            params["controller"]["Dense_0"],
            params["read_heads"],
            params["write_heads"],
            params["output"],
        )
    )
    hidden = len(dense["bias"])
    outer = [read["kernel"][:, 0], write["kernel"][:, 0], output["kernel"][:hidden]]
    biases = [read["bias"][0], write["bias"][0], output["bias"]]
    return Machine(
        inner=dense["kernel"],
        inner_bias=dense["bias"],
        outer=np.concatenate(outer, axis=1),
        outer_bias=np.concatenate(biases),
        read_to_logits=output["kernel"][hidden:],
    )
