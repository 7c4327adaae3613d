"""The one list of models: what `--model` can name, and how each is made.

These are the Neural Turing Machine, the baselines, and the classes at places such as
`path/to/file.py:MyCell`: a `Model`, or a cell of Flax with the contract
`(carry, x) -> (carry, y)`.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from flax import nnx

from ntm_jax.tasks import outside

from ..training.model import Model
from .cells import LinenCell, NNXCell
from .over_time import OverTime
from .stack_rnn import StackRNN
from .tape_rnn import TapeRNN

# Models without fields of their own: flags of the trainer set their sizes.
_BY_FLAGS = {"ntm": "an NTM", "lstm": "an LSTM", "gru": "a GRU"}
_CELLS: dict[str, type[nn.RNNCellBase]] = {"stack_rnn": StackRNN, "tape_rnn": TapeRNN}
_CELLS_IN_WORDS = {"stack_rnn": "a stack RNN", "tape_rnn": "a Tape-RNN"}
# The classes that a place can have, and the fields of each that the trainer gives.
_GIVEN: dict[type, frozenset[str]] = {
    Model: frozenset({"output_size"}),
    nn.RNNCellBase: frozenset({"parent", "name"}),
    nnx.RNNCellBase: frozenset({"in_features", "rngs"}),
}
_KIND = outside.Kind(
    "model",
    tuple(_GIVEN),
    "train.Model, flax.linen.RNNCellBase or flax.nnx.RNNCellBase",
)


def names() -> tuple[str, ...]:
    """The names of all models."""
    return (*_BY_FLAGS, *_CELLS)


def class_of(name: str) -> type | None:
    """The class with a model's fields; None if the trainer's flags set its sizes.

    Raises:
      ValueError: for a name that no model has, and for a place as `outside.load` does.
    """
    if outside.is_place(name):
        found = outside.load(name, _KIND)
        if issubclass(found, Model) and "output_size" not in _arguments(found):
            raise ValueError(
                f"model: got {name!r}, which lacks output_size, want the field "
                "`output_size: int`, which the trainer sets"
            )
        return found
    if name not in names():  # a tuple, so that an unhashable name is no error
        raise ValueError(
            f"model: got {name!r}, want one of {', '.join(names())}, or a place such "
            "as path/to/file.py:MyCell or package.module:MyCell"
        )
    return _CELLS.get(name)


def given_of(own: type | None) -> frozenset[str]:
    """The fields of a class that the trainer gives."""
    kinds = [kind for kind in _GIVEN if own is not None and issubclass(own, kind)]
    return frozenset().union(*(_GIVEN[kind] for kind in kinds))


def make(own: type, fields: Mapping[str, Any], output_size: int) -> Model:
    """A model of a class from `class_of`, with these fields."""
    if issubclass(own, Model):
        return own(output_size=output_size, **fields)  # type: ignore[call-arg]
    if issubclass(own, nn.RNNCellBase):
        cell = LinenCell(own(**fields, parent=None))
    else:
        cell = NNXCell(own, fields, given_of(own) & {*_arguments(own)})
    return OverTime(own.__name__, cell, output_size)


def in_words(name: str) -> str:
    """A model in a sentence.

    >>> in_words("gru"), in_words("path/to/file.py:MyCell")
    ('a GRU', 'MyCell')
    """
    known = {**_BY_FLAGS, **_CELLS_IN_WORDS}
    return known.get(name) or name.rpartition(":")[2]


def title(name: str) -> str:
    """A model in a legend.

    >>> title("stack_rnn")
    'stack RNN'
    """
    return in_words(name).removeprefix("an ").removeprefix("a ")


def _arguments(own: type) -> Mapping[str, Any]:
    return inspect.signature(own.__init__).parameters
