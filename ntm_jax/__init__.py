"""The Neural Turing Machine for JAX: a memory that a network can address.

A machine is a configuration and a few pure functions over plain arrays:

    config = ntm_jax.NTMConfig(output_size=8)
    params = ntm_jax.init(key, config, input_size=9)
    state = ntm_jax.initial_state(params, config)
    state, y = ntm_jax.step(params, state, x, config=config)
    state, ys = ntm_jax.unroll(params, xs, config=config)
    traced = ntm_jax.trace(params, xs, config=config)

Graves, Wayne and Danihelka 2014, *Neural Turing Machines*, arXiv:1410.5401.
"""

from ntm_jax.addressing import (
    address,
    circular_shift,
    content_weights,
    interpolate,
    sharpen,
)
from ntm_jax.config import NTMConfig
from ntm_jax.controllers import feed_forward, gru, lstm
from ntm_jax.decay import weight_decay_mask
from ntm_jax.initial import init, initial_memory, initial_state
from ntm_jax.machine import step
from ntm_jax.memory import read, write
from ntm_jax.saved import load, pretrained, save
from ntm_jax.sequence import trace, unroll
from ntm_jax.sparse.kinds import Access
from ntm_jax.types import NTMState, SparseState, Trace

__version__ = "0.2.0"

__all__ = (
    "Access",
    "NTMConfig",
    "NTMState",
    "SparseState",
    "Trace",
    "address",
    "circular_shift",
    "content_weights",
    "feed_forward",
    "gru",
    "init",
    "initial_memory",
    "initial_state",
    "interpolate",
    "load",
    "lstm",
    "pretrained",
    "read",
    "save",
    "sharpen",
    "step",
    "trace",
    "unroll",
    "weight_decay_mask",
    "write",
)
