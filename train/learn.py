"""A whole run: trains, evaluates, draws, and reports to the person who waits."""

import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental.multihost_utils import reached_preemption_sync_point
from rich.console import Console

from ntm_jax import tasks

from .callbacks import Callback, call_all, closing_all
from .cluster import together
from .cluster.together import is_writer
from .runs.config import TrainConfig
from .runs.folder import RunFolder
from .show.draw import draw_run
from .show.progress import Progress
from .show.recording import record
from .show.reports import (
    report,
    report_diverged,
    report_overflowed,
)
from .show.snapshot import show_figures, show_machines
from .training.devices import on_host
from .training.feed import Feed
from .training.loop import is_watched, train, updates_of_call
from .training.measure import evaluate, evaluation_key
from .training.population import member
from .training.solved import is_learning, last_step
from .training.state import NEVER, TrainState, mesh_of, restarts_of, without_arrays
from .validation import validated


class PreemptedError(RuntimeError):
    """One of several processes has been told to end; a checkpoint has been written."""


class DivergedError(RuntimeError):
    """No machine has finite numbers left, so training cannot continue."""


def run_to_the_end(
    run: RunFolder,
    states: TrainState,
    console: Console,
    callbacks: Sequence[Callback] = (),
    *,
    drawn: bool = True,
) -> list[dict[str, Any]]:
    """Trains, evaluates and draws; returns the evaluation.

    Args:
      run: nothing is written in its folder before this call.
      states: that `run.load` returned.
      console: to report to.
      callbacks: called at each report. What they raise ends the run.
      drawn: whether the run makes figures, and keeps what films need.

    Raises:
      DivergedError: if no seed stays finite.
      PreemptedError: if one of several processes got SIGTERM.
    """
    with contextlib.closing(run.events), closing_all(callbacks):
        run.start()
        states = learn(run, states, console, callbacks, drawn=drawn)
        return finish(run, states, console, drawn=drawn)


def finish(
    run: RunFolder, states: TrainState, console: Console, *, drawn: bool = True
) -> list[dict[str, Any]]:
    """Evaluates and draws trained machines; returns the evaluation."""
    difficulties = run.config.make_task().trials()
    number = run.config.evaluation_sequences
    console.print(f"Evaluating on {number} sequences of each size")
    evaluation = [
        entry
        for difficulty in difficulties
        for entry in evaluate_at(states, run, difficulty)
    ]
    if drawn:
        console.print(f"Drawing in {run.figures}")
        # What is spread over several processes comes to the first with all of them.
        now = without_arrays(states)
        machine = member(states.params, 0)
        if is_writer():
            draw_run(
                run.figures,
                machine,
                run.config,
                run.metrics(),
                difficulties,
                step=int(now.step[0]),
            )
            show_figures(run, int(now.step.max()))
    run.finish(evaluation)
    return evaluation


