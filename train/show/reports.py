"""What a run says after each compiled call: numbers for its files, words to read."""

import math

import numpy as np
from rich.console import Console

from ..runs.folder import RunFolder
from ..training.health import Health
from ..training.loop import Metrics
from ..training.restarts import BETTER
from ..training.solved import last_step
from ..training.state import NEVER, RestartingState, TrainState, restarts_of
from .progress import MOST_SEEDS


def report(
    run: RunFolder,
    now: TrainState,
    made: np.ndarray,
    metrics: Metrics,
    health: Health,
    rate: float,
    seconds: float,
) -> list[dict[str, float]]:
    """Records the means of a call for every seed that learned, and returns them.

    Args:
      run: to record in.
      now: after the call, `[S]` each.
      made: int `[S]`, updates made in it.
      metrics: `[S, num_steps]` each.
      health: `[S]` each.
      rate: sequences per second, of all seeds together.
      seconds: duration of the call.
    """
    means, named = [], metrics.named(run.config.make_task().targets)
    step = int(now.step.max())
    for i in np.flatnonzero(made):
        seed = run.config.seeds()[i]
        mean = {
            name: float(np.mean(values[i, : made[i]])) for name, values in named.items()
        }
        means.append(mean)
        speed = {"sequences_per_second": rate, "seconds": seconds}
        own = mean | restarts_of(now, int(i))
        run.record(step, "train", seed=seed, **own, **speed)
        if health:  # only the machine has some
            inside = {name: float(values[i]) for name, values in health.items()}
            run.record(step, "health", seed=seed, **inside)
    return means


def report_solved(
    run: RunFolder, before: TrainState, after: TrainState, console: Console
) -> None:
    """Reports each seed that a validation has found solved, or not solved any more."""
    config = run.config
    ends = np.asarray(last_step(config, after))
    was, now = np.asarray(before.solved_at), np.asarray(after.solved_at)
    changed = np.flatnonzero((was == NEVER) != (now == NEVER))
    if len(was) > MOST_SEEDS:
        newly, lost = (int(np.sum(of[changed] != NEVER)) for of in (now, was))
        if newly or lost:
            console.print(
                f"{newly} more seeds solved"
                + (f", {lost} not solved any more" if lost else "")
                + f": {int(np.sum(now != NEVER))} of {len(now)}"
            )
        return
    for i in changed:
        who = f"Seed {config.seeds()[i]}: " if config.num_seeds > 1 else ""
        if now[i] != NEVER:
            words = f"solved at update {now[i]}"
            if number := restarts_of(after, int(i)).get("restarts"):
                words += f" after {number} restart{'s' * (number > 1)}"
            words += f", polishing until {ends[i]}"
        else:
            words = f"not solved any more, training until {ends[i]} at most"
        console.print(who + words if who else words.capitalize())


def report_restarted(
    run: RunFolder, before: RestartingState, stuck: np.ndarray, console: Console
) -> None:
    """Reports each seed that restarts, with its state before that."""
    seeds, numbers = run.config.seeds(), np.asarray(before.restarts) + 1
    if len(stuck) > MOST_SEEDS:
        if number := int(stuck.sum()):
            console.print(f"{number} seed{'s' * (number > 1)} restarted")
        return
    for i in np.flatnonzero(stuck):
        console.print(
            f"Seed {seeds[i]}: no validation since update {before.best_at[i]} was "
            f"{BETTER:.0%} better than {before.best_error[i]:.3g}; restart "
            f"{numbers[i]} from other parameters"
        )


def report_diverged(
    run: RunFolder,
    learning: np.ndarray,
    states: TrainState,
    metrics: Metrics,
    console: Console,
) -> None:
    """Reports each seed that is no longer finite: where, and in which number."""
    diverged_at = np.asarray(states.diverged_at)
    named = metrics.named(run.config.make_task().targets)
    for i in np.flatnonzero(learning & (diverged_at != NEVER)):
        made = int(np.argmin(all_finite(metrics)[i]))
        name, value = next(
            (name, values[i, made])
            for name, values in named.items()
            if not math.isfinite(values[i, made])
        )
        console.print(
            f"Seed {run.config.seeds()[i]} stopped: {name}: got {value} in update "
            f"{diverged_at[i]}, want a finite number. The machine from before that "
            f"update is in {run.path / 'checkpoints'}."
        )


def report_overflowed(
    run: RunFolder, made: np.ndarray, metrics: Metrics, console: Console
) -> None:
    """Reports each seed whose gradient overflowed in every update of a call."""
    for i in np.flatnonzero(made):
        if metrics.overflowed[i, : made[i]].all():
            console.print(
                f"Seed {run.config.seeds()[i]}: the gradient overflowed in all of the "
                f"last {made[i]} updates and little was learned; if it repeats, use a "
                "lower --learning_rate and a new --workdir"
            )


def all_finite(metrics: Metrics) -> np.ndarray:
    """Whether all metrics of an update are finite, `[S, num_steps]`."""
    return np.all([np.isfinite(values) for values in vars(metrics).values()], axis=0)
