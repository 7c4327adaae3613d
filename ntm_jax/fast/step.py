"""One step of the machine and its reverse, made of the equations.

A step that the mask leaves out passes on the state before it and, in reverse, the
cotangent after it. What it computes is not used: it is selected away and not multiplied
by zero, since zero times NaN is NaN.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ntm_jax import heads
from ntm_jax.addressing import clip_factor, unit_key
from ntm_jax.arrays import flat, select
from ntm_jax.config import NTMConfig
from ntm_jax.fast import equations as eq
from ntm_jax.fast import xla
from ntm_jax.fast.controller import controller_of
from ntm_jax.fast.dense import dense
from ntm_jax.fast.layout import PyTree, Small, State


class Controls(NamedTuple):
    """What the heads do at one step."""

    unit_key: Array  # [B, K, M], the key over its norm
    strength: Array  # [B, K]
    gate: Array  # [B, K]
    shift: Array  # [B, K, S]
    gamma: Array  # [B, K]
    erase: Array  # [B, W, M]
    add: Array  # [B, W, M]


# Controls, and what takes their cotangents to those of the two parts emitted.
Linearized = tuple[Controls, Callable[[Controls], tuple[Array, Array]]]


class LayerOutputs(NamedTuple):
    """Outputs of the layers with weights; the reverse replaces them by cotangents."""

    emitted: Array  # [B, Z]
    controller: PyTree


class StepResiduals(NamedTuple):
    """What `step_vjp` needs beside the states before and after the step."""

    inverse_norms: Array  # [B, N]
    cosine: Array  # [B, K, N]
    scalars: Array  # [B, K, 3]: largest cosine, deficit, largest shifted weight


def step(
    config: NTMConfig, weights: PyTree, state: State, x: Array, mask: Array | None
) -> tuple[State, Array, StepResiduals, LayerOutputs]:
    """The new state, the controller's output `[B, H]`, and what `step_vjp` needs."""
    memory, old = state
    carry, hidden, controller_residuals = controller_of(config).step(
        weights["controller"], old.carry, x, old.reads
    )
    emitted = dense(weights["heads"], hidden)
    c = xla.noinline(functools.partial(controls, config))(
        *split_emitted(config, emitted)
    )

    content, of_content = eq.content_weights(memory, c.unit_key, c.strength)
    shifted, _ = eq.gate_and_shift(content, old.weightings, c.gate, c.shift)
    weightings, of_sharpen = eq.sharpen(shifted, c.gamma)
    reading, writing = by_kind(config, weightings)
    reads = eq.read(memory, reading)

    def write_after(reads, *arguments):
        return reads, write(*arguments)

    # The call waits for the reads: XLA may then write where they were read.
    reads, memory = xla.noinline(write_after)(reads, memory, writing, c, mask)

    small = Small(weightings, reads, carry)
    if mask is not None:
        small = select(mask, small, old)
    residuals = StepResiduals(
        of_content.inverse_norms,
        of_content.cosine,
        jnp.stack((of_content.max_cosine, *of_sharpen), axis=-1),
    )
    outputs = LayerOutputs(emitted, controller_residuals)
    return State(memory, small), hidden, residuals, outputs


def step_vjp(
    config: NTMConfig,
    transposed: PyTree,
    d_new: State,
    d_hidden: Array,
    before: State,
    weightings: Array,
    residuals: StepResiduals,
    outputs: LayerOutputs,
    mask: Array | None,
    linearized: Linearized | None = None,
) -> tuple[State, LayerOutputs]:
    """Cotangents of the state before, and of the layers' outputs.

    Args:
      config: of the machine.
      transposed: the weights, as `_reverse_steps` transposes them.
      d_new: cotangents of the state after the step.
      d_hidden: `[B, H]`, cotangents of the controller's output.
      before: the state before the step.
      weightings: `[B, K, N]`, after the step.
      residuals: of the step.
      outputs: of the step's layers.
      mask: bool `[B]`, or None.
      linearized: `linearized_controls` of the step, or None to compute them here.
    """
    memory, old = before
    max_cosine, *of_sharpen = jnp.moveaxis(residuals.scalars, -1, 0)
    of_content = eq.ContentResiduals(
        residuals.cosine, max_cosine, residuals.inverse_norms
    )
    c, controls_vjp = linearized or linearized_controls(config, outputs.emitted)
    reading, writing = by_kind(config, weightings)

    # What the step computed, in reverse.
    d_writing, d_erase, d_add = xla.noinline(eq.write_vjp)(
        memory, writing, c.erase, c.add, d_new.memory
    )
    of_read, d_reading = eq.read_vjp(memory, reading, d_new.small.reads)
    d_weightings = eq.saturated(jnp.concatenate([d_reading, d_writing], axis=1))
    content = eq.content_from_residuals(of_content, c.strength)
    shifted, rolled = eq.gate_and_shift(content, old.weightings, c.gate, c.shift)
    d_shifted, d_gamma = eq.sharpen_vjp(
        eq.SharpenResiduals(*of_sharpen),
        shifted,
        c.gamma,
        weightings,
        d_new.small.weightings + d_weightings,
    )
    d_content, d_previous, d_gate, d_shift = eq.gate_and_shift_vjp(
        rolled, content, old.weightings, c.gate, c.shift, d_shifted
    )
    of_key, d_norms, d_unit_key, d_strength = eq.content_weights_vjp(
        of_content, memory, c.unit_key, c.strength, content, d_content
    )
    d_memory = eq.memory_cotangent(
        d_new.memory,
        memory,
        eq.kept_by_erase(writing, c.erase),
        (of_key, of_read),
        of_content.inverse_norms,
        d_norms,
    )

    d_parts = controls_vjp(
        Controls(d_unit_key, d_strength, d_gate, d_shift, d_gamma, d_erase, d_add)
    )
    d_emitted = eq.saturated(jnp.concatenate(d_parts, axis=-1))

    def controller_vjp(transposed, residuals, old, d_carry, d_hidden, d_emitted):
        d_hidden = d_hidden + xla.product(d_emitted, transposed["heads"])
        return controller_of(config).step_vjp(
            transposed["controller"], residuals, old, d_carry, d_hidden
        )

    d_carry, d_reads, d_controller = xla.noinline(controller_vjp)(
        transposed,
        outputs.controller,
        old,
        d_new.small.carry,
        d_hidden,
        d_emitted,
    )
    d_old, d_controller = jax.tree.map(
        eq.saturated,
        (State(d_memory, Small(d_previous, d_reads, d_carry)), d_controller),
    )
    if mask is not None:
        d_old = select(mask, d_old, d_new)
    return d_old, zeros_unless(mask, LayerOutputs(d_emitted, d_controller))


