"""Exports a trained machine as a file, to load, to evaluate or to draw.

    python -m train.ship --workdir=runs/copy
    python -m train.ship --workdir=runs/copy_20_seeds --seed=3 --name=copy_3
    python -m train.ship --workdir=runs/copy --out=copy.safetensors

In a checkout, a name leads to a file in pretrained/, where `--pretrained` and
`ntm_jax.pretrained` find it by that name.
"""

import dataclasses
import importlib.metadata
import sys
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

from . import cli
from .runs import pretrained
from .runs.commands import IN_CHECKOUT
from .runs.folder import RunFolder, open_complete
from .training.measure import evaluate, evaluation_key
from .training.population import member

# Sequences whose result is kept, for a quick check that a machine still does the same.
_CHECKED = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Exports one machine of a complete run as a .safetensors file.

    The file holds the parameters, the config of the run and the machine's provenance:
    the command, the seed, the versions and the evaluation.
    """

    workdir: Path
    """Folder of the run."""
    seed: int | None = None
    """Seed of the machine; None uses the first of the run."""
    name: str | None = None
    """Name of the machine; None uses the task's."""
    out: Path | None = None
    """The .safetensors file to write; None uses NAME.safetensors.
    That is in pretrained/ in a checkout, otherwise in the current folder."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the numbers in the file.
    bfloat16 takes half of the space; what reads the file makes float32 of it."""
    overwrite: bool = False
    """Replace the file if it exists."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m train.ship")
    with cli.readable_errors():
        run, evaluation = open_complete(flags.workdir)
        seeds = run.config.seeds()
        seed = seeds[0] if flags.seed is None else flags.seed
        if seed not in seeds:
            raise ValueError(
                f"seed: got {seed}, want one of the run's, {seeds[0]} to {seeds[-1]}"
            )
        run.states.check_settings()  # which also decide the numbers of the check
        index = seeds.index(seed)
        own = member(run.restore().params, index)
        machine = jax.tree.map(lambda leaf: leaf.astype(flags.dtype), own)
        alone = jax.tree.map(lambda leaf: leaf[None].astype(jnp.float32), machine)
        config = dataclasses.replace(run.config, seed=seed, num_seeds=1)
        path = path_of(flags, config.task_name())
        made = how_made(run, evaluation, seed)
        check = evaluate(
            alone, config, keys=evaluation_key(0)[None], num_sequences=_CHECKED
        )
        pretrained.save(
            path, machine, config, {**made, "check": {"seed": 0, **check[0]}}
        )
        print(f"Wrote {path}.")
    return 0


def path_of(flags: Flags, task: str) -> Path:
    """The file to write, which can be written.

    Raises:
      ValueError: if it cannot.
    """
    if flags.out is not None:
        if flags.name is not None:
            raise ValueError(
                f"out, name: got {flags.out} and {flags.name!r}, want one of them"
            )
        cli.check_out(flags.out, overwrite=flags.overwrite)
        return flags.out
    folder = pretrained.FOLDER if IN_CHECKOUT else Path()
    path = folder / f"{cli.check_name(flags.name or task)}.safetensors"
    cli.check_free_name(path, free=flags.overwrite)
    return path


def how_made(
    run: RunFolder, evaluation: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    """The provenance of one machine of a run."""
    own = [entry for entry in evaluation if entry["machine"] == seed]
    step = own[0]["step"]
    return {
        "command": run.command(),
        "seed": seed,
        "seeds_trained_together": run.config.num_seeds,
        "step": step,
        "sequences": step * run.config.batch_size,
        "seconds": run.seconds(seed),
        "versions": versions(),
        "evaluation": own,
    }


def versions() -> dict[str, str]:
    """The versions of the packages that decide a machine's numbers."""
    return {
        name: importlib.metadata.version(name)
        for name in ("ntm_jax", "jax", "flax", "optax")
    }


if __name__ == "__main__":
    sys.exit(main())
