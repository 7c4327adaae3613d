"""A validation in a run, and what follows for each seed: it is solved, or restarts."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from rich.console import Console

from .runs.folder import RunFolder
from .show.reports import report_restarted, report_solved
from .training import restarts
from .training.keys import purpose_key
from .training.measure import evaluate
from .training.solved import judge
from .training.state import (
    RestartingState,
    TrainState,
    mesh_of,
    restarts_of,
    with_arrays,
    without_arrays,
)


def validated(
    run: RunFolder, states: TrainState, due: np.ndarray, console: Console
) -> TrainState:
    """The states after a validation.

    Args:
      run: to record and report in.
      states: `[S, ...]`, of which some buffers are donated.
      due: bool `[S]`, the seeds to validate; the others stay as they are.
      console: to report to.
    """
    config, tolerance = run.config, run.config.make_task().tolerance
    now = without_arrays(states)
    errors = validate(states, now, run, due)
    judged = judge(now, errors, jnp.asarray(due), tolerance)
    report_solved(run, now, judged, console)
    if not isinstance(judged, RestartingState):
        return with_arrays(judged, states, mesh_of(config))
    judged = restarts.with_validation(judged, errors, jnp.asarray(due), tolerance)
    stuck = restarts.is_stuck(config, judged, jnp.asarray(due), tolerance)
    states = with_arrays(judged, states, mesh_of(config))
    if stuck.any():
        report_restarted(run, judged, stuck, console)
        states = restarts.restarted(config, states, stuck, run.optimizer)
    return states


def validate(
    states: TrainState, now: TrainState, run: RunFolder, due: np.ndarray
) -> Array:
    """The task's errors on the validation sets, `[S]`; recorded where `due`."""
    config = run.config
    targets = config.make_task().targets
    results = evaluate(
        states.params,
        config,
        keys=jnp.stack([purpose_key(seed, "validation") for seed in config.seeds()]),
        num_sequences=config.validation_sequences,
        split="validation",
    )
    for i in np.flatnonzero(due):
        run.record(
            int(now.step.max()),
            "validation",
            seed=config.seeds()[i],
            **{
                name: results[i][f"{name}_per_sequence"]
                for name in (targets.loss_name, targets.wrong_name, "error")
            },
            **restarts_of(now, int(i)),
        )
    return jnp.asarray([result["error_per_sequence"] for result in results])
