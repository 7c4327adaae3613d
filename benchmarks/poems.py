"""Measures a machine that writes poems, on the part of the corpus for evaluation.

    python -m benchmarks.poems --pretrained=poems
    python -m benchmarks.poems --workdir=runs/poems --num_acrostics=100

- The cost of the poems in bits, for each answer (characters and the ends of lines) and
  for each character: told nothing but the form, told an acrostic, and told as much as
  in training. Beside it, the cost for n-grams of the same training poems.
- Whether the machine does as it is told: acrostics of poems for evaluation, and of
  random characters, drawn as often as they appear; in the forms of the evaluation.
- Poems of the machine, and of the 2-gram beside them, as they come.

It writes a JSON file with all numbers, and beside it a Markdown file with the poems.
"""

import dataclasses
import functools
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.ngrams import NGram
from benchmarks.records import FOLDER
from ntm_jax.checks import check_count
from ntm_jax.tasks import Batch, poems
from train import cli
from train.evaluate import index_of_machine, open_machines
from train.runs.config import TrainConfig
from train.runs.files import write_whole
from train.show.learners import learner_name
from train.show.writing import Wanted, write
from train.training.model import Model
from train.training.population import member

PyTree = Any
_TOGETHER = 64
_TEMPERATURE = 0.8
# Of the training poems, on which n-grams are tested too.
_SEEN = 2000
_ACROSTIC = "春江花月"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Measures a machine that writes poems, beside n-grams."""

    workdir: Path | None = None
    """Folder of the run."""
    machine: int | None = None
    """Seed of the machine, in a run of several; None uses the first."""
    pretrained: str | None = None
    """Name of a trained machine, or a .safetensors file, instead of a run."""
    num_acrostics: int = 1000
    """Poems of each kind, of which some characters are asked for."""
    seed: int = 0
    """Seed of what is asked for and drawn."""
    out: Path = FOLDER / "poems"
    """Folder for both files, which have the machine's name."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.poems")
    with cli.readable_errors():
        cli.keep_compilations()
        check_count("num_acrostics", flags.num_acrostics)
        check_count("seed", flags.seed, 0)
        params, config, steps = open_poets(flags.workdir, flags.pretrained)
        index = index_of_machine(config, flags.machine)
        machine = member(params, index)
        train, test = poems.poems("train"), poems.poems("evaluation")
        ngrams = [ngram_of(order, train) for order in (1, 2, 3)]
        record = {
            "task": "poems",
            "learner": learner_name(config),
            "seed": config.seeds()[index],
            "step": steps[index],
            "poems": len(test),
            "cost": machine_costs(machine, config, test),
            "ngrams": [
                {
                    "order": ngram.order,
                    **cost_of(ngram_bits(ngram, test)),
                    "in_training": cost_of(ngram_bits(ngram, train[:_SEEN])),
                }
                for ngram in ngrams
            ],
            "temperature": _TEMPERATURE,
            "obeyed": {
                name: obeyed(machine, config, wanted, flags.seed)
                for name, wanted in acrostics(flags.num_acrostics, flags.seed).items()
            },
        }
        name = flags.pretrained or str(flags.workdir)
        path = flags.out / f"{Path(name).stem}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(record, indent=1) + "\n")
        write_whole(
            path.with_suffix(".md"), gallery(machine, config, ngrams[1], flags.seed)
        )
        print(json.dumps(record))
    return 0


def open_poets(
    workdir: Path | None, pretrained: str | None
) -> tuple[PyTree, TrainConfig, list[int]]:
    """As `open_machines`, of machines that write poems.

    Raises:
      ValueError: as there, and for machines of another task.
    """
    params, config, steps = open_machines(workdir, pretrained)
    if not isinstance(config.make_task(), poems.Poems):
        raise ValueError(f"task: got {config.task}, want poems")
    return params, config, steps


def ngram_of(order: int, train: Sequence[poems.Poem]) -> NGram:
    """An n-gram of poems."""
    return NGram(order, [poem.answers().tolist() for poem in train])


# The answers of a poem, with the cost of each in bits.
Costs = Iterator[tuple[np.ndarray, np.ndarray]]


def ngram_bits(ngram: NGram, of: Sequence[poems.Poem]) -> Costs:
    """The costs of poems under an n-gram."""
    for poem in of:
        yield poem.answers(), ngram.bits(poem.answers().tolist())


def cost_of(costs: Costs) -> dict[str, float]:
    """The mean cost of an answer, and of a character: those that end no line."""
    answers, bits = map(np.concatenate, zip(*costs))
    return {
        "bits_per_answer": mean(bits),
        "bits_per_character": mean(bits[answers < poems.LINE_END]),
    }


def mean(values: np.ndarray) -> float:
    """To four digits after the point."""
    return round(float(values.mean()), 4)


