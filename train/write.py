"""Writes poems with a machine that was trained on poems.

    python -m train.write --pretrained=poems --acrostic=春江花月
    python -m train.write --workdir=runs/poems --form=8x5 --num_poems=3 --seed=1
    python -m train.write --pretrained=poems --at 2,3=鄉 4,7=月 --temperature=0
    python -m train.write --pretrained=poems --acrostic=春江花月 --figure=poem.png

A poem is printed as people read it, with an empty line between two; with --json, each
is an object on a line. □ is a character outside the vocabulary.
"""

import dataclasses
import json
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ntm_jax.checks import check_count
from ntm_jax.tasks import poems

from . import cli
from .evaluate import index_of_machine, open_machines
from .runs.config import TrainConfig
from .show import draw
from .show.fonts import families_for
from .show.writing import Wanted, Written, figure_of, write
from .training.population import member

_FORMATS = (".pdf", ".png", ".svg")
_AT = re.compile(r"(\d+),(\d+)=(.)", re.ASCII | re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Writes poems with the newest checkpoint of a run, or with a trained machine.

    Characters can be asked for: the machine is told them before it writes.
    """

    workdir: Path | None = None
    """Folder of the run."""
    machine: int | None = None
    """Seed of the machine, in a run of several; None uses the first."""
    pretrained: str | None = None
    """Name of a trained machine, or a .safetensors file, instead of a run."""
    model: str | None = None
    """Place of the model of a --pretrained file, such as path/to/file.py:MyCell.
    A model of yours needs it: its file does not run code."""
    acrostic: str = ""
    """Characters with which the lines begin, from the first line on."""
    at: tuple[str, ...] = ()
    """Characters with their line and their place in it, such as 2,3=鄉."""
    form: str | None = None
    """Lines and characters in a line: 4x5, 4x7, 8x5 or 8x7.
    None uses 4x7, or 8x7 if something is asked for in a later line."""
    num_poems: int = 5
    """Poems to write."""
    temperature: float = 0.8
    """How freely to draw: 1 draws as the machine predicts; 0 takes the most probable
    character at each step, so that all poems are the same."""
    top_k: int | None = None
    """Draw only from so many most probable characters; None draws from all."""
    seed: int = 0
    """Seed of what is drawn."""
    json: bool = False
    """Print each poem as a JSON object: its form, its lines, what was asked for, and
    its cost in bits under the machine."""
    figure: Path | None = None
    """A .png, .svg or .pdf file to draw in where the heads look during the first
    poem."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m train.write")
    with cli.readable_errors():
        cli.keep_compilations()
        check_numbers(flags)
        if flags.figure is not None:
            check_figure(flags.figure)
            families_for("".join(poems.characters()))
        wanted = wanted_of(flags)
        params, config, _ = open_machines(
            flags.workdir, flags.pretrained, model=flags.model
        )
        check_writes(config, drawn=flags.figure is not None)
        machine = member(params, index_of_machine(config, flags.machine))
        written = write(
            machine,
            config,
            [wanted] * flags.num_poems,
            temperature=flags.temperature,
            top_k=flags.top_k,
            seed=flags.seed,
        )
        shown = [json.dumps(as_json(poem), ensure_ascii=False) for poem in written]
        if not flags.json:
            shown = ["\n".join([*poem.texts(), ""]) for poem in written]
        print("\n".join(shown).rstrip("\n"))
        if flags.figure is not None:
            figure = figure_of(machine, config, written[0])
            draw.save_figure(figure, flags.figure)
    return 0


def check_numbers(flags: Flags) -> None:
    """Raises a `ValueError` for a number that is out of range."""
    check_count("num_poems", flags.num_poems)
    check_count("seed", flags.seed, 0)
    if flags.top_k is not None:
        check_count("top_k", flags.top_k)
    if not 0 <= flags.temperature < math.inf:
        raise ValueError(
            f"temperature: got {flags.temperature}, want a number from 0 on"
        )