def learn(
    run: RunFolder,
    states: TrainState,
    console: Console,
    callbacks: Sequence[Callback] = (),
    *,
    drawn: bool = True,
) -> TrainState:
    """Trains until every seed has solved and polished the task or used its steps.

    A seed that has finished, or does not stay finite, waits unchanged for the others.

    Raises:
      DivergedError: if no seed stays finite.
      PreemptedError: if one of several processes got SIGTERM.
    """
    config, task = run.config, run.config.make_task()
    now = without_arrays(states)
    step = int(now.step.max())
    title = config.title()
    console.print(
        f"Training on {title}, in {run.path}, on {jax.devices()[0].device_kind}"
        + over_processes(config)
        + (f", from update {step} on" if step else "")
        + "; compiling first"
    )
    if run.given is not None:
        console.print(run.given.in_words(str(config.init_from)))
    targets = task.targets
    feed = Feed(config, step) if isinstance(task, tasks.DataTask) else None
    with (
        contextlib.closing(feed) if feed else contextlib.nullcontext(),
        Progress(console, config.steps, step, config.num_seeds, targets) as progress,
    ):
        learning = np.asarray(is_learning(config, now))
        calls = 0
        while learning.any():
            started = time.perf_counter()
            num_steps = updates_of_call(config, step)
            watched = is_watched(config, step)
            states, metrics, health = train(
                states,
                config=config,
                num_steps=num_steps,
                data=None if feed is None else feed.next(),
                optimizer=run.optimizer,
                watched=watched,
            )
            metrics, health = on_host((metrics, health))
            seconds = time.perf_counter() - started

            now = without_arrays(states)
            done_before, step = step, int(now.step.max())
            made = np.where(learning, now.step - done_before, 0)
            rate = int(made.sum()) * config.batch_size / seconds
            of_seeds = report(run, now, made, metrics, health, rate, seconds)
            report_diverged(run, learning, now, metrics, console)
            report_overflowed(run, made, metrics, console)
            ended = ~np.asarray(is_learning(config, now))
            due = learning & (ended | (step % config.validate_every == 0))
            due &= now.diverged_at == NEVER
            if due.any():
                states = validated(run, states, due, console)
                now = without_arrays(states)
            if drawn and watched and made[0]:
                keep_answer(states, run, step)
            # Before the checkpoint: what a kill leaves unreported is made again.
            call_all(callbacks, run, states, step)
            learning = np.asarray(is_learning(config, now))
            calls += 1
            preempted = learning.any() and reached_preemption_sync_point(calls)
            if step % config.checkpoint_every == 0 or preempted or not learning.any():
                run.save(states)
                if drawn and due.any() and not preempted:
                    show_machines(run, states, step)
            if preempted:
                raise PreemptedError(
                    f"told to end (SIGTERM): wrote a checkpoint after update {step}; "
                    "the same command continues from it"
                )
            if of_seeds:
                ends = np.asarray(last_step(config, now))
                solved = int((np.asarray(now.solved_at) != NEVER).sum())
                progress.report(
                    step,
                    int(ends.max()),
                    solved=solved,
                    polishing=solved == config.num_seeds,
                    losses=[each[targets.loss_name] for each in of_seeds],
                    wrong=[each[targets.wrong_name] for each in of_seeds],
                    rate=rate,
                )
    if (now.diverged_at != NEVER).all():
        raise DivergedError(
            "no seed has finite numbers left; use a lower --learning_rate and a new "
            "--workdir"
        )
    return states


def over_processes(config: TrainConfig) -> str:
    """What each process has of a run, in words; nothing if there is one."""
    if not together.is_one_of_many():
        return ""
    mesh = mesh_of(config)
    seeds, batch = mesh.devices.shape
    own = math.ceil(mesh.local_mesh.devices.shape[1] / batch * config.batch_size)
    return (
        f", in {together.num_processes()} processes on "
        f"{', '.join(together.hosts())}: a mesh of {seeds} (seeds) × {batch} (batch) "
        f"devices, {own} of {config.batch_size} sequences of a batch in each process"
    )


def keep_answer(states: TrainState, run: RunFolder, step: int) -> None:
    """Keeps the first machine's answer to one fixed sequence, for a film."""
    hardest = run.config.make_task().trials()[0]
    machine = member(states.params, 0)  # which takes all processes
    if not is_writer():
        return
    recording = record(machine, run.config, hardest, traced=False)
    targets = run.config.make_task().targets
    run.keep_answer(step, targets.kept(recording.outputs))


def evaluate_at(
    states: TrainState, run: RunFolder, difficulty: dict[str, Any]
) -> list[dict[str, Any]]:
    """The entries of `evaluation.json` for one difficulty, one for each machine."""
    config, seed, now = run.config, 0, without_arrays(states)
    results = evaluate(
        states.params,
        config,
        keys=jnp.broadcast_to(evaluation_key(seed), (config.num_seeds,)),
        num_sequences=config.evaluation_sequences,
        **difficulty,
    )
    return [
        {
            "machine": config.seeds()[i],
            **result,
            "seed": seed,
            "step": int(now.step[i]),
            "solved_at": update_or_none(now.solved_at[i]),
            "diverged_at": update_or_none(now.diverged_at[i]),
            **restarts_of(now, i),
        }
        for i, result in enumerate(results)
    ]


def update_or_none(at: Array) -> int | None:
    """The number of an update; None for `NEVER`."""
    return None if at == NEVER else int(at)
