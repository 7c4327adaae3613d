"""The machine as a Flax NNX cell: for `nnx.RNN` and any NNX model.

>>> import jax
>>> import ntm_jax
>>> from flax import nnx
>>> from ntm_jax.nnx import NTMCell
>>> cell = NTMCell(9, ntm_jax.NTMConfig(output_size=8), rngs=nnx.Rngs(0))
>>> layer = nnx.RNN(cell)
>>> layer(jax.numpy.ones((4, 20, 9))).shape  # batch, time, input
(4, 20, 8)
>>> state, logits = ntm_jax.unroll(
...     cell.params, jax.numpy.ones((20, 4, 9)), config=cell.config
... )

`NTMCell.params` has the same names and shapes as the result of `ntm_jax.init`, and
`NTMCell.from_params` makes a cell from such parameters. An NNX model can therefore call
`unroll`, with its masks and resets. Use it for long sequences: the documentation of
`ntm_jax.linen` compares the memory that the two need.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ntm_jax import cells, fit
from ntm_jax.arrays import canonical, cast
from ntm_jax.checks import check_count, check_dtype
from ntm_jax.config import NTMConfig
from ntm_jax.initial import init, initial_state
from ntm_jax.types import NTMState, Params

PyTree = Any


class NTMCell(nnx.RNNCellBase):
    """A Neural Turing Machine with the interface of NNX's recurrent cells.

    The carry is an `ntm_jax.NTMState`. The outputs `[..., output_size]` are logits.
    Inputs can have any number of batch axes.

    Attributes:
      config: the machine's `ntm_jax.NTMConfig`.
      dtype: dtype of the computation, the carry and the outputs. It does not depend on
        the dtype of the inputs. None means the dtype of the parameters.
    """

    def __init__(
        self,
        in_features: int,
        config: NTMConfig,
        *,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """A cell with new parameters.

        Args:
          in_features: width of an input vector.
          config: the machine's `ntm_jax.NTMConfig`.
          dtype: dtype of the computation. The default is `param_dtype`.
          param_dtype: dtype of the parameters.
          rngs: source of the key for the parameters.

        Raises:
          TypeError, ValueError: if an argument is invalid. The message names it.
        """
        check_count("in_features", in_features)
        fit.check_config(config)
        check_dtype("param_dtype", param_dtype)
        if dtype is not None:
            check_dtype("dtype", dtype)
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(f"rngs: got {type(rngs).__name__}, want an nnx.Rngs")
        self.config = config
        self.dtype = dtype
        self._hold(init(rngs.params(), config, in_features, param_dtype))

    @classmethod
    def from_params(
        cls, params: Params, config: NTMConfig, *, dtype: Any = None
    ) -> "NTMCell":
        """A cell with given parameters.

        Args:
          params: parameters from `ntm_jax.init`, or those of a Linen cell.
          config: the config for which they were made.
          dtype: dtype of the computation. The default is that of the parameters.

        Raises:
          TypeError, ValueError: if the parameters do not fit the config. The parameters
            of the controller are only checked at the first step.
        """
        initial_state(params, config)
        # The next line replaces the parameters that this one makes.
        cell = cls(1, config, dtype=dtype, rngs=nnx.Rngs(0))
        cell._hold(canonical(params))
        return cell

    def _hold(self, params: Params) -> None:
        self.weights = nnx.data(jax.tree.map(nnx.Param, dict(params)))

    @property
    def params(self) -> Params:
        """The parameters in the form that `ntm_jax.step` and `ntm_jax.unroll` take."""
        return jax.tree.map(
            lambda variable: variable[...],
            self.weights,
            is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
        )

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> NTMState:
        """The state before the first step.

        Args:
          input_shape: `(..., input_size)`, the shape of one step's inputs.
          rngs: ignored, because the initial state is not random.
          carry_init: must be None, because the config determines the initial state.

        Raises:
          TypeError: if `input_shape` is not a sequence of integers, or `carry_init` is
            not None.
          ValueError: if a size is negative.
        """
        del rngs
        if carry_init is not None:
            raise TypeError(
                f"carry_init: got {carry_init!r}, want None: set initial_memory, "
                "initial_weighting, initial_read and initial_carry in the config"
            )
        return initial_state(
            cast(self.params, self._computed_in()),
            self.config,
            batch_shape=cells.cell_batch_shape(input_shape),
        )

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
        return cells.cell_step(
            self.params, carry, inputs, self.config, self._computed_in()
        )

    def _computed_in(self) -> Any:
        return self.dtype or self.params["output"]["bias"].dtype

    @property
    def num_feature_axes(self) -> int:
        """One: an input is a vector."""
        return 1
