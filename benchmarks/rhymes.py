"""Where a machine looks as it ends the lines of a poem: at those that rhyme.

    python -m benchmarks.rhymes --pretrained=poems
    python -m benchmarks.rhymes --workdir=runs/poems --form=8x5

The even lines of a poem rhyme, and often the first one with them. The machine reads
poems of the evaluation, of which nothing but the form is told. For each line but the
first, the table shows how much of the read heads' weightings is on the slots of the
last characters of the lines before, while the machine answers with the last character
of the line.

The last line is one JSON object.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

import ntm_jax
from benchmarks.poems import mean, open_poets
from ntm_jax.checks import check_count
from ntm_jax.tasks import poems
from train import cli
from train.runs.config import TrainConfig
from train.training.model import NTM, without_embedding
from train.training.population import member

PyTree = Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Measures whether a machine looks at what the end of a line rhymes with."""

    workdir: Path | None = None
    """Folder of the run; its first machine."""
    pretrained: str | None = None
    """Name of a trained machine, or a .safetensors file, instead of a run."""
    form: str = "4x7"
    """Form of the poems: 4x5, 4x7, 8x5 or 8x7."""
    num_poems: int = 200
    """Poems, or as many as the evaluation has of this form."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.rhymes")
    with cli.readable_errors():
        cli.keep_compilations()
        check_count("num_poems", flags.num_poems)
        form = poems.Form.parse(flags.form)
        params, config, _ = open_poets(flags.workdir, flags.pretrained)
        of_form = poems.poems("evaluation", form)[: flags.num_poems]
        weights = weights_on_ends(member(params, 0), config, of_form)
        table = Table("ends line", *(f"line {i}" for i in range(1, form.lines)))
        for line, row in enumerate(weights, 2):
            table.add_row(str(line), *(f"{each:.3f}" for each in row[: line - 1]))
        cli.make_console(quiet=False).print(table)
        told = {"form": flags.form, "poems": len(of_form)}
        rows = [[mean(each) for each in row[: i + 1]] for i, row in enumerate(weights)]
        print(json.dumps({**told, "weights": rows}))
    return 0


def weights_on_ends(
    params: PyTree, config: TrainConfig, of: Sequence[poems.Poem]
) -> np.ndarray:
    """The weight on the end of each line as another one is ended.

    Args:
      params: of one machine with a memory.
      config: of its run.
      of: poems of one form.

    Returns:
      `[lines - 1, lines - 1]`: means over the poems and the read heads, of the second
      line and those after it, on the ends of the first line and those after it. Only
      the lower triangle means something.

    Raises:
      ValueError: for a model without a memory.
    """
    form = of[0].form
    batch = poems.Poems().collated([poems.example(poem, []) for poem in of])
    machine, own, vectors = without_embedding(
        config.make_model(), params, jnp.asarray(batch.inputs)
    )
    if not isinstance(machine, NTM):
        raise ValueError(f"model: got {config.model}, want ntm, which has a memory")
    trace = jax.vmap(lambda xs: ntm_jax.trace(own, xs, config=machine.config), 1)(
        vectors
    )
    read = np.asarray(trace.states.read_weights).mean(axis=2)
    written = np.asarray(trace.states.write_weights)[:, :, 0].argmax(axis=-1)
    # The steps at which the last characters of the lines are inputs.
    before = len(poems.prompt(form, {}))
    ends = before + np.arange(form.lines) * (form.width + 1) + form.width - 1
    slots = written[:, ends[:-1]]
    # Each is the answer one step before.
    while_ending = read[:, ends[1:] - 1]
    return np.take_along_axis(while_ending, slots[:, None], axis=2).mean(axis=0)


if __name__ == "__main__":
    sys.exit(main())
