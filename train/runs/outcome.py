"""The outcome of a run: how many seeds solved the task, how soon, how well beyond."""

import dataclasses
import math
import statistics
from typing import Any

from ntm_jax.tasks import Task

from .config import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of all machines of one run.

    Attributes:
      seeds: the number of machines.
      solved: machines whose last validations were within the task's tolerance.
      median_sequences: median over all seeds of the sequences seen until solved;
        infinite if half of the seeds are not solved.
      worst_sequences: the same for the worst seed; infinite if one is not solved.
      perfect: machines within the tolerance in every evaluation beyond the training
        size, or at the training size if the task has none beyond.
      perfect_fraction: fraction of the sequences of those evaluations without an
        error, over all machines.
      restarts: of all machines together.
    """

    seeds: int
    solved: int
    median_sequences: float
    worst_sequences: float
    perfect: int
    perfect_fraction: float
    restarts: int = 0

    @classmethod
    def of_none(cls, seeds: int) -> "Outcome":
        """The outcome if no seed stayed finite."""
        return cls(
            seeds=seeds,
            solved=0,
            median_sequences=math.inf,
            worst_sequences=math.inf,
            perfect=0,
            perfect_fraction=0.0,
        )


def outcome(config: TrainConfig, evaluation: list[dict[str, Any]]) -> Outcome:
    """The outcome of a complete run, from its `evaluation.json`."""
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
        restarts=sum(entry.get("restarts", 0) for entry in trained),
    )


def in_words(of: Outcome, task: Task) -> str:
    """One sentence."""
    words = f"{of.solved} of {of.seeds} seeds solved"
    if math.isfinite(of.median_sequences):
        words += f", after a median of {of.median_sequences:,.0f} sequences"
    if math.isfinite(of.worst_sequences):
        words += f" (worst {of.worst_sequences:,.0f})"
    if of.restarts:
        words += f", with {of.restarts} restart{'s' * (of.restarts > 1)}"
    return f"{words}; {of.perfect} of {of.seeds} {within(task)} {tried_on(task)}."


def within(task: Task) -> str:
    """The condition for `Outcome.perfect`."""
    if not task.tolerance:
        return f"without a wrong {task.targets.unit.removesuffix('s')}"
    return f"within {task.tolerance:g} {task.error_name}"


def tried_on(task: Task) -> str:
    """The sequences on which `Outcome.perfect` is measured."""
    return "beyond the training size" if task.beyond else "on new sequences"


def readable(sequences: float) -> str:
    """A number of sequences; "not solved" if it is infinite."""
    return f"{sequences:,.0f}" if math.isfinite(sequences) else "not solved"
