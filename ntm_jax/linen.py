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

The parameters of a cell are those of `ntm_jax.init`, under the same names: what is at
`variables["params"]` of a cell alone, and at `["cell"]` of it in `nn.RNN`, goes to
`ntm_jax.step` and `ntm_jax.unroll` as it is, and the other way.

For long sequences, or such of several lengths, `ntm_jax.unroll` with a mask is the
better choice, also in a Linen module (`self.param("memory", ntm_jax.init, config,
xs.shape[-1])` are parameters for it). With `seq_lengths` and `return_carry=True`,
`nn.RNN` keeps the state after every step. At 1,000 steps of 16 sequences on 128 slots
of 20 that is 186 MiB forwards and 1,465 with the gradient of outputs and state (998 of
the outputs alone), where `unroll` takes 15 and 153; of
`nn.RNN(nn.remat(NTMCell, prevent_cse=False)(config))` they are 186 and 655 (187).

For a sequence of no steps at all, length 0, `nn.RNN` returns the state that padding led
to, as it does with Flax's own cells; `unroll` returns the initial one.
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
    """A Neural Turing Machine that obeys the contract of Flax's recurrent cells.

    The carry is an `ntm_jax.NTMState`; the outputs `[..., output_size]` are logits.
    Inputs may have any number of batch axes.

    Attributes:
      config: of the machine.
      dtype: of what is computed, and so of the carry and the outputs, whatever that of
        the inputs; `param_dtype` if not given.
      param_dtype: of the parameters.
    """

    config: NTMConfig
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        """What is learned of the first carry: that is asked for before any step."""
        self._check()
        if learns_initial_state(self.config):
            self.initial = self.param(
                "initial", init_initial, self.config, self.param_dtype
            )

    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> NTMState:
        """The state before the first step, for inputs of that shape.

        Nothing of it is drawn, so `rng`, which other cells need, may be anything.

        A cell that learns of it has to be bound to its parameters, as in `nn.RNN`.
        Alone it is asked by `cell.init_with_output(key, key, input_shape,
        method="initialize_carry")`, and by `cell.apply` likewise.

        Raises:
          TypeError, ValueError: for another kind of shape than this, or a cell that
            learns of it and is not bound.
        """
        del rng
        self._check()
        batch_shape = cells.cell_batch_shape(input_shape)
        learned = {}
        if learns_initial_state(self.config):
            if self.scope is None:
                raise ValueError(
                    "initialize_carry: got a cell without parameters whose config "
                    "learns the initial state, want it called through cell.apply(..., "
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
        """One step: the new carry, and the output `[..., output_size]`, logits.

        Raises:
          TypeError, ValueError: for a carry or inputs that do not fit the machine.
        """
        cells.check_cell_call(carry, inputs)
        # Made once, for all four of them, and only where there are none.
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
        return cells.cell_step(params, carry, inputs, self.config, dtype)

    @property
    def num_feature_axes(self) -> int:
        """One: an input is a vector."""
        return 1