def machine_costs(
    params: PyTree, config: TrainConfig, test: Sequence[poems.Poem]
) -> dict[str, dict[str, float]]:
    """The costs of poems under a machine that is told nothing, a part, and at random.

    An acrostic is told: its characters are no surprise, so the cost of all others is
    there too.
    """
    task = poems.Poems()
    measure = functools.partial(machine_bits, params, config)

    def told(places: Any) -> Batch:
        return task.collated([poems.example(poem, places(poem.form)) for poem in test])

    acrostic = told(first_places)
    in_training = task.held_out("evaluation", len(test))
    others = (
        (answers[is_other], bits[is_other])
        for answers, bits in measure(acrostic)
        for is_other in [~begins_line(answers)]
    )
    return {
        "told_nothing": cost_of(measure(told(lambda form: []))),
        "told_acrostic": cost_of(measure(acrostic)),
        "told_acrostic_others": cost_of(others),
        "told_as_in_training": cost_of(measure(in_training)),
    }


def first_places(form: poems.Form) -> list[poems.Place]:
    """The first place of every line."""
    return [poems.Place(line, 1) for line in range(1, form.lines + 1)]


def begins_line(answers: np.ndarray) -> np.ndarray:
    """Whether each answer is the first of a line."""
    return np.concatenate([[True], answers[:-1] == poems.LINE_END])


def machine_bits(params: PyTree, config: TrainConfig, batch: Batch) -> Costs:
    """The costs of the sequences of a batch."""
    mask, targets = np.asarray(batch.mask), np.asarray(batch.targets)
    inputs, model = np.asarray(batch.inputs), config.make_model()
    for first in range(0, mask.shape[1], _TOGETHER):
        # The last are as many as the others, so that one program serves all.
        own = np.arange(first, first + _TOGETHER) % mask.shape[1]
        bits = np.asarray(bits_of(params, inputs[:, own], targets[:, own], model=model))
        for i, which in enumerate(own[: mask.shape[1] - first]):
            due = mask[:, which]
            yield targets[due, which], bits[due, i]


@functools.partial(jax.jit, static_argnames="model")
def bits_of(params: PyTree, inputs: Array, targets: Array, *, model: Model) -> Array:
    """The cost of every answer, `[T, B]`."""
    logits = model.logits(params, inputs)
    nats = poems.Poems().targets.costs(logits, targets)[..., 0]
    return nats / jnp.log(2.0).astype(nats.dtype)


def acrostics(count: int, seed: int) -> dict[str, list[Wanted]]:
    """What is asked for: how poems for evaluation begin, and random characters."""
    rng = np.random.default_rng(seed)
    known = [
        poem
        for poem in poems.poems("evaluation")
        if poems.UNKNOWN not in poem.characters[:, 0]
    ]
    pool = np.concatenate([poem.characters.ravel() for poem in poems.poems("train")])
    pool = pool[pool != poems.UNKNOWN]
    own = [known[which] for which in rng.integers(len(known), size=count)]
    kinds = {
        "own": [poem.characters[:, 0] for poem in own],
        "random": [rng.choice(pool, size=poem.form.lines) for poem in own],
    }
    return {
        name: [
            Wanted(poem.form, dict(zip(first_places(poem.form), characters.tolist())))
            for poem, characters in zip(own, firsts)
        ]
        for name, firsts in kinds.items()
    }


def obeyed(
    params: PyTree, config: TrainConfig, wanted: Sequence[Wanted], seed: int
) -> dict[str, Any]:
    """How much of what was asked for a machine does."""
    written = [
        poem
        for form in poems.FORMS
        if (of_form := [each for each in wanted if each.form == form])
        for poem in write(params, config, of_form, temperature=_TEMPERATURE, seed=seed)
    ]
    in_place = [done for poem in written for done in poem.obeyed()]
    return {
        "poems": len(written),
        "characters": len(in_place),
        "in_place": mean(np.array(in_place)),
        "all_lengths_right": mean(np.array([poem.has_form() for poem in written])),
    }


def gallery(params: PyTree, config: TrainConfig, ngram: NGram, seed: int) -> str:
    """Twenty poems of a machine beside twenty of an n-gram, then acrostics."""
    rng = random.Random(seed)
    lines = [
        f"Seed {seed}; the first five of each form. The machine draws at temperature "
        f"{_TEMPERATURE}, the n-gram at 1.",
        "",
        f"| form | machine | {ngram.order}-gram |",
        "| --- | --- | --- |",
    ]
    settings = {"temperature": _TEMPERATURE, "seed": seed}
    for form in poems.FORMS:
        most = form.num_answers
        for poem in write(params, config, [Wanted(form, {})] * 5, **settings):
            other = ngram.text(rng, poems.POEM_END, most)
            beside = "".join(map(poems.in_words, other)).removesuffix("//")
            texts = "<br>".join(poem.texts()), beside.replace("/", "<br>")
            lines.append(f"| {form} | {' | '.join(texts)} |")
    lines += ["", f"Told the acrostic {_ACROSTIC}:", "", "| form | machine |"]
    lines.append("| --- | --- |")
    for form in poems.FORMS[:2]:
        told = {
            place: poems.numbers()[character]
            for place, character in zip(first_places(form), _ACROSTIC)
        }
        for poem in write(params, config, [Wanted(form, told)] * 5, **settings):
            lines.append(f"| {form} | {'<br>'.join(poem.texts())} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
