"""`unroll` as one Pallas program: all steps of a sequence in one launch.

The memory, the weightings and the carry stay on the chip from the first step to the
last. Inputs and outputs stream past them. On a TPU this is a Mosaic kernel; elsewhere
it runs in Pallas' interpret mode, which is slow and serves for tests.

A step in the kernel is `step` of `ntm_jax.fast`, and its reverse is `step_vjp`: nothing
is written twice. So this holds no mathematics, only where each value lies and when.

* `plan`: how the work is split, and whether it fits on the chip.
* `kernels`: what runs on the chip.
* `through_time`: the two launches, and the `custom_vjp`.
"""

import functools
import math

import jax
from jax import Array, lax

from ntm_jax import fast
from ntm_jax.config import NTMConfig
from ntm_jax.fast.controller import LSTM, controller_of
from ntm_jax.fast.layout import Tiles
from ntm_jax.pallas.plan import Plan
from ntm_jax.pallas.through_time import run
from ntm_jax.types import NTMState, Params


def obstacle(config: NTMConfig, state: NTMState) -> str | None:
    """Why `unroll` here cannot run this machine from this state; None if it can."""
    if state.memory.dtype != "float32":
        return f"params of {state.memory.dtype}, and it needs float32"
    if why := fast.obstacle(config, state):
        return why
    if not isinstance(controller_of(config), LSTM):
        return (
            f"controller={config.controller!r}, and it needs one layer of "
            "nn.OptimizedLSTMCell, such as ntm_jax.lstm() makes"
        )
    if jax.default_backend() == "gpu":
        return "a GPU, and it needs a TPU, or a CPU for tests"
    return None


def unroll(
    params: Params,
    xs: Array,
    config: NTMConfig,
    state: NTMState,
    initial: NTMState | None,
    mask: Array | None,
    reset: Array | None,
    save_every: int | None,
) -> tuple[NTMState, Array]:
    """`ntm_jax.unroll` for arguments that fit and to which there is no `obstacle`.

    Raises:
      ValueError: if the memory does not fit on the chip.
    """
    whole_batch = Tiles(1, math.prod(xs.shape[1:-1]))
    plan = Plan.of(config, state, xs, save_every)

    def form(interpret: bool):
        steps = functools.partial(run, config, plan, interpret)

        def unroll_in_form(params, xs, *others):
            return fast.unroll_by(
                steps, whole_batch, False, params, xs, config, *others
            )

        return unroll_in_form

    return lax.platform_dependent(
        *(params, xs, state, initial, mask, reset),
        tpu=form(interpret=False),
        default=form(interpret=True),
    )
