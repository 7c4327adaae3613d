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
    """The loss is not a number any more, so there is nothing to go on from."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    with cli.readable_errors():
        flags = parse(sys.argv[1:] if arguments is None else arguments)
        workdir = flags.workdir or Path("runs") / flags.config.task
        run = RunFolder.create(workdir, flags.config)
    console = Console()
    evaluation = run.evaluation()
    if evaluation is not None:
        console.print(f"The run in {workdir} is complete.")
    else:
        try:
            evaluation = run_to_the_end(run, console)
        except KeyboardInterrupt:
            console.print("Stopped. The same command goes on from the last checkpoint.")
            return 130
        except DivergedError as error:
            console.print(f"error: {error}")
            return 1
    summarize(run, evaluation, console)
    return 0


def parse(arguments: list[str]) -> Flags:
    """The flags; what is not given comes from the preset for the task."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--task", default="copy")
    first.add_argument("--preset", default="default")
    known, _ = first.parse_known_args(arguments)
    default = Flags(preset=known.preset, config=preset(known.preset, known.task))
    return cli.parse(Flags, arguments, prog="python -m train.main", default=default)


def run_to_the_end(run: RunFolder, console: Console) -> list[dict[str, Any]]:
    """Trains, evaluates and draws; returns the evaluation."""
    state = learn(run, console)
    with console.status("Evaluating"):
        evaluation = final_evaluation(state, run.config)
    with console.status("Drawing"):
        draw_run(
            run.figures,
            state.params,
            run.config,
            run.metrics(),
            tuple(entry["length"] for entry in evaluation),
        )
    run.finish(evaluation)
    return evaluation


def learn(run: RunFolder, console: Console) -> TrainState:
    """Updates until the task is solved or the steps are used up."""
    config = run.config
    state = run.start()
    step = int(state.step)
    title = f"{config.task}, seed {config.seed}"
    console.print(
        f"Training on {title}, in {run.path}, on {jax.devices()[0].device_kind}"
        + (f", from update {step} on" if step else "")
    )
    with Progress(console, config.steps, step, title) as progress:
        while step < last_step(state, config):
            started = time.perf_counter()
            num_steps = min(config.steps_per_call, last_step(state, config) - step)
            state, metrics = train(state, config=config, num_steps=num_steps)
            means = {
                name: float(jnp.mean(value))
                for name, value in dataclasses.asdict(metrics).items()
            }
            step = int(state.step)
            if not math.isfinite(means["loss_bits"]):
                raise DivergedError(
                    f"loss: got {means['loss_bits']} within the {num_steps} updates "
                    f"before update {step}, want a finite number; the last checkpoint "
                    f"in {run.path} is good; try a lower learning_rate"
                )
            rate = num_steps * config.batch_size / (time.perf_counter() - started)
            run.record(step, "train", **means, sequences_per_second=rate)
            progress.report(step, **means, rate=rate)
            at_end = step == last_step(state, config)
            if step % config.validate_every == 0 or at_end:
                validation = evaluate(
                    state.params,
                    config,
                    num_sequences=config.validation_sequences,
                    key=purpose_key(config.seed, "validation"),
                )
                wrong = validation["wrong_bits_per_sequence"]
                if wrong == 0 and state.solved_at == NOT_SOLVED:
                    state = state.replace(solved_at=jnp.int32(step))
                run.record(
                    step,
                    "validation",
                    loss_bits=validation["loss_bits_per_sequence"],
                    wrong_bits=wrong,
                )
            if step % config.checkpoint_every == 0 or at_end:
                run.save(state)
    return state


def last_step(state: TrainState, config: TrainConfig) -> int:
    """The update to end with: earlier than `config.steps` once the task is solved."""
    if state.solved_at == NOT_SOLVED:
        return config.steps
    return min(config.steps, int(state.solved_at) + config.polish_steps)


def final_evaluation(state: TrainState, config: TrainConfig) -> list[dict[str, Any]]:
    """At the longest training size, and far beyond it."""
    trained = config.make_task().ranges()["length"]
    return [
        {
            "step": int(state.step),
            "solved_at": None
            if state.solved_at == NOT_SOLVED
            else int(state.solved_at),
            **evaluate(
                state.params,
                config,
                key=evaluation_key(0),
                num_sequences=_FINAL_SEQUENCES,
                length=length,
            ),
        }
        for length in (trained.limit, _BEYOND * trained.limit)
    ]


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
        console.print(f"Solved after {solved_at:,} updates, {trained}.")
    table = Table("length", "sequences", "wrong bits", "cost (bits)", "perfect")
    for entry in evaluation:
        table.add_row(
            str(entry["length"]),
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
