"""Settings by name for every task: ours, and those of the paper."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ntm_jax.checks import check_choice
from ntm_jax.tasks import class_of

from .commands import spelled
from .config import TrainConfig
from .own_fields import Fields, as_words
from .settings import MachineSettings

PRESETS = ("default", "paper")

# What differs from the defaults of the fields, which are the settings for copy.
DEFAULTS: dict[str, dict[str, Any]] = {
    "copy": {},
    # The write head moves on while the machine answers. With this many slots it does
    # not reach what it wrote, even with twice the length or twice the repeats.
    "repeat_copy": {
        "num_read_heads": 2,
        "num_slots": 256,
        "decay": 0.99,
        "steps": 8000,
        "sort_updates": 20,
        "polish_steps": 2000,
    },
    # The query is found by content, not by shifting. Few items would teach an LSTM to
    # store them in its own state instead of looking them up; so most sequences have the
    # most items almost from the start.
    "associative_recall": {
        "curriculum": "look_back",
        "curriculum_steps": 50,
        "decay": 0.99,
        "initial_heads": "neutral",
        "head_scale": 1.0,
        "learning_rate": 6e-4,
        "steps": 12_000,
        "polish_steps": 1000,
    },
    # Counts belong in a slot for each context, found by content and not by order; a
    # learned memory has such slots from the start. Two hundred steps of sharpened
    # weightings that go by content are chaotic.
    "dynamic_ngrams": {
        "decay": 0.99,
        "initial_heads": "content",
        "initial_strength": 8.0,
        "initial_memory": "learned",
        "sharpening": "none",
        "input_scale": 2.0,
        "head_scale": 1.0,
        "learning_rate": 6e-4,
    },
    # The second write head erases what has been output.
    "priority_sort": {
        "num_write_heads": 2,
        "initial_strength": 5.0,
        "decay": 0.99,
        "num_slots": 64,
        "curriculum_steps": 1000,
        "steps": 20_000,
    },
    # An LSTM would store short strings in its own state, and stay with that. A
    # controller without a state has only the memory.
    "reverse_string": {
        "controller": "feed_forward",
        "initial_heads": "stack",
        "sort_updates": 20,
    },
    # The write head puts what is asked for on a tape, where the read head finds it.
    # Some seeds whose read head stays at a slot at first do not learn to look. A call
    # has poems of one form; those of another would be padding.
    "poems": {
        "embedding_size": 128,
        "tied_embedding": True,
        "controller_units": 384,
        "num_slots": 96,
        "slot_size": 64,
        "initial_heads": "lookup",
        "initial_strength": 2.0,
        "optimizer": "adam",
        "learning_rate": 4e-3,
        "decay": 0.999,
        "batch_size": 32,
        "steps": 5000,
        "steps_per_call": 1,
        "watch_every": 20,
        "validate_every": 200,
        "validation_sequences": 400,
        "checkpoint_every": 100,
    },
}
# The controller counts pulses in its own state: in discrete steps, if that is noisy.
_PULSES: dict[str, Any] = {"carry_noise": 0.05, "steps": 12_000, "polish_steps": 6000}
# Longer than any of its machines that learned waited for a better validation
# (`benchmarks.waits`). Of other controllers and models these waits are not known.
_RESTART_AFTER = {"associative_recall": 1000, "reverse_string": 400}
# The paper's RMSProp is that of Graves 2013.
_PAPER: dict[str, Any] = {
    "optimizer": "graves_rmsprop",
    "epsilon": 1e-4,
    "clip": "value",
    "clip_at": 10.0,
    "update_clip": None,
    "batch_size": 1,
    "steps": 1_000_000,
    "steps_per_call": 1000,
    "validate_every": 10_000,
    "checkpoint_every": 10_000,
    "polish_steps": 10_000,
    "curriculum": "uniform",
    "lr_decay_fraction": 0.0,
    "initial_heads": "neutral",
    "input_scale": 1.0,
    "head_scale": 1.0,
}
# The paper's tables 1, 2 and 3: heads of each kind, layers, units and learning rate of
# the machine with a feed-forward and with an LSTM controller, and of the LSTM alone.
# The paper has no strings: that LSTM has the size of the benchmark's.
_PAPER_SIZES: dict[str, dict[str, tuple[int, int, int, float]]] = {
    "feed_forward": {
        "copy": (1, 1, 100, 1e-4),
        "repeat_copy": (1, 1, 100, 1e-4),
        "associative_recall": (4, 1, 256, 1e-4),
        "dynamic_ngrams": (1, 1, 100, 3e-5),
        "priority_sort": (8, 1, 512, 3e-5),
    },
    "lstm": {
        "copy": (1, 1, 100, 1e-4),
        "repeat_copy": (1, 1, 100, 1e-4),
        "associative_recall": (1, 1, 100, 1e-4),
        "dynamic_ngrams": (1, 1, 100, 3e-5),
        "priority_sort": (5, 2, 100, 3e-5),
    },
    "alone": {
        "copy": (1, 3, 256, 3e-5),
        "repeat_copy": (1, 3, 512, 3e-5),
        "associative_recall": (1, 3, 256, 1e-4),
        "dynamic_ngrams": (1, 3, 128, 1e-4),
        "priority_sort": (1, 3, 128, 3e-5),
        "reverse_string": (1, 1, 256, 1e-3),
    },
}
# Of an LSTM alone on other tasks; the benchmark's.
_SIZES_ALONE = (1, 1, 256, 1e-3)


def preset(
    name: str,
    task: str,
    model: str = "ntm",
    controller: str | None = None,
    task_fields: Mapping[str, Any] = Fields(),
    model_fields: Mapping[str, Any] = Fields(),
) -> TrainConfig:
    """The config of that name for a task and a model.

    Args:
      name: one of `PRESETS`.
      task: its name or place; one without settings of its own has those of copy.
      model: its name or place.
      controller: of the machine; None uses the one that learns the task best.
      task_fields: those of the task that are not its defaults.
      model_fields: those of the model that are not its defaults.

    Raises:
      ValueError: for an unknown preset, task or model, and for the preset of the paper
        if the paper does not have the task or the model.
    """
    check_choice("preset", name, PRESETS)
    class_of(task)  # checks the name
    paper_has = task in _PAPER_SIZES["lstm"], model in ("ntm", "lstm")
    if name == "paper" and not all(paper_has):
        what = model if paper_has[0] else task
        raise ValueError(
            f"preset: got 'paper', which has no {what}; pass --preset=default"
        )
    default = {"controller": TrainConfig.controller, **DEFAULTS.get(task, {})}
    if model == "ntm" and controller in (None, default["controller"]):
        default["restart_after"] = _RESTART_AFTER.get(task)
    if controller is not None:
        default["controller"] = controller
    default |= {"task_fields": task_fields, "model_fields": model_fields}
    pulses = (task, task_fields.get("repeat_code")) == ("repeat_copy", "pulses")
    if pulses and (model, default["controller"]) == ("ntm", "lstm"):
        default |= _PULSES
    if name == "default" and model == "ntm":
        return TrainConfig(task=task, model=model, **default)  # type: ignore[arg-type]

    if model not in ("ntm", "lstm"):
        machine = {field.name for field in dataclasses.fields(MachineSettings)}
        for field in machine - {"model_fields"}:
            default.pop(field, None)
    kind = "alone" if model != "ntm" else default["controller"]
    # The paper has no GRU; its machine with an LSTM is the most similar.
    sizes = _PAPER_SIZES.get(kind, _PAPER_SIZES["lstm"])
    heads, layers, units, rate = sizes.get(task, _SIZES_ALONE)
    size = {"controller_layers": layers, "controller_units": units}
    if name == "default":
        default.pop("sort_updates", None)  # they compute all steps anyway
        if model not in ("lstm", "gru"):
            size = {}
        # An LSTM alone is the paper's baseline only in the paper's size.
        return TrainConfig(task=task, model=model, **default | size)  # type: ignore[arg-type]
    papers = {
        **_PAPER,
        **size,
        "controller": default["controller"],
        "task_fields": task_fields,
        "model_fields": model_fields,
        "learning_rate": rate,
        "num_read_heads": heads,
        "num_write_heads": heads,
    }
    return TrainConfig(task=task, model=model, **papers)  # type: ignore[arg-type]


def command(
    config: TrainConfig, steps_before: Sequence[int] = (), workdir: str | None = None
) -> str:
    """The command for a run with this config.

    Args:
      config: of the run.
      steps_before: its earlier values of --steps, if that was raised.
      workdir: folder of the run; None uses the command's default.
    """
    own, settings = (config.task_fields, config.model_fields), config.settings()
    default = preset("default", config.task, config.model, config.controller, *own)
    unless_given = preset("default", config.task, config.model, None, *own)
    always = {"task", "seed"}
    for flag, fields in zip(("task", "model"), own):
        always |= {f"{flag}.{name}" for name in fields}
    if config.model != TrainConfig.model:
        always.add("model")
    if config.controller != unless_given.controller:
        always.add("controller")
    # The task and the seed first: they are what tells one run from another.
    names = sorted(settings, key=lambda name: name not in ("task", "seed"))
    flags = [
        word
        for name, value in ((name, settings[name]) for name in names)
        if name in always or value != default.settings()[name]
        for word in as_words(name, value)
    ]
    words = [*flags, *([f"--workdir={workdir}"] if workdir else [])]
    last = " ".join([spelled("python -m train.main"), *map(shlex.quote, words)])
    before = [
        command(dataclasses.replace(config, steps=steps), workdir=workdir)
        for steps in steps_before
    ]
    return " && ".join([*before, last])