def check_figure(path: Path) -> None:
    """Raises a `ValueError` unless a figure can be written to that path."""
    if path.suffix not in _FORMATS or path.is_dir():
        raise ValueError(f"figure: got {path}, want a .png, .svg or .pdf file")
    folder = path.parent
    if not folder.is_dir():
        raise ValueError(f"figure: got {path}, want a file in a folder that exists")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"figure: got {path}, want a folder that you can write to")


def check_writes(config: TrainConfig, *, drawn: bool) -> None:
    """Raises a `ValueError` unless the machine writes poems, and has heads to draw."""
    if not isinstance(config.make_task(), poems.Poems):
        raise ValueError(
            f"task: got {config.task}, want a machine that was trained on poems"
        )
    if drawn and config.model != "ntm":
        raise ValueError(
            f"figure: got a machine with --model={config.model}, which has no heads to "
            "draw; leave out --figure"
        )


def wanted_of(flags: Flags) -> Wanted:
    """The form, and the categories of the characters that are asked for.

    Raises:
      ValueError: for what no poem of that form can have, or this vocabulary lacks.
    """
    asked = [*parse_acrostic(flags.acrostic), *map(parse_at, flags.at)]
    form = form_of(flags.form, [place for _, place, _ in asked])
    if len(flags.acrostic) > form.lines:
        raise ValueError(
            f"acrostic: got {len(flags.acrostic)} characters, want at most "
            f"{form.lines}, one for each line of {form}"
        )
    told: dict[poems.Place, int] = {}
    for name, place, character in asked:
        if not (1 <= place.line <= form.lines and 1 <= place.place <= form.width):
            raise ValueError(
                f"{name}: got line {place.line}, place {place.place}, want a place in "
                f"{form}, which has {form.lines} lines of {form.width} characters"
            )
        if character not in poems.numbers():
            raise ValueError(
                f"{name}: got {character!r}, want one of the {len(poems.numbers()):,} "
                "traditional characters that are most frequent in the poems of the Tang"
            )
        if place in told:
            there = poems.in_words(told[place])
            raise ValueError(
                f"{name}: got {character} for line {place.line}, place {place.place}, "
                f"where {there} is asked for, want one character for each place"
            )
        told[place] = poems.numbers()[character]
    return Wanted(form, told)


def parse_acrostic(characters: str) -> list[tuple[str, poems.Place, str]]:
    """The characters that begin the lines, each with the name of its flag."""
    return [
        ("acrostic", poems.Place(line, 1), character)
        for line, character in enumerate(characters, 1)
    ]


def parse_at(text: str) -> tuple[str, poems.Place, str]:
    """A character and its place, with the name of its flag.

    >>> parse_at("2,3=鄉")
    ('at', Place(line=2, place=3), '鄉')

    Raises:
      ValueError: for anything else.
    """
    found = _AT.fullmatch(text)
    if found is None:
        raise ValueError(
            f"at: got {text!r}, want a line, a place in it and one character, such as "
            "2,3=鄉"
        )
    line, place, character = found.groups()
    return "at", poems.Place(int(line), int(place)), character


def form_of(text: str | None, asked: Sequence[poems.Place]) -> poems.Form:
    """The form that is named, or the shortest of seven characters that has all places.

    Raises:
      ValueError: if no form is named so.
    """
    if text is not None:
        return poems.Form.parse(text)
    of_seven = [form for form in poems.FORMS if form.width == 7]
    last = max((place.line for place in asked), default=1)
    return next((form for form in of_seven if form.lines >= last), of_seven[-1])


def as_json(written: Written) -> dict[str, Any]:
    """A poem for programs."""
    return {
        "form": str(written.wanted.form),
        "lines": written.texts(),
        "asked": [
            {**place._asdict(), "character": poems.in_words(character)}
            for place, character in sorted(written.wanted.told.items())
        ],
        "bits": round(written.bits, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
