"""Settings by name for every task: those that work, and those of the paper."""

import dataclasses
from typing import Any

import tasks
from ntm_jax.checks import check_choice
from train.config import TrainConfig

PRESETS = ("default", "paper")

# What learns a task better than the fields' own defaults, which are those for copy.
_DEFAULT: dict[str, dict[str, Any]] = {
    "copy": {},
    # In few slots the write head, which goes on while the machine answers, comes round
    # to what it wrote, and has to learn to spare it.
    "repeat_copy": {
        "num_read_heads": 2,
        "num_slots": 64,
        "decay": 0.99,
        "steps": 8000,
    },
    # What is asked for is found by content, not by moving on from where heads wait. Few
    # items would teach an LSTM to keep them in mind itself, and not to look them up.
    "associative_recall": {
        "curriculum": "none",
        "decay": 0.99,
        "initial_heads": "neutral",
        "head_scale": 1.0,
        "learning_rate": 6e-4,
        "polish_steps": 1000,
    },
    "dynamic_ngrams": {"learning_rate": 4e-4, "decay": 0.99, "steps": 12_000},
    # The second write head erases what was answered.
    "priority_sort": {
        "num_write_heads": 2,
        "initial_strength": 5.0,
        "decay": 0.99,
        "num_slots": 64,
        "curriculum_steps": 1000,
        "steps": 12_000,
    },
}
# The paper's RMSProp is that of Graves 2013.
_PAPER: dict[str, Any] = {
    "optimizer": "graves_rmsprop",
    "epsilon": 1e-4,
    "clip": "value",
    "clip_at": 10.0,
    "update_clip": None,
    "batch_size": 1,
    "steps": 1_000_000,
    "curriculum": "uniform",
    "falling": 0.0,
    "initial_heads": "neutral",
    "input_scale": 1.0,
    "head_scale": 1.0,
}
# Its tables 1 to 3: learning rate; heads of each kind, layers and units, of the machine
# with a feed-forward and with an LSTM controller; layers and units of the LSTM alone.
_PAPER_SIZES = {
    "copy": (1e-4, (1, 1, 100), (1, 1, 100), (3, 256)),
    "repeat_copy": (1e-4, (1, 1, 100), (1, 1, 100), (3, 512)),
    "associative_recall": (1e-4, (4, 1, 256), (1, 1, 100), (3, 256)),
    "dynamic_ngrams": (3e-5, (1, 1, 100), (1, 1, 100), (3, 128)),
    "priority_sort": (3e-5, (8, 1, 512), (5, 2, 100), (3, 128)),
}


def command(config: TrainConfig) -> str:
    """What to type for a run with this config."""
    default = preset("default", config.task, config.model, config.controller)
    always = ("task", "seed")
    flags = [
        f"--{field.name}={getattr(config, field.name)}"
        for field in dataclasses.fields(config)
        if field.name in always
        or getattr(config, field.name) != getattr(default, field.name)
    ]
    for name in ("controller", "model"):
        if getattr(config, name) != getattr(TrainConfig(), name):
            flags.insert(1, f"--{name}={getattr(config, name)}")
    return " ".join(["python -m train.main", *flags])


def preset(
    name: str, task: str, model: str = "ntm", controller: str = "lstm"
) -> TrainConfig:
    """The config of that name for that task and what is to learn it.

    Raises:
      ValueError: for a name that no preset or task has.
    """
    check_choice("preset", name, PRESETS)
    check_choice("task", task, tasks.names())
    rate, feed_forward, lstm, alone = _PAPER_SIZES[task]
    heads, *size = feed_forward if controller == "feed_forward" else lstm
    if name == "paper":
        fields = {
            **_PAPER,
            "learning_rate": rate,
            "num_read_heads": heads,
            "num_write_heads": heads,
        }
    else:
        fields, size = _DEFAULT[task], ()
    if model == "lstm":
        size = alone
    if size:
        fields = {**fields, "controller_layers": size[0], "controller_units": size[1]}
    return TrainConfig(task=task, model=model, controller=controller, **fields)  # type: ignore[arg-type]
