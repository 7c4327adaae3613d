"""What the flags `--task` and `--model` name: its fields, and the object with these."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from ntm_jax import tasks
from ntm_jax.tasks import outside, properties

from ..models import registry as models
from ..training.model import Model
from .own_fields import Fields, OwnFields


def task_fields(name: str) -> OwnFields:
    """The fields of a task.

    Raises:
      ValueError: for an unknown name, and a place without a task.
    """
    return OwnFields("task", name, tasks.class_of(name))


def model_fields(name: str) -> OwnFields:
    """The fields of a model.

    Raises:
      ValueError: for an unknown name, and a place without a model.
    """
    own = models.class_of(name)
    return OwnFields("model", name, own, models.given_of(own))


@functools.lru_cache(maxsize=256)
def make_task(name: str, given: Fields) -> tasks.Task:
    """The task with these fields: the same object for the same fields.

    Raises:
      ValueError: if its class raises anything.
    """
    fields = task_fields(name).typed(given)

    def make() -> tasks.Task:
        made = tasks.get(name, **fields)
        if outside.is_place(name):
            properties.check_kinds(made)
        return made

    return _in_words("task", name, fields, make)


@functools.lru_cache(maxsize=256)
def make_model(name: str, given: Fields, output_size: int) -> Model:
    """The model with these fields, for vectors; not one that flags set the sizes of.

    Raises:
      ValueError: if its class raises anything.
    """
    own = model_fields(name)
    fields = own.typed(given)
    assert own.own is not None
    make = functools.partial(models.make, own.own, fields, output_size)
    return _in_words("model", name, fields, make)


def _in_words(
    flag: str, name: str, fields: Mapping[str, Any], make: Callable[[], Any]
) -> Any:
    """What `make` makes; what a class from outside raises has its name and line."""
    try:
        return make()
    except (TypeError, ValueError):
        raise  # as for our own classes
    except outside.ERRORS as error:
        if not outside.is_place(name):
            raise
        raise ValueError(
            f"{flag}: {name} with {fields} raises {outside.in_words(error)}"
        ) from error