def write(
    memory: Array, writing: Array, controls: Controls, mask: Array | None
) -> Array:
    """The memory after a step, for the weightings `[B, W, N]` of its write heads."""
    written = eq.write(memory, writing, controls.erase, controls.add)
    return written if mask is None else select(mask, written, memory)


def recompute_write(
    config: NTMConfig,
    memory: Array,
    weightings: Array,
    controls: Controls,
    mask: Array | None,
) -> Array:
    """The memory after a step, from its write alone."""
    _, writing = by_kind(config, weightings)
    return write(memory, writing, controls, mask)


# The heads' layer: one kernel for all heads.


def pack_heads(config: NTMConfig, params: Any, entry: str) -> Array:
    """All heads' kernels as one `[H, Z]`, or their biases as one `[Z]`.

    First k, β, g, s and γ of every head, read heads first, then e and a of the write
    heads: `split_emitted` cuts what they emit in two.
    """
    size = heads.addressing_size(config.slot_size, config.shift_range)
    read, write = params["read_heads"][entry], params["write_heads"][entry]
    kinds = read, write[..., :size], write[..., size:]
    return jnp.concatenate([flat(part) for part in kinds], axis=-1)


def split_emitted(config: NTMConfig, emitted: Array) -> list[Array]:
    """What the heads emit, `[B, Z]`, cut in two: for addressing, and for writing."""
    num_heads = config.num_read_heads + config.num_write_heads
    end = num_heads * heads.addressing_size(config.slot_size, config.shift_range)
    return xla.noinline(lambda emitted: jnp.split(emitted, [end], axis=-1))(emitted)


def controls_of(config: NTMConfig, emitted: Array) -> Controls:
    """The controls in what the heads emit, `[B, Z]`."""
    return controls(config, *split_emitted(config, emitted))


def linearized_controls(config: NTMConfig, emitted: Array) -> Linearized:
    """`jax.vjp` of the controls; its reverse returns cotangents of the two parts."""
    return xla.noinline_vjp(
        functools.partial(controls, config), *split_emitted(config, emitted)
    )


def controls(config: NTMConfig, to_address: Array, to_write: Array) -> Controls:
    """What the heads emit, each piece brought into its range."""
    if (clip := config.head_clip) is not None:
        to_address, to_write = (
            jnp.clip(part, -clip, clip) for part in (to_address, to_write)
        )
    m, r, w = config.slot_size, config.num_read_heads, config.num_write_heads
    batch, size = len(to_address), heads.addressing_size(m, config.shift_range)
    key, strength, gate, shift, gamma = heads.addressing(
        to_address.reshape(batch, r + w, size),
        m,
        config.shift_range,
        config.key_activation,
        config.sharpening,
    )
    erase, add = heads.writing(
        to_write.reshape(batch, w, 2 * m), m, config.add_activation
    )
    strength, gamma = clip_factor(strength), clip_factor(gamma)
    return Controls(unit_key(key), strength, gate, shift, gamma, erase, add)


def by_kind(config: NTMConfig, weightings: Array) -> tuple[Array, Array]:
    """The read heads' part and the write heads' part of `[B, K, N]`."""
    r = config.num_read_heads
    return weightings[:, :r], weightings[:, r:]


def zeros_unless(mask: Array | None, tree: PyTree) -> PyTree:
    """The tree, with zeros where the mask is False; without a mask, the tree."""
    if mask is None:
        return tree
    return select(mask, tree, jax.tree.map(jnp.zeros_like, tree))
