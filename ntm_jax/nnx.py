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

`NTMCell.params` are those of `ntm_jax.init`, under the same names, and
`NTMCell.from_params` makes a cell of them. So `unroll` serves in an NNX model too, and
its masks and resets with it: for long sequences it is the better choice, as
`ntm_jax.linen` tells with numbers.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from ntm_jax import cells, fit
from ntm_jax.arrays import cast
from ntm_jax.checks import check_count, check_dtype
from ntm_jax.config import NTMConfig
from ntm_jax.initial import init, initial_state
from ntm_jax.types import NTMState, Params

PyTree = Any


class NTMCell(nnx.RNNCellBase):
    """A Neural Turing Machine that obeys the contract of NNX's recurrent cells.

    The carry is an `ntm_jax.NTMState`; the outputs `[..., output_size]` are logits.
    Inputs may have any number of batch axes.

    Attributes:
      config: of the machine.
      dtype: of what is computed, and so of the carry and the outputs, whatever that of
        the inputs; that of the parameters if not given.
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
        """A cell with fresh parameters, for inputs `[..., in_features]`.

        Raises:
          TypeError, ValueError: for arguments that are not of this kind.
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
        """A cell of the parameters of `ntm_jax.init`, or of a Linen cell.

        Raises:
          TypeError, ValueError: for parameters that are not of this config, but for
            those of its controller, which are found out at the first step.
        """
        initial_state(params, config)
        # Whatever is made here first is replaced.
        cell = cls(1, config, dtype=dtype, rngs=nnx.Rngs(0))
        cell._hold(params)
        return cell

    def _hold(self, params: Params) -> None:
        self.weights = nnx.data(jax.tree.map(nnx.Param, dict(params)))

    @property
    def params(self) -> Params:
        """The parameters as `ntm_jax.step` and `ntm_jax.unroll` take them."""
        return jax.tree.map(
            lambda variable: variable[...],
            self.weights,
            is_leaf=lambda leaf: isinstance(leaf, nnx.Variable),
        )

    def initialize_carry(
        self, input_shape: tuple[int, ...], rngs: Any = None, carry_init: Any = None
    ) -> NTMState:
        """The state before the first step, for inputs of that shape.

        Nothing of it is drawn, so `rngs`, which other cells need, may be anything. What
        it begins with is said by the config, not by a `carry_init`.

        Raises:
          TypeError, ValueError: for another kind of shape than this, or a `carry_init`.
        """
        del rngs
        if carry_init is not None:
            raise TypeError(
                f"carry_init: got {carry_init!r}, want None: the config says what a "
                "state begins with"
            )
        return initial_state(
            cast(self.params, self._computed_in()),
            self.config,
            batch_shape=cells.cell_batch_shape(input_shape),
        )

    def __call__(self, carry: NTMState, inputs: Array) -> tuple[NTMState, Array]:
        """One step: the new carry, and the output `[..., output_size]`, logits.

        Raises:
          TypeError, ValueError: for a carry or inputs that do not fit the machine.
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
