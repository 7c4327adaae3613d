"""Training with access to a few slots, beside the dense machine."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from ntm_jax import tasks
from train.arguments import config_for
from train.library import Result, fit
from train.runs.config import TrainConfig
from train.training.loop import loss

PyTree = Any

_WINDOW = "window:9:0.05"
_LONG_COPY = "docs/examples/long_copy.py:LongCopy"
_LONG_RECALL = "docs/examples/long_recall.py:LongRecall"
# Copy of up to 1,000 vectors. It is learned with short ones, and the others follow.
_UP_TO_1000 = {
    "num_slots": 16_384,
    "curriculum_steps": 15_000,
    "validation_sequences": 8,
    "validate_every": 50,
    "polish_steps": 100,
    "steps": 1000,
    "watch_every": 1000,
}
TRAINED = [
    {"task": "copy", "seed": 0, "settings": settings, "access": access}
    for settings in (
        {"num_slots": 2048},
        {"num_slots": 16_384, "validation_sequences": 50},
    )
    for access in (_WINDOW, "dense")
] + [
    {"task": _LONG_COPY, "seed": seed, "settings": _UP_TO_1000, "access": _WINDOW}
    for seed in range(3)
]
# Recall: the machine learns to look up, and then to do so among many items, from the
# parameters of the first stage.
_STAGES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "associative_recall",
        "sparse:16:0",
        {"num_slots": 16_384, "validation_sequences": 50, "polish_steps": 200},
    ),
    (
        _LONG_RECALL,
        "sparse:64:0.05",
        {
            "num_slots": 16_384,
            "learning_rate": 1e-4,
            "decay": 0.99,
            "curriculum_steps": 100,
            "validation_sequences": 16,
            "validate_every": 25,
            "polish_steps": 50,
            "evaluation_sequences": 100,
            "steps": 500,
            "steps_per_call": 5,
            "checkpoint_every": 25,
            "watch_every": 1000,
        },
    ),
)
STAGES = [
    {"seed": seed, "stage": number, "access": _STAGES[number - 1][1]}
    for seed, number in ((0, 1), (4, 1), (4, 2))
]
# Of 1,000 items, the dense machine's gradient needs more memory than a laptop has.
UPDATES = [
    {"seed": 4, "items": items, "access": access}
    for items, accesses in (
        (6, ("sparse:64:0", "sparse:64:0.05", "dense")),
        (1000, ("sparse:64:0", "sparse:64:0.05")),
    )
    for access in accesses
]


def trained(
    task: str, seed: int, settings: dict[str, Any], access: str
) -> dict[str, Any]:
    """A machine trained from scratch, and evaluated as training evaluates it."""
    config = TrainConfig(task=task, seed=seed, access=access, **settings)
    result, seconds, cpu_seconds = timed(lambda: fit(task, config))
    of_times = {"seconds": seconds, "cpu_seconds": cpu_seconds}
    return {**_outcome(config, result), **of_times}


def stage(seed: int, stage: int, access: str) -> dict[str, Any]:
    """One of the stages in which a machine learns to recall up to 1,000 items.

    An existing run is read, not trained again. The seconds are those of the training.
    """
    config = _config(seed, stage, access)
    result = _made(seed, stage, access)
    seconds = sum(entry.get("seconds", 0) for entry in result.metrics)
    return {
        "task": _STAGES[stage - 1][0],
        "num_slots": config.num_slots,
        **_outcome(config, result),
        "seconds": round(seconds, 1),
    }


def update(seed: int, items: int, access: str) -> dict[str, Any]:
    """The gradient of the last stage's machine: seconds, and memory beside it."""
    last = len(_STAGES)
    params = _made(seed, last, _STAGES[-1][1]).params
    config = _config(seed, last, access)
    batch = config.make_task().sample(jax.random.key(1), config.batch_size, items=items)
    return timed_gradient(params, batch, config, times=1)


def timed_gradient(
    params: PyTree, batch: tasks.Batch, config: TrainConfig, times: int = 3
) -> dict[str, Any]:
    """Seconds of the loss and its gradient, and the memory beside its arguments."""
    function = jax.jit(jax.value_and_grad(functools.partial(loss, config=config)))
    program = function.lower(params, batch).compile()
    program(params, batch)
    measured = [timed(lambda: program(params, batch)) for _ in range(times)]
    analysis: Any = program.memory_analysis()
    return {
        "seconds": min(seconds for _, seconds, _ in measured),
        "cpu_seconds": min(cpu_seconds for _, _, cpu_seconds in measured),
        "megabytes": round(analysis.temp_size_in_bytes / 1e6, 1),
    }


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the call returns, its seconds, and those of the CPU's cores."""
    began, cpu = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(call())
    seconds, of_cpu = time.perf_counter() - began, time.process_time() - cpu
    return result, round(seconds, 4), round(of_cpu, 4)


def _config(seed: int, stage: int, access: str) -> TrainConfig:
    task, _, settings = _STAGES[stage - 1]
    before = None
    if stage > 1:
        before = str(_folder(seed, stage - 1, _STAGES[stage - 2][1]))
    return config_for(task, seed=seed, access=access, init_from=before, **settings)


def _folder(seed: int, stage: int, access: str) -> Path:
    return Path("runs") / f"long_recall_{seed}_{stage}_{access.partition(':')[0]}"


def _made(seed: int, stage: int, access: str) -> Result:
    """Trains it, or reads it if it is there."""
    config = _config(seed, stage, access)
    return fit(config.task, config, workdir=_folder(seed, stage, access))


def _outcome(config: TrainConfig, result: Result) -> dict[str, Any]:
    steps = max(entry["step"] for entry in result.metrics)
    return {
        "step": steps,
        "sequences": steps * config.batch_size,
        "solved": result.solved,
        "errors": [entry["error_per_sequence"] for entry in result.evaluation],
    }
