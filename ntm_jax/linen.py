"""The machine as a Flax Linen cell: for `nn.RNN`, `nn.scan` and any Linen model.

>>> import flax.linen as nn
>>> import jax
>>> import ntm_jax
>>> from ntm_jax.linen import NTMCell
>>> layer = nn.RNN(NTMCell(ntm_jax.NTMConfig(output_size=8)))
>>> xs = jax.numpy.ones((4, 20, 9))  # batch, time, input
>>> variables = layer.init(jax.random.key(0), xs)
>>> layer.apply(variables, xs).shape
(4, 20, 8)

The parameters of a cell have the same names and shapes as those of `ntm_jax.init`. They
are at `variables["params"]` for a cell alone and at `variables["params"]["cell"]` for a
cell in `nn.RNN`. `ntm_jax.step` and `ntm_jax.unroll` accept them as they are, and the
cell accepts those of `ntm_jax.init`.

Use `ntm_jax.unroll` with a mask for long sequences and for sequences of different
lengths. It also works inside a Linen module, with the parameters
`self.param("memory", ntm_jax.init, config, xs.shape[-1])`. It needs less memory: with
`seq_lengths` and `return_carry=True`, `nn.RNN` stores the state after every step. For
1,000 steps of 16 sequences, with 128 slots of width 20, the layers need (in MiB):

======================================================  =======  ============  =========
layer                                                   forward  gradient,     gradient,
                                                                 return_carry  no carry
======================================================  =======  ============  =========
`unroll`                                                     15           122        116
`nn.RNN(NTMCell(config))`                                   186         1,465        998
`nn.RNN(nn.remat(NTMCell, prevent_cse=False)(config))`      186           655        187
======================================================  =======  ============  =========

A controller that draws random numbers, such as one with dropout, gets the streams of
the module: `nn.RNN(NTMCell(config), split_rngs={"params": False, "dropout": True})` and
`layer.apply(variables, xs, rngs={"dropout": key})`.

For a sequence of length 0, `nn.RNN` returns the state after all padding, as it does
with Flax's own cells. `unroll` returns the initial state.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from ntm_jax import cells, fit
from ntm_jax.checks import check_dtype
from ntm_jax.config import NTMConfig
from ntm_jax.initial import init, init_initial, learns_initial_state, start
from ntm_jax.types import NTMState

PyTree = Any


class NTMCell(nn.RNNCellBase):
    """A Neural Turing Machine with the interface of Flax's recurrent cells.

    The carry is an `ntm_jax.NTMState`. The outputs `[..., output_size]` are logits.
    Inputs can have any number of batch axes.

    Attributes:
      config: the machine's `ntm_jax.NTMConfig`.
      dtype: dtype of the computation, the carry and the outputs. It does not depend on
        the dtype of the inputs. The default is `param_dtype`.
      param_dtype: dtype of the parameters.
    """

    config: NTMConfig
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        """Makes the parameters of the initial state, which precedes any step."""
        self._check()
        if learns_initial_state(self.config):
            self.initial = self.param(
                "initial", init_initial, self.config, self.param_dtype
            )

    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> NTMState:
        """The state before the first step.

        If the config learns a part of the initial state, the cell must be bound to its
        parameters, as it is in `nn.RNN`. For a cell alone, call
        `cell.apply(variables, key, input_shape, method="initialize_carry")`, or
        `cell.init_with_output(key, key, input_shape, method="initialize_carry")` if
        there are no parameters yet.

        Args:
          rng: ignored, because the initial state is not random.
          input_shape: `(..., input_size)`, the shape of one step's inputs.

        Raises:
          TypeError: if `input_shape` is not a sequence of integers.
          ValueError: if a size is negative, or the cell has to be bound and is not.
        """
        del rng
        self._check()
        batch_shape = cells.cell_batch_shape(input_shape)
        learned = {}
        if learns_initial_state(self.config):
            if self.scope is None:
                raise ValueError(
                    "initialize_carry: got a cell without parameters, want a bound "
                    "cell, because the config learns the initial state: call "
                    "cell.apply(variables, key, input_shape, "
                    "method='initialize_carry')"
                )
            learned = self.initial
        return start(
            learned,
            self.config,
            num_slots=self.config.num_slots,
            batch_shape=batch_shape,
            dtype=self.dtype or self.param_dtype,
        )

    @nn.nowrap
    def _check(self) -> None:
        fit.check_config(self.config)
        check_dtype("param_dtype", self.param_dtype)
        if self.dtype is not None:
            check_dtype("dtype", self.dtype)

    @nn.compact
    def __call__(self, carry: NTMState, inputs: Array) -> tuple[NTMState, Array]:
        """One step of the machine.

        Args:
          carry: the state before the step.
          inputs: `[..., input_size]`.

        Returns:
          The state after the step, and the output `[..., output_size]`, which consists
          of logits.

        Raises:
          TypeError, ValueError: if the carry or the inputs do not fit the machine.
        """
        cells.check_cell_call(carry, inputs)
        # One call of `init` makes all four parameters, and only if they are missing.
        made = functools.cache(
            lambda: init(
                self.make_rng("params"),
                self.config,
                inputs.shape[-1],
                self.param_dtype,
            )
        )

        def own(name: str) -> PyTree:
            if self.has_variable("params", name):
                return self.get_variable("params", name)  # `step` checks it
            return self.param(name, lambda _: made()[name])

        params = {name: own(name) for name in fit.ALWAYS}
        dtype = self.dtype or self.param_dtype
        return cells.cell_step(params, carry, inputs, self.config, dtype, self._rngs())

    @nn.nowrap
    def _rngs(self) -> dict[str, Array]:
        """Keys for a controller that draws random numbers, one of every stream.

        As in every Flax module, `init` falls back to the stream of the parameters.
        """
        streams = set(self.scope.rngs if self.scope is not None else ())
        if not self.is_initializing():
            streams -= {"params"}
        return {name: self.make_rng(name) for name in sorted(streams)}

    @property
    def num_feature_axes(self) -> int:
        """One: an input is a vector."""
        return 1
