"""Poems of the Tang dynasty, of which some characters are asked for.

The corpus is that of the 全唐詩 of 1705: a poem a line, its lines separated by
`/`. Its texts are more than a thousand years old.

First the network is told what is to be written: the form, then characters with their
line and their place in it, one a step. Then it writes the poem, and has no other input
than the character that it wrote last.

>>> Form.parse("4x7")
Form(lines=4, width=7)
>>> print(poem_of("春江花月", Form(2, 2)))
春江
花月
"""

import collections
import dataclasses
import functools
import hashlib
import lzma
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from .arrays import SPLITS, Example, Split
from .data import DataTask, Share
from .inputs import Tokens
from .targets import Categories
from .task import Batch

_CORPUS = "corpora/tang_poems.txt.xz"
_ALL = Share()
# Of the poems in validation and in evaluation; the others are for training.
_HELD_OUT = 0.05
# Of the sequences of training, the part in which random characters take the places of
# those that are asked for: what is asked for is written even if it makes no sense.
_REPLACED = 0.5
# The characters of the vocabulary; all others are unknown to it.
_NUM_CHARACTERS = 3000


class Form(NamedTuple):
    """So many lines of so many characters."""

    lines: int
    width: int

    @classmethod
    def parse(cls, text: str) -> "Form":
        """The form that is written like 4x7.

        Raises:
          ValueError: for any other than those of the task.
        """
        known = {str(form): form for form in FORMS}
        if text not in known:
            raise ValueError(f"form: got {text!r}, want one of {', '.join(known)}")
        return known[text]

    def __str__(self) -> str:
        return f"{self.lines}x{self.width}"

    @property
    def num_answers(self) -> int:
        """The characters, and an end for each line."""
        return self.lines * (self.width + 1)


FORMS = tuple(Form(lines, width) for lines in (4, 8) for width in (5, 7))


class Place(NamedTuple):
    """A place in a poem; both numbers begin with 1."""

    line: int
    place: int


