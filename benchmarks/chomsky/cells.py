"""The cells of the benchmark: fifteen tasks and five learners, and their settings."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from ntm_jax.checks import check_choice
from train.arguments import config_for
from train.runs.config import TrainConfig

Settings = dict[str, Any]

_PLACE = "ntm_jax.tasks.chomsky:"
# In the order of the paper: regular, deterministic context-free and context-sensitive.
LEVELS: dict[str, dict[str, str]] = {
    "regular": {
        "even_pairs": f"{_PLACE}EvenPairs",
        "modular_arithmetic_simple": f"{_PLACE}ModularArithmeticSimple",
        "parity": f"{_PLACE}Parity",
        "cycle_navigation": f"{_PLACE}CycleNavigation",
    },
    "context-free": {
        "stack_manipulation": f"{_PLACE}StackManipulation",
        "reverse_string": "reverse_string",
        "modular_arithmetic": f"{_PLACE}ModularArithmetic",
        "solve_equation": f"{_PLACE}SolveEquation",
    },
    "context-sensitive": {
        "duplicate_string": f"{_PLACE}DuplicateString",
        "missing_duplicate": f"{_PLACE}MissingDuplicate",
        "odds_first": f"{_PLACE}OddsFirst",
        "binary_addition": f"{_PLACE}BinaryAddition",
        "binary_multiplication": f"{_PLACE}BinaryMultiplication",
        "compute_sqrt": f"{_PLACE}ComputeSqrt",
        "bucket_sort": f"{_PLACE}BucketSort",
    },
}
MODELS: dict[str, Settings] = {
    "ntm_feed_forward": {"model": "ntm", "controller": "feed_forward"},
    "ntm_lstm": {"model": "ntm", "controller": "lstm"},
    "stack_rnn": {"model": "stack_rnn"},
    "tape_rnn": {"model": "tape_rnn"},
    "lstm": {"model": "lstm"},
}
PLACES = {name: place for level in LEVELS.values() for name, place in level.items()}

# At most 96,000 sequences; a run ends earlier once its task is solved and polished.
_ALL: Settings = {
    "batch_size": 16,
    "steps": 6000,
    "validate_every": 100,
    "validation_sequences": 200,
    "checkpoint_every": 100,
}
# For the baselines, the learning rate of the benchmark.
_BASELINE: Settings = {"learning_rate": 1e-3, "curriculum_steps": 2000}
# A string fits into the memory; in the evaluation twice, as a head can move on.
_TAPE: Settings = {"num_slots": 64, "polish_steps": 300}
_EVALUATION_SLOTS = 1024
# A few slots and units, for tasks that need no more than a state.
_STATE: Settings = {"num_slots": 16, "controller_units": 32, "learning_rate": 1e-3}
_STATE_TASKS = (*LEVELS["regular"], "missing_duplicate")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A task, a learner, and the few settings of which the best counts.

    Attributes:
      task: one of `PLACES`.
      model: one of `MODELS`.
      settings: of the trainer, by name; what it is not told are its defaults.
      num_slots: of an NTM's memory in the evaluation; None for those of training.
    """

    task: str
    model: str
    settings: tuple[Settings, ...]
    num_slots: int | None

    @property
    def name(self) -> str:
        """The name of its record."""
        return f"{self.task}_{self.model}"

    def config(self, settings: Settings, seed: int) -> TrainConfig:
        """The config of one of its runs."""
        return config_for(PLACES[self.task], seed=seed, **settings)


def cell(task: str, model: str) -> Cell:
    """The cell of that task and that model.

    Raises:
      ValueError: for an unknown name.
    """
    check_choice("tasks", task, tuple(PLACES))
    check_choice("models", model, tuple(MODELS))
    is_ntm, is_state = MODELS[model]["model"] == "ntm", task in _STATE_TASKS
    suited = (_STATE if is_state else _TAPE) if is_ntm else _BASELINE
    shared = {**_ALL, **MODELS[model], **suited}
    slots = _EVALUATION_SLOTS if is_ntm and not is_state else None
    own = OF_TASK.get((task, model), ({},))
    return Cell(task, model, tuple({**shared, **each} for each in own), slots)


def cells(tasks: tuple[str, ...], models: tuple[str, ...]) -> Iterator[Cell]:
    """All of these; those of a task together."""
    return (cell(task, model) for task in tasks for model in models)


# What a task and a model have of their own: the few settings to try.
_STACK: Settings = {"initial_heads": "stack"}
# A read sees what the same step has written: the top of a stack.
_PUSHDOWN: Settings = {
    **_STACK,
    "order": "write_first",
    "learning_rate": 5e-4,
    "curriculum_steps": 2000,
}
OF_TASK: dict[tuple[str, str], tuple[Settings, ...]] = {
    ("stack_manipulation", "ntm_feed_forward"): (_PUSHDOWN,),
    ("stack_manipulation", "ntm_lstm"): ({**_STACK, "curriculum_steps": 1000},),
    ("reverse_string", "ntm_feed_forward"): (_STACK,),
    ("reverse_string", "ntm_lstm"): (_STACK,),
    ("modular_arithmetic", "ntm_feed_forward"): (_STACK,),
    ("modular_arithmetic", "ntm_lstm"): (_STACK,),
    ("solve_equation", "ntm_feed_forward"): (_STACK,),
    ("solve_equation", "ntm_lstm"): (_STACK,),
    ("missing_duplicate", "ntm_lstm"): ({"curriculum_steps": 2000},),
    ("odds_first", "ntm_lstm"): ({"shift_range": 2, "curriculum_steps": 1000},),
    ("duplicate_string", "ntm_lstm"): ({"curriculum_steps": 1000},),
    ("binary_addition", "ntm_lstm"): ({"num_read_heads": 2},),
    ("binary_multiplication", "ntm_lstm"): ({"num_read_heads": 2},),
}
