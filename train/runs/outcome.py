"""What came of a population: how many seeds learned, how soon, how far they carry."""

import dataclasses
import math
import statistics
from typing import Any

from tasks import Task
from train.runs.config import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of the machines of one run.

    Attributes:
      seeds: how many.
      solved: those whose last validations were within the task's tolerance.
      median_sequences: seen until solved; infinite if half of the seeds are not.
      worst_sequences: infinite if any seed is not.
      perfect: those within it in every evaluation beyond the training size, or at it
        where the task has none beyond.
      perfect_fraction: of the sequences of those evaluations, over all machines.
    """

    seeds: int
    solved: int
    median_sequences: float
    worst_sequences: float
    perfect: int
    perfect_fraction: float

    @classmethod
    def of_none(cls, seeds: int) -> "Outcome":
        """Where no seed stayed finite."""
        return cls(
            seeds=seeds,
            solved=0,
            median_sequences=math.inf,
            worst_sequences=math.inf,
            perfect=0,
            perfect_fraction=0.0,
        )


def outcome(config: TrainConfig, evaluation: list[dict[str, Any]]) -> Outcome:
    """Of a complete run, from its `evaluation.json`."""
    task = config.make_task()
    trained, *beyond = (
        [entry for entry in evaluation if trial.items() <= entry.items()]
        for trial in task.trials()
    )
    sequences = [
        math.inf
        if entry["solved_at"] is None
        else entry["solved_at"] * config.batch_size
        for entry in trained
    ]
    harder = beyond or [trained]
    return Outcome(
        seeds=len(trained),
        solved=sum(map(math.isfinite, sequences)),
        median_sequences=statistics.median_high(sequences),
        worst_sequences=max(sequences),
        perfect=sum(
            all(entry["error_per_sequence"] <= task.tolerance for entry in of_one)
            for of_one in zip(*harder, strict=True)
        ),
        perfect_fraction=statistics.mean(
            entry["perfect_fraction"] for trial in harder for entry in trial
        ),
    )


def in_words(of: Outcome, task: Task) -> str:
    """One line."""
    return (
        f"{of.solved} of {of.seeds} seeds solved, after a median of "
        f"{readable(of.median_sequences)} and at worst {readable(of.worst_sequences)} "
        f"sequences; {of.perfect} of {of.seeds} {within(task)} {tried_on(task)}."
    )


def within(task: Task) -> str:
    """What is asked of a machine's answers."""
    if not task.tolerance:
        return "without a wrong bit"
    return f"within {task.tolerance:g} {task.error_name}"


def tried_on(task: Task) -> str:
    """What `Outcome.perfect` is judged on."""
    return "beyond" if task.beyond else "on fresh sequences"


def readable(sequences: float) -> str:
    """A number of sequences to read; `never` for infinitely many."""
    return f"{sequences:,.0f}" if math.isfinite(sequences) else "never"
