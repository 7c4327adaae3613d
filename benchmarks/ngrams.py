"""N-grams with Witten–Bell smoothing, as NLTK has them, over categories.

An n-gram knows the n - 1 answers before the one that it predicts; before the first
there is a sign of its own.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np
from nltk.lm import Vocabulary, WittenBellInterpolated

_START = -1


class NGram:
    """An n-gram of texts, each a sequence of categories."""

    def __init__(self, order: int, texts: Sequence[Sequence[int]]) -> None:
        self.order = order
        # Numbers, which the vocabulary of NLTK does not take: its scores need none.
        self._model = WittenBellInterpolated(order, vocabulary=Vocabulary())
        self._model.counts.update(self._grams(text) for text in texts)

    def bits(self, text: Sequence[int]) -> np.ndarray:
        """The cost of each category of a text."""
        scores = [
            self._model.unmasked_score(each, context)
            for each, context in zip(text, self._contexts(text))
        ]
        return -np.log2(scores)

    def text(self, rng: random.Random, last: int, most: int) -> list[int]:
        """A text that it draws, up to the category `last`, of at most `most`.

        Each category has followed those before it in the texts.
        """
        text: list[int] = []
        while len(text) < most and text[-1:] != [last]:
            context = [*self._contexts([*text, last])][-1]
            counts = self._model.context_counts(context)
            scores = [self._model.unmasked_score(each, context) for each in counts]
            text += rng.choices([*counts], scores)
        return text

    def _contexts(self, text: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """What comes before each category."""
        before = self.order - 1
        padded = *[_START] * before, *text
        return (padded[i : i + before] for i in range(len(text)))

    def _grams(self, text: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """The category at each place, alone and with all that comes before."""
        for each, context in zip(text, self._contexts(text)):
            for length in range(self.order):
                yield *context[self.order - 1 - length :], each
