"""The checks of a config: each field alone, and fields that depend on each other."""

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from ntm_jax import Access, tasks
from ntm_jax.checks import check_count, check_fields

from ..models import registry as models
from . import named
from .settings import MachineSettings

if TYPE_CHECKING:
    from .config import TrainConfig

# Each layer makes the compiled program longer.
_MOST_LAYERS = 100


def check_config(config: "TrainConfig") -> None:
    """Raises a `TypeError` or `ValueError` that names the first wrong field."""
    taken = (field.name for field in dataclasses.fields(config))
    named.task_fields(config.task).check_names(taken)
    check_fraction("momentum", config.momentum, zero_too=True)
    check_fraction("decay", config.decay)
    check_fraction(
        "lr_decay_fraction", config.lr_decay_fraction, zero_too=True, one_too=True
    )
    check_fields(
        config,
        zero_too=(
            "seed",
            "shift_range",
            "momentum",
            "lr_decay_fraction",
            "initial_strength",
            "carry_noise",
        ),
    )
    check_count("seed + num_seeds - 1", config.seed + config.num_seeds - 1, 0)
    check_count("batch_size * sort_updates", config.batch_size * config.sort_updates)
    if (layers := config.controller_layers) > _MOST_LAYERS:
        raise ValueError(
            f"controller_layers: got {layers}, want at most {_MOST_LAYERS}"
        )
    if config.restart_after is not None:
        check_count("restart_after", config.restart_after)
    check_call_multiples(config)
    check_pattern("learn", config.learn)
    check_carry_noise(config)
    check_tied_embedding(config)
    check_machine_settings(config)
    check_access(config)
    config.make_ntm_config()  # checks the machine's own fields


def check_fraction(
    name: str, value: Any, *, zero_too: bool = False, one_too: bool = False
) -> None:
    """Raises unless `value` is a number between 0 and 1."""
    wanted = (
        f"{'at most' if one_too else 'less than'} 1 and "
        f"{'at least' if zero_too else 'more than'} 0"
    )
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: got {value!r}, want a number {wanted}")
    if not (0 < value < 1 or (zero_too and value == 0) or (one_too and value == 1)):
        raise ValueError(f"{name}: got {value}, want {wanted}")


def check_pattern(name: str, value: Any) -> None:
    """Raises unless `value` is None or a regular expression."""
    if value is None:
        return
    if not isinstance(value, str):
        raise TypeError(f"{name}: got {value!r}, want a regular expression as text")
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(
            f"{name}: got {value!r}, want a regular expression: {error}"
        ) from None


def check_call_multiples(config: "TrainConfig") -> None:
    """What a run does between two updates, it does between two compiled calls."""
    for name in ("validate_every", "checkpoint_every", "polish_steps"):
        if (value := getattr(config, name)) % config.steps_per_call:
            raise ValueError(
                f"{name}: got {value}, want a multiple of steps_per_call = "
                f"{config.steps_per_call}"
            )


def check_carry_noise(config: "TrainConfig") -> None:
    """Noise needs a recurrent controller to go into."""
    if not config.carry_noise:
        return
    if config.model != "ntm" or config.controller == "feed_forward":
        what = "controller feed_forward"
        if config.model != "ntm":
            what = f"model {config.model}"
        raise ValueError(
            f"carry_noise: got {config.carry_noise}, want 0 with {what}: there is no "
            "recurrent controller"
        )
    if isinstance(config.make_task().inputs, tasks.Tokens):
        raise ValueError(
            f"carry_noise: got {config.carry_noise}, want 0 with {config.task}, whose "
            "inputs are tokens"
        )


def check_access(config: "TrainConfig") -> None:
    """The access has to be one that there is, and needs a memory with slots."""
    if Access.parse(config.access) is not None and not config.has_slots():
        raise ValueError(
            f"access: got {config.access!r}, want 'dense' with model {config.model}, "
            "which has no memory with slots"
        )


def check_tied_embedding(config: "TrainConfig") -> None:
    """The categories have to be the first tokens."""
    if not config.tied_embedding:
        return
    task = config.make_task()
    inputs, targets = task.inputs, task.targets
    tokens, categories = (
        isinstance(inputs, tasks.Tokens),
        isinstance(targets, tasks.Categories),
    )
    if not (tokens and categories and targets.size <= inputs.size):
        raise ValueError(
            f"tied_embedding: got True with {inputs} and {targets} of {config.task}, "
            "want tasks.Tokens and at most as many tasks.Categories, which are the "
            "first of the tokens; leave out --tied_embedding"
        )


def check_machine_settings(config: "TrainConfig") -> None:
    """Raises a `ValueError` for a setting of the machine with another model.

    An LSTM alone can have them, without effect: recorded runs of it do.
    """
    if config.model in ("ntm", "lstm"):
        return
    used = {"model", "model_fields", "embedding_size", "tied_embedding"}
    if config.model == "gru":
        used |= {"controller_units", "controller_layers"}
    for field in dataclasses.fields(MachineSettings):
        value = getattr(config, field.name)
        if field.name not in used and value != field.default:
            own = ", ".join(
                f"--model.{name}" for name in named.model_fields(config.model).names()
            )
            raise ValueError(
                f"{field.name}: got {value!r}, which {models.in_words(config.model)} "
                f"does not have; leave out --{field.name}"
                + (f"; its own flags are {own}" if own else "")
            )
