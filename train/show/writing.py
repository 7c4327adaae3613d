"""Poems that a machine writes, and how its heads move meanwhile."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.figure import Figure

import ntm_jax
from ntm_jax.tasks import poems

from ..runs.config import TrainConfig
from ..training.model import NTM, without_embedding
from ..training.sampling import sample
from . import figures
from .phases import Phase

PyTree = Any
# Poems that are written side by side.
_TOGETHER = 64


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A poem to be written.

    Attributes:
      form: of it.
      told: the categories of the characters that are asked for.
    """

    form: poems.Form
    told: Mapping[poems.Place, int]


@dataclasses.dataclass(frozen=True)
class Written:
    """A poem that was written.

    Attributes:
      wanted: what was asked for.
      categories: up to the end of the poem, or as many as the form has.
      bits: the cost of these, under the machine.
    """

    wanted: Wanted
    categories: tuple[int, ...]
    bits: float

    def lines(self) -> list[list[int]]:
        """The characters of each line; an end without a line after it adds none."""
        found: list[list[int]] = [[]]
        for category in self.categories:
            if category in (poems.LINE_END, poems.POEM_END):
                found.append([])
            else:
                found[-1].append(category)
        return found if found[-1] else found[:-1]

    def texts(self) -> list[str]:
        """The lines as people read them; □ is a character outside the vocabulary."""
        return ["".join(map(poems.in_words, line)) for line in self.lines()]

    def obeyed(self) -> list[bool]:
        """For each character that was asked for, whether it stands in its place."""
        there = {
            (i, j): character
            for i, line in enumerate(self.lines(), 1)
            for j, character in enumerate(line, 1)
        }
        told = self.wanted.told.items()
        return [there.get(place) == character for place, character in told]

    def has_form(self) -> bool:
        """Whether it has all lines, each of the form's length, and then ends."""
        form = self.wanted.form
        widths = [len(line) for line in self.lines()]
        ended = self.categories[-1:] == (poems.POEM_END,)
        return ended and widths == [form.width] * form.lines


def write(
    params: PyTree,
    config: TrainConfig,
    wanted: Sequence[Wanted],
    *,
    temperature: float = 0.8,
    top_k: int | None = None,
    seed: int = 0,
) -> list[Written]:
    """Writes poems.

    Args:
      params: of one machine.
      config: of its run, whose task is `Poems`.
      wanted: of one form, each with as many characters that are asked for.
      temperature: 0 takes the most probable character at each step.
      top_k: draw only from so many most probable characters; None draws from all.
      seed: of what is drawn; each poem draws its own.
    """
    keys: Array = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(
        jax.random.key(seed), jnp.arange(len(wanted))
    )
    together = min(_TOGETHER, len(wanted))
    done: list[Written] = []
    for first in range(0, len(wanted), together):
        # The last are as many as the others, so that one program serves all.
        places = [(first + i) % len(wanted) for i in range(together)]
        own = [wanted[place] for place in places]
        prompts = [poems.prompt(each.form, each.told) for each in own]
        sampled = sample(
            params,
            jnp.asarray(np.stack(prompts, axis=1), jnp.int32),
            keys[np.array(places)],
            jnp.float32(temperature),
            model=config.make_model(),
            following=poems.written,
            num_steps=own[0].form.num_answers,
            top_k=top_k,
        )
        categories, bits = jax.device_get(sampled)
        done += [
            _until_the_end(each, categories[:, i], bits[:, i])
            for i, each in enumerate(own)
        ]
    return done[: len(wanted)]


def _until_the_end(wanted: Wanted, categories: np.ndarray, bits: np.ndarray) -> Written:
    ends = np.flatnonzero(categories == poems.POEM_END)
    count = 1 + int(ends[0]) if ends.size else len(categories)
    kept = tuple(categories[:count].tolist())
    return Written(wanted, kept, float(bits[:count].sum()))


def figure_of(params: PyTree, config: TrainConfig, written: Written) -> Figure:
    """The heads' weightings while a poem was written; the machine has a memory."""
    prompt = poems.prompt(written.wanted.form, written.wanted.told)
    categories = np.array(written.categories, np.int32)
    rest = np.asarray(poems.written(jnp.asarray(categories[:-1])))
    inputs = np.concatenate([prompt, rest]).astype(np.int32)
    before = len(prompt) - 1
    machine, own, vectors = without_embedding(
        config.make_model(), params, jnp.asarray(inputs[:, None])
    )
    assert isinstance(machine, NTM)
    trace = ntm_jax.trace(own, vectors[:, 0], config=machine.config)
    task = config.make_task()
    words = task.answer_words(categories) or []
    ends = [
        before + 1 + i
        for i, category in enumerate(written.categories)
        if category in (poems.LINE_END, poems.POEM_END)
    ]
    bounds = sorted({before, *ends, len(inputs)})
    return figures.writing(
        jax.device_get(trace),
        task.input_words(inputs) or [],
        [""] * before + words,
        [False] * before + _asked(written),
        [
            Phase("input", 0, before),
            *(Phase("answer", *pair) for pair in itertools.pairwise(bounds)),
        ],
    )


def _asked(written: Written) -> list[bool]:
    """Whether a character was asked for at the place of each that was written."""
    asked, line, place = [], 1, 1
    for category in written.categories:
        asked.append(poems.Place(line, place) in written.wanted.told)
        ended = category in (poems.LINE_END, poems.POEM_END)
        line, place = (line + 1, 1) if ended else (line, place + 1)
    return asked
