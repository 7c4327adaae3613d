"""Makes of a machine that was trained here one that ships with the code.

python -m train.ship --workdir=runs/copy
"""

import dataclasses
import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import jax

from train import cli
from train.runs import pretrained
from train.runs.folder import RunFolder, open_complete
from train.training.measure import evaluate, evaluation_key
from train.training.population import member

# Sequences whose result is kept to check, quickly, that a machine still does the same.
_CHECKED = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Makes a file of one machine of a complete run."""

    workdir: Path
    """The run's folder."""
    seed: int | None = None
    """The machine's; the run's first unless given."""
    name: str | None = None
    """Of the file, pretrained/NAME.safetensors; the task's unless given."""
    overwrite: bool = False
    """Put the machine in the place of the one that has the name."""


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
        index = seeds.index(seed)
        machine = member(run.restore().params, index)
        alone = jax.tree.map(lambda leaf: leaf[None], machine)
        config = dataclasses.replace(run.config, seed=seed, num_seeds=1)
        name = cli.check_name(flags.name or config.task)
        path = pretrained.FOLDER / f"{name}.safetensors"
        cli.check_free_name(path, free=flags.overwrite)
        made = how_made(run, evaluation, seed)
        check = evaluate(
            alone, config, keys=evaluation_key(0)[None], num_sequences=_CHECKED
        )
        pretrained.save(
            path, machine, config, {**made, "check": {"seed": 0, **check[0]}}
        )
        print(f"Wrote {path}.")
    return 0


def how_made(
    run: RunFolder, evaluation: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    """What `made` tells of one machine of a run."""
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
    """Of what decides a machine's numbers."""
    return {
        name: importlib.metadata.version(name)
        for name in ("ntm_jax", "jax", "flax", "optax")
    }


if __name__ == "__main__":
    sys.exit(main())
