"""Makes the heads of a machine steadier, so that it can be proven.

    python -m benchmarks.certify.steady --machine=a.safetensors --out=b.safetensors

It changes two biases of every head and nothing else: that of the gate g, so that the
head keeps to the weighting before it, and that of the sharpening γ. A machine that
moves its heads by shifts alone does the same as before, and each step undoes more of
what blurs a weighting.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp

import ntm_jax
from ntm_jax import NTMConfig
from train import cli


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Makes the heads of a machine steadier."""

    machine: Path
    """The .safetensors file of a machine."""
    out: Path
    """The file to write."""
    gate: float = 5.0
    """What is taken from the bias of g, before its sigmoid."""
    gamma: float = 5.0
    """What is added to the bias of γ, before its softplus."""


def steadier(params: Any, config: NTMConfig, gate: float, gamma: float) -> Any:
    """The parameters with other biases of g and γ in all heads."""
    place = config.slot_size + 1
    last = place + 2 * config.shift_range + 2
    new = dict(params)
    for name in ("read_heads", "write_heads"):
        bias = jnp.asarray(params[name]["bias"])
        bias = bias.at[:, place].add(-gate).at[:, last].add(gamma)
        new[name] = {**params[name], "bias": bias}
    return new


def main(arguments: list[str] | None = None) -> None:
    """Reads a machine and writes another."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.certify.steady")
    params, config = ntm_jax.load(flags.machine)
    params = steadier(params, config, flags.gate, flags.gamma)
    ntm_jax.save(flags.out, params, config)


if __name__ == "__main__":
    main()
