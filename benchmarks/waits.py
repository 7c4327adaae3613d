"""Prints how long recorded seeds waited for a better validation.

    python -m benchmarks.waits

A seed restarts if it waits for `--restart_after` updates before it has learned, see
train/training/restarts.py. So this number has to be larger than the waits of all seeds
that learn.
"""

import dataclasses
import sys
from collections.abc import Iterator

import jax.numpy as jnp

from benchmarks.records import Record, config_of, load
from train import cli
from train.training.restarts import has_learned, with_validation
from train.training.state import NEVER, RestartingState


@dataclasses.dataclass(frozen=True)
class Flags:
    """Prints how long recorded seeds waited for a better validation."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    cli.parse(Flags, arguments, prog="python -m benchmarks.waits")
    with cli.readable_errors():
        print("\n".join(table(load())))
    return 0


def table(records: list[Record]) -> Iterator[str]:
    """A row for each record with validations: the longest waits of its seeds."""
    yield "| task | learner | updates | seeds that learned | seeds that did not |"
    yield "| --- | --- | --- | --- | --- |"
    for record in records:
        if not all(machine["errors"] for machine in record["machines"]):
            continue
        waits = [longest_wait(record, machine) for machine in record["machines"]]
        learned, others = (
            ", ".join(str(wait) for wait, has in waits if has == wanted)
            for wanted in (True, False)
        )
        yield (
            f"| {record['task']} | {record['learner']} | {config_of(record).steps:,} | "
            f"{learned} | {others} |"
        )


def longest_wait(record: Record, machine: Record) -> tuple[int, bool]:
    """The most updates without a better validation until a seed has learned.

    Args:
      record: of a run.
      machine: one of the record.

    Returns:
      The updates, and whether it has learned.
    """
    config = config_of(record)
    tolerance, longest = config.make_task().tolerance, 0
    never, zero = jnp.full(1, NEVER), jnp.zeros(1, jnp.int32)
    state = RestartingState(
        step=zero,
        solved_at=never,
        diverged_at=never,
        params=None,
        opt_state=(),
        restarts=zero,
        began_at=zero,
        highest_error=jnp.zeros(1),
        best_error=jnp.full(1, jnp.inf),
        best_at=zero,
    )
    due = jnp.ones(1, bool)
    for sequences, error in zip(machine["validated_after"], machine["errors"]):
        state = state.replace(step=jnp.asarray([sequences // config.batch_size]))
        state = with_validation(state, jnp.asarray([error]), due, tolerance)
        if has_learned(state, tolerance)[0]:
            return longest, True
        longest = max(longest, int(state.step[0] - state.best_at[0]))
    return longest, False


if __name__ == "__main__":
    sys.exit(main())
