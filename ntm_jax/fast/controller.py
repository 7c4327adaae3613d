"""The controller on the fast path: Flax's LSTM by hand, any other module through JAX.

Both classes have the same methods. The gradient of the parameters is not added up step
by step: `step_vjp` returns the cotangents of what the weights multiply into, and
`gradient` makes one product over all steps and sequences.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ntm_jax import controllers
from ntm_jax.arrays import flat
from ntm_jax.config import NTMConfig
from ntm_jax.fast import xla
from ntm_jax.fast.dense import dense, dense_gradient, merge_first


@dataclasses.dataclass(frozen=True)
class AnyController:
    """JAX derives its reverse. Its parameters' gradient is that of one big batch."""

    module: nn.Module

    def pack(self, params):
        """The parameters in the form that the other methods take."""
        return params

    def transpose(self, weights, input_size):
        """The weights in the form that `step_vjp` takes."""
        del input_size
        return weights

    def step(self, weights, carry, x, reads):
        """The new carry, the output, and residuals, structured like `step_vjp`'s."""
        inputs = jnp.concatenate([x, flat(reads)], axis=-1)
        carry, hidden = controllers.apply(self.module, weights, carry, inputs)
        return carry, hidden, (x, (carry, hidden))

    def outputs(self, smalls, residuals):
        """The outputs `[G, T, B, H]`; of masked steps anything finite."""
        del smalls
        _, (_, hiddens) = residuals
        return hiddens

    def needed(self, small):
        """What `step_vjp` needs of the state before; None in place of the rest."""
        return small

    def step_vjp(self, transposed, residuals, small, d_carry, d_hidden):
        """Cotangents of the carry and of the reads, and what `gradient` collects."""
        x, _ = residuals
        _, vjp = jax.vjp(
            lambda *inputs: self.step(transposed, *inputs)[:2],
            small.carry,
            x,
            small.reads,
        )
        d_old_carry, d_x, d_reads = vjp((d_carry, d_hidden))
        return d_old_carry, d_reads, (d_x, (d_carry, d_hidden))

    def gradient(self, weights, smalls, xs, collected):
        """Gradients of the weights and of `xs`, from all steps at once."""
        d_xs, collected = collected
        inputs, collected = jax.tree.map(
            merge_first, ((smalls.carry, xs, smalls.reads), collected)
        )
        _, vjp = jax.vjp(lambda weights: self.step(weights, *inputs)[:2], weights)
        return vjp(collected)[0], d_xs


@dataclasses.dataclass(frozen=True)
class LSTM:
    """Flax's `OptimizedLSTMCell`, with all of its kernels in one.

    z = [x, reads, h] kernel + bias holds all gates before their activations.
    """

    reads: tuple[int, int]  # R and M

    def pack(self, params):
        """One kernel `[I + R M + H, 4 H]` and one bias `[4 H]`, gates i, f, g, o."""
        params = nn.meta.unbox(params)  # as `nn.with_partitioning` boxes them

        def gates(kind, entry):
            return jnp.concatenate([params[kind + g][entry] for g in "ifgo"], axis=-1)

        kernel = jnp.concatenate([gates("i", "kernel"), gates("h", "kernel")])
        return {"kernel": kernel, "bias": gates("h", "bias")}

    def transpose(self, weights, input_size):
        """The kernel, transposed, without the rows of x: `gradient` serves these."""
        return xla.pad_rows(xla.pad_columns(weights["kernel"][input_size:].T))

    def step(self, weights, carry, x, reads):
        """The new carry, the output, and the gates as residuals."""
        c, h = carry
        gates = lstm_gates(dense(weights, jnp.concatenate([x, flat(reads), h], -1)))
        carry = lstm_cell(gates, c)
        return carry, carry[1], gates

    def outputs(self, smalls, gates):
        """The outputs are the carry's h."""
        del gates
        _, h = smalls.carry
        return h[:, 1:]

    def needed(self, small):
        """Only c: the gates already hold what h and the reads contribute."""
        return small._replace(reads=None, carry=(small.carry[0], None))

    def step_vjp(self, transposed, gates, small, d_carry, d_hidden):
        """Cotangents of the carry and of the reads, and dz for `gradient`."""
        c, _ = small.carry
        d_c, d_h = d_carry
        d_c, d_z = lstm_cell_vjp(gates, c, (d_c, d_h + d_hidden))
        size = math.prod(self.reads)
        # Beyond these columns is what `pad_columns` has added.
        d_inputs = xla.product(d_z, transposed)[:, : size + c.shape[-1]]
        d_reads, d_h = jnp.split(d_inputs, [size], axis=-1)
        return (d_c, d_h), d_reads.reshape(-1, *self.reads), d_z

    def gradient(self, weights, smalls, xs, d_z):
        """Gradients of the weights and of `xs`, from all steps at once."""
        inputs = xs, flat(smalls.reads), smalls.carry[1]
        d_xs = d_z @ weights["kernel"][: xs.shape[-1]].T
        return dense_gradient(inputs, d_z), d_xs


def lstm_gates(z: Array) -> Array:
    """i, f, g, o, `[B, 4 H]`: g = tanh(z_g), the others σ(z).

    One tanh makes all four, as σ(z) = (tanh(z / 2) + 1) / 2 within the dtype's eps.
    """
    # A constant of the program, not an operation of every step.
    is_g = np.arange(z.shape[-1]) // (z.shape[-1] // 4) == "ifgo".index("g")
    scale = jnp.asarray(np.where(is_g, 1, 0.5)[None], z.dtype)
    return scale * jnp.tanh(scale * z) + (1 - scale)


def lstm_cell(gates: Array, c: Array) -> tuple[Array, Array]:
    """C' = f c + i g;  h' = o tanh(c')."""
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    c = f * c + i * g
    return c, o * jnp.tanh(c)


def lstm_cell_vjp(
    gates: Array, c: Array, d_carry: tuple[Array, Array]
) -> tuple[Array, Array]:
    """dc, and dz through the gates' activations.

    dc' += dh' o (1 - tanh(c')^2);  dc = f dc'
    dz   = (dc' g i (1 - i), dc' c f (1 - f), dc' i (1 - g^2), dh' tanh(c') o (1 - o))
    """
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    d_c, d_h = d_carry
    squashed = jnp.tanh(f * c + i * g)
    # What may be 0 comes first: d_c * c may overflow, and zero times infinity is NaN.
    d_c = d_c + d_h * (o * (1 - squashed**2))
    d_z = jnp.concatenate(
        [
            d_c * (g * (i * (1 - i))),
            d_c * (c * (f * (1 - f))),
            d_c * (i * (1 - g**2)),
            d_h * (squashed * (o * (1 - o))),
        ],
        axis=-1,
    )
    return d_c * f, d_z


def controller_of(config: NTMConfig) -> AnyController | LSTM:
    """The config's controller as the fast path runs it."""
    module = config.controller
    if (
        type(module) is nn.OptimizedLSTMCell
        and module.dtype is None
        and module.gate_fn is nn.sigmoid
        and module.activation_fn is nn.tanh
    ):
        return LSTM((config.num_read_heads, config.slot_size))
    return AnyController(module)
