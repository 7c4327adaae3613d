"""Trains a machine on a task, to the end, in one command.

    python -m train.main --task=copy

Started again on the same folder, it goes on where it was.
"""

import argparse
import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from train import cli
from train.config import TrainConfig, preset
from train.evaluate import evaluate, evaluation_key
from train.figures import draw_run
from train.loop import NOT_SOLVED, TrainState, purpose_key, train
from train.progress import Progress
from train.run import RunFolder

_FINAL_SEQUENCES = 1000
# How far beyond the training size the final evaluation goes.
_BEYOND = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Trains a Neural Turing Machine on a task, evaluates it and draws what it does.

    The defaults shown are those of the preset for the task. A run that was stopped, or
    killed, goes on from its last checkpoint when it is started again.
    """

    preset: str = "default"
    """The settings to start from: default, which works, or paper."""
    workdir: Path | None = None
    """The run's folder; runs/TASK unless given."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")]


class DivergedError(RuntimeError):
    """The loss or its gradient is not a number: there is nothing to go on from."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    with cli.readable_errors():
        flags = parse(sys.argv[1:] if arguments is None else arguments)
        workdir = flags.workdir or Path("runs") / flags.config.task
        workdir = workdir.expanduser()
        run = RunFolder.create(workdir, flags.config)
        evaluation = run.evaluation()
        state = run.start() if evaluation is None else None
    # Paths and numbers as they are: no markup, no wrapping, no colours of Rich's own.
    console = Console(markup=False, highlight=False, soft_wrap=True)
    if state is None:
        console.print(f"The run in {workdir} is complete.")
    else:
        try:
            evaluation = run_to_the_end(run, state, console)
        except KeyboardInterrupt:
            console.print("Stopped. The same command goes on from the last checkpoint.")
            return 130
        except (DivergedError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    summarize(run, evaluation or [], console)
    return 0


def parse(arguments: list[str]) -> Flags:
    """The flags; what is not given comes from the preset for the task."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--task", default="copy", nargs="?", const="copy")
    first.add_argument("--preset", default="default", nargs="?", const="default")
    known, _ = first.parse_known_args(arguments)
    default = Flags(preset=known.preset, config=preset(known.preset, known.task))
    return cli.parse(Flags, arguments, prog="python -m train.main", default=default)


def run_to_the_end(
    run: RunFolder, state: TrainState, console: Console
) -> list[dict[str, Any]]:
    """Trains, evaluates and draws; returns the evaluation."""
    state = learn(run, state, console)
    ranges = run.config.make_task().ranges()
    difficulties = [
        {name: factor * range_.limit for name, range_ in ranges.items()}
        for factor in (1, _BEYOND)
    ]
    with console.status("Evaluating"):
        evaluation = [evaluate_at(state, run.config, d) for d in difficulties]
    with console.status("Drawing"):
        draw_run(run.figures, state.params, run.config, run.metrics(), difficulties)
    run.finish(evaluation)
    return evaluation


def learn(run: RunFolder, state: TrainState, console: Console) -> TrainState:
    """Updates until the task is solved and polished, or the steps are used up."""
    config = run.config
    step = int(state.step)
    title = f"{config.task}, seed {config.seed}"
    console.print(
        f"Training on {title}, in {run.path}, on {jax.devices()[0].device_kind}"
        + (f", from update {step} on" if step else "")
    )
    with Progress(console, last_step(state, config), step, title) as progress:
        while step < last_step(state, config):
            started = time.perf_counter()
            num_steps = min(config.steps_per_call, last_step(state, config) - step)
            state, metrics = train(state, config=config, num_steps=num_steps)
            means = {
                name: float(np.mean(value))
                for name, value in vars(jax.device_get(metrics)).items()
            }
            step = int(state.step)
            check_finite(means, step, run)
            rate = num_steps * config.batch_size / (time.perf_counter() - started)
            run.record(step, "train", **means, sequences_per_second=rate)
            at_end = step == last_step(state, config)
            if step % config.validate_every == 0 or at_end:
                state = judge(state, step, wrong=validate(state, step, run))
            if step % config.checkpoint_every == 0 or step == last_step(state, config):
                run.save(state)
            progress.report(step, last_step(state, config), **means, rate=rate)
    return state


def check_finite(means: dict[str, float], step: int, run: RunFolder) -> None:
    """Raises a `DivergedError` at the first of some means that is not a number."""
    for name, mean in means.items():
        if not math.isfinite(mean):
            raise DivergedError(
                f"{name}: got {mean} within the updates before update {step}, "
                f"want a finite number; the checkpoints in {run.path} are from before; "
                "try a lower --learning_rate, in another --workdir"
            )


def validate(state: TrainState, step: int, run: RunFolder) -> float:
    """Wrong bits per sequence on the validation set, which is recorded, too."""
    result = evaluate(
        state.params,
        run.config,
        key=purpose_key(run.config.seed, "validation"),
        num_sequences=run.config.validation_sequences,
    )
    means = {
        "loss_bits": result["loss_bits_per_sequence"],
        "wrong_bits": result["wrong_bits_per_sequence"],
    }
    check_finite(means, step, run)
    run.record(step, "validation", **means)
    return means["wrong_bits"]


def judge(state: TrainState, step: int, *, wrong: float) -> TrainState:
    """Solved by the first validation without a wrong bit, until one has a wrong bit.

    So a run is polished only where every validation on the way was without.
    """
    if wrong > 0:
        return state.replace(solved_at=jnp.int32(NOT_SOLVED))
    if state.solved_at == NOT_SOLVED:
        return state.replace(solved_at=jnp.int32(step))
    return state


def last_step(state: TrainState, config: TrainConfig) -> int:
    """The update to end with: earlier than `config.steps` once the task is solved."""
    if state.solved_at == NOT_SOLVED:
        return config.steps
    return min(config.steps, int(state.solved_at) + config.polish_steps)


def evaluate_at(
    state: TrainState, config: TrainConfig, difficulty: dict[str, int]
) -> dict[str, Any]:
    """What `evaluation.json` keeps for one difficulty."""
    seed = 0
    result = evaluate(
        state.params,
        config,
        key=evaluation_key(seed),
        num_sequences=_FINAL_SEQUENCES,
        **difficulty,
    )
    solved_at = None if state.solved_at == NOT_SOLVED else int(state.solved_at)
    return {**result, "seed": seed, "step": int(state.step), "solved_at": solved_at}


def summarize(
    run: RunFolder, evaluation: list[dict[str, Any]], console: Console
) -> None:
    """Prints how well the machine does and where to look."""
    step, solved_at = evaluation[0]["step"], evaluation[0]["solved_at"]
    trained = (
        f"trained for {step:,} updates ({step * run.config.batch_size:,} sequences)"
    )
    if solved_at is None:
        console.print(f"Not solved, {trained}.")
    else:
        console.print(f"Validated without a wrong bit after {solved_at:,}, {trained}.")
    names = list(run.config.make_task().difficulty)
    table = Table(*names, "sequences", "wrong bits", "cost (bits)", "perfect")
    for entry in evaluation:
        table.add_row(
            *(str(entry[name]) for name in names),
            str(entry["num_sequences"]),
            f"{entry['wrong_bits_per_sequence']:g}",
            f"{entry['loss_bits_per_sequence']:.3g}",
            f"{entry['perfect_fraction']:.1%}",
        )
    console.print(table)
    console.print("Wrong bits and cost are means per sequence. Figures:")
    for path in sorted(run.figures.glob("*.png")):
        console.print(f"  {path}")


if __name__ == "__main__":
    sys.exit(main())