# Categories after the characters: what a network writes.
UNKNOWN = _NUM_CHARACTERS
LINE_END = UNKNOWN + 1
POEM_END = LINE_END + 1
NUM_CATEGORIES = POEM_END + 1
# Tokens after those: what it is told.
_WRITE = NUM_CATEGORIES
_NOTHING = _WRITE + 1
_LINE = _NOTHING + 1
_PLACE = _LINE + max(form.lines for form in FORMS)
_LINES = _PLACE + max(form.width for form in FORMS)
_WIDTHS = _LINES + max(form.lines for form in FORMS)
_NUM_TOKENS = _WIDTHS + max(form.width for form in FORMS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Poems(DataTask):
    """Poems of four or eight lines of five or seven characters.

    Each batch of training has one form, so that it needs no padding. In three quarters
    of the sequences, the characters that are asked for begin their lines, as in an
    acrostic; in the others they stand anywhere, at most one in a line. Half of the
    sequences ask for one in every line, the others for any number from none on. They
    come in the order of their places.
    """

    @property
    def inputs(self) -> Tokens:
        """A character, its line and its place."""
        return Tokens(_NUM_TOKENS, per_step=3)

    @property
    def targets(self) -> Categories:
        """The characters, one for all others, the ends of a line and of the poem."""
        return Categories(NUM_CATEGORIES)

    @property
    def input_names(self) -> tuple[str, ...]:
        """What each token says, in words."""
        lines, widths = (range(1, 1 + max(sizes)) for sizes in zip(*FORMS))
        return (
            *map(in_words, range(NUM_CATEGORIES)),
            "write",
            "nothing",
            *(f"line {line}" for line in lines),
            *(f"place {place}" for place in widths),
            *(f"{line} lines" for line in lines),
            *(f"{width} characters in a line" for width in widths),
        )

    def input_words(self, inputs: np.ndarray) -> list[str]:
        """A character that was written; before it a form, or what is asked for where.

        Parts of one input stand below each other: a character, its line and its place.
        """
        return [_input_in_words(*step) for step in inputs.tolist()]

    def answer_words(self, answers: np.ndarray) -> list[str]:
        """The characters that are written, as `in_words` says them."""
        return [in_words(answer) for answer in answers.tolist()]

    def stream(
        self, seed: int, batch_size: int, start: int = 0, share: Share = _ALL
    ) -> Iterator[Batch]:
        """Batches of poems of one form, drawn as often as its poems are."""
        by_form = {form: poems("train", form) for form in FORMS}
        sizes = np.array([len(of_form) for of_form in by_form.values()])
        update = start
        while True:
            rng = np.random.default_rng((seed, update))
            form = FORMS[rng.choice(len(FORMS), p=sizes / sizes.sum())]
            chosen = rng.integers(len(by_form[form]), size=batch_size)
            examples = []
            for which in chosen:
                poem, asked = by_form[form][which], _asked(rng, form)
                if rng.random() < _REPLACED:
                    poem = _replaced(rng, poem, asked)
                examples.append(example(poem, asked))
            yield self.collated(examples[share.of(batch_size)])
            update += 1

    def held_out(self, split: Split, count: int) -> Batch:
        """The first poems of the split, whatever their form; the same for all."""
        rng = np.random.default_rng(0)
        chosen = poems(split)[:count]
        return self.collated([example(poem, _asked(rng, poem.form)) for poem in chosen])


def _replaced(
    rng: np.random.Generator, poem: "Poem", places: Sequence[Place]
) -> "Poem":
    """The poem with random characters at these places."""
    new = poem.characters.copy()
    for place in places:
        new[place.line - 1, place.place - 1] = rng.integers(_NUM_CHARACTERS)
    return poem._replace(characters=new)


class Poem(NamedTuple):
    """A poem as categories.

    Attributes:
      form: its lines and their width.
      characters: `[lines, width]`.
    """

    form: Form
    characters: np.ndarray

    def answers(self) -> np.ndarray:
        """What a network writes: every line and its end, `[form.num_answers]`."""
        ends = np.full((self.form.lines, 1), LINE_END)
        ends[-1] = POEM_END
        return np.concatenate([self.characters, ends], axis=1).ravel()


def example(poem: Poem, asked: Sequence[Place]) -> Example:
    """A poem as a sequence, in which the characters at some places are asked for."""
    told = {
        place: int(poem.characters[place.line - 1, place.place - 1]) for place in asked
    }
    first, answers = prompt(poem.form, told), poem.answers()
    inputs = np.full((len(first) + len(answers) - 1, 3), _NOTHING)
    inputs[: len(first)] = first
    inputs[len(first) :, 0] = answers[:-1]
    due = np.arange(len(inputs)) >= len(first) - 1
    targets = np.zeros(len(inputs), int)
    targets[due] = answers
    return Example(inputs, targets, due)


def prompt(form: Form, told: Mapping[Place, int]) -> np.ndarray:
    """The inputs up to the first that asks for an answer, `[2 + len(told), 3]`.

    Args:
      form: of the poem.
      told: the categories of the characters that are asked for.
    """
    steps = [(_NOTHING, _LINES + form.lines - 1, _WIDTHS + form.width - 1)]
    steps += [
        (character, _LINE + place.line - 1, _PLACE + place.place - 1)
        for place, character in sorted(told.items())
    ]
    return np.array([*steps, (_WRITE, _NOTHING, _NOTHING)])


def written(answers: Array) -> Array:
    """The inputs `[B, 3]` after those answers, `[B]`."""
    nothing = jnp.full_like(answers, _NOTHING)
    return jnp.stack([answers, nothing, nothing], axis=-1)


def _asked(rng: np.random.Generator, form: Form) -> list[Place]:
    """Random places of a form, at most one in a line."""
    number = form.lines if rng.random() < 0.5 else rng.integers(form.lines + 1)
    lines = rng.choice(form.lines, size=number, replace=False) + 1
    places = rng.integers(1, form.width + 1, size=number)
    if rng.random() < 0.75:
        places = np.ones_like(places)
    return sorted(Place(int(line), int(place)) for line, place in zip(lines, places))


@functools.cache
def poems(split: Split, form: Form | None = None) -> tuple[Poem, ...]:
    """The poems of a split, in the order of the corpus, of one form or of all."""
    if form is not None:
        return tuple(poem for poem in poems(split) if poem.form == form)
    number = numbers()
    found = []
    for text in texts(split):
        lines = text.split("/")
        size = len(lines), len(lines[0])
        if size in FORMS and all(len(line) == size[1] for line in lines):
            rows = [[number.get(each, UNKNOWN) for each in line] for line in lines]
            found.append(Poem(Form(*size), np.array(rows)))
    return tuple(found)


def texts(split: Split) -> tuple[str, ...]:
    """The texts of the corpus in a split, of any form, lines separated by `/`.

    The hash of a text decides its split, so that it is the same everywhere.
    """
    return _texts()[split]


@functools.cache
def _texts() -> dict[Split, tuple[str, ...]]:
    """The texts of every split, from one reading of the corpus."""
    packed = resources.files(__package__ or "tasks").joinpath(_CORPUS).read_bytes()
    found: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for text in lzma.decompress(packed).decode().splitlines():
        found[_split_of(text)].append(text)
    return {split: tuple(own) for split, own in found.items()}


def _split_of(text: str) -> Split:
    digest = hashlib.sha256(text.encode()).digest()
    part = int.from_bytes(digest[:8]) / 2**64
    if part < _HELD_OUT:
        return "evaluation"
    return "validation" if part < 2 * _HELD_OUT else "train"


@functools.cache
def characters() -> tuple[str, ...]:
    """The vocabulary: the most frequent characters of the training part."""
    counted = collections.Counter("".join(texts("train")).replace("/", ""))
    by_frequency = sorted(counted, key=lambda each: (-counted[each], each))
    return tuple(by_frequency[:_NUM_CHARACTERS])


@functools.cache
def numbers() -> dict[str, int]:
    """The category of every character of the vocabulary."""
    return {character: number for number, character in enumerate(characters())}


def in_words(category: int) -> str:
    """What a network writes as people read it: □ is unknown, / ends a line, // all."""
    others = {UNKNOWN: "□", LINE_END: "/", POEM_END: "//"}
    return others[category] if category in others else characters()[category]


def _input_in_words(character: int, line: int, place: int) -> str:
    if character == _WRITE:
        return ":"
    if character == _NOTHING:
        return f"{line - _LINES + 1}\n×\n{place - _WIDTHS + 1}"
    if line == _NOTHING:
        return in_words(character)
    return f"{in_words(character)}\n{line - _LINE + 1}\n{place - _PLACE + 1}"


def poem_of(text: str, form: Form) -> str:
    """The characters of a poem as people read it, a line a line."""
    starts = range(0, len(text), form.width)
    return "\n".join(text[start : start + form.width] for start in starts)
