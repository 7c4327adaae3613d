"""Trains a machine on a task, evaluates it and draws what it does.

    python -m train.main --task=copy
    python -m train.main --task=repeat_copy --seed=1 --workdir=runs/repeat_copy_1
    python -m train.main --controller=feed_forward --num_seeds=10 --workdir=runs/no_lstm
    python -m train.main --task=copy --model=lstm --steps=500 --workdir=runs/lstm
    python -m train.main --task=copy --preset=paper --workdir=runs/paper
    python -m train.main --task=copy --serve

The same command continues a run that was stopped.
"""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from ntm_jax import tasks

from . import cli
from .cluster import start
from .cluster.start import Processes
from .cluster.together import agreed, check_read, is_writer
from .flags import with_value
from .learn import DivergedError, PreemptedError, run_to_the_end
from .runs.commands import spelled
from .runs.config import TrainConfig
from .runs.folder import RunFolder
from .runs.lock import locked
from .runs.outcome import in_words, outcome
from .serving.beside import served
from .serving.server import PORT
from .show.progress import MOST_SEEDS
from .training.devices import use_all_cores

# The status of a run that is not complete, as a shell gives it after SIGTERM.
PREEMPTED = 143


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Trains a Neural Turing Machine on a task, evaluates it and draws what it does.

    The defaults shown are those for the task. They also depend on the preset, the
    model, the controller and the task's fields: give these flags with --help.
    The same command continues a run that was stopped or killed, from its last
    checkpoint. With more --steps it also continues a complete run.
    """

    preset: str = "default"
    """The base settings; the other flags override them.
    - default: ours, which train fast.
    - paper: those of the paper of 2014, up to a million updates."""
    workdir: Path | None = None
    """Folder of the run; None uses runs/TASK."""
    quiet: bool = False
    """Print only one JSON object at the end: the evaluation and the figures' paths."""
    serve: int | None = None
    """Port of a page that shows the run live, on this computer, until it ends.
    --serve alone takes 8088; 0 takes any that is free. Needs 'ntm_jax[serve]'."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = Processes()  # noqa: RUF009
    config: Annotated[TrainConfig, tyro.conf.arg(name="")]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    with cli.readable_errors():
        words = sys.argv[1:] if arguments is None else arguments
        words = with_value(words, "--serve", PORT)
        flags = cli.parse_from_preset(Flags, words, prog="python -m train.main")
        same = {"command": "train.main", **flags.config.settings()}
        return start.run(flags.processes, same, lambda: work(flags))


def work(flags: Flags) -> int:
    """What one process of the command does; returns its exit status."""
    with cli.readable_errors():
        cli.keep_compilations()
        use_all_cores(flags.config.num_seeds, flags.config.batch_size)
        path = flags.workdir or Path("runs") / flags.config.task_name()
        run = agreed(lambda: RunFolder.plan(path, flags.config))
        console = cli.make_console(quiet=flags.quiet or not is_writer())
        if agreed(run.result) is None:
            with contextlib.ExitStack() as ends:
                page = served(flags.serve if is_writer() else None, run.path)
                address = agreed(lambda: ends.enter_context(page))
                if address is not None:
                    console.print(f"The run is shown at {address} until it ends.")
                if status := train(run, console):
                    return status
        else:
            console.print(
                f"The run in {run.path} is complete. Raise --steps to continue it, or "
                "use a new --workdir for another run."
            )
            if flags.serve is not None:
                show = spelled("python -m train.serve")
                console.print(f"To see it: {show} --workdir={run.path}")
        if not is_writer():
            return 0
        evaluation = run.evaluation() or []
        if flags.quiet:
            print(json.dumps(in_json(run, evaluation)))
        else:
            summarize(run, evaluation, console)
    return 0


def train(run: RunFolder, console: Console) -> int:
    """Takes a run to its end; returns the exit status.

    Raises:
      ValueError: if it cannot be started. Nothing is written then.
    """
    with locked(run.path):
        states = agreed(run.load)
        newest = run.states.newest()
        check_read(checkpoint=newest and newest.step)
        try:
            return cli.attempt(
                lambda: run_to_the_end(run, states, console),
                console,
                DivergedError,
                OSError,
                tasks.DataError,
            )
        except PreemptedError as error:
            if is_writer():
                cli.tell(f"Stopped: {error}.")
            return PREEMPTED


def in_json(run: RunFolder, evaluation: list[dict[str, Any]]) -> dict[str, Any]:
    """The same as `summarize`, for a script."""
    return {
        "workdir": str(run.path),
        "evaluation": evaluation,
        "figures": [str(path) for path in figures_of(run)],
    }


def summarize(
    run: RunFolder, evaluation: list[dict[str, Any]], console: Console
) -> None:
    """Prints the evaluation of every machine and where the figures are."""
    batch, task = run.config.batch_size, run.config.make_task()
    names = list(task.difficulty)
    restarts = ["restarts"] * run.config.can_restart()
    counts = ("seed", "sequences", *restarts, "solved after")
    table = Table(*counts, *names, task.error_name, "no error")
    for entry in sorted(evaluation, key=lambda entry: entry["machine"]):
        solved_at, diverged = entry["solved_at"], entry["diverged_at"] is not None
        table.add_row(
            str(entry["machine"]),
            f"{entry['step'] * batch:,}" + (", diverged" if diverged else ""),
            *(str(entry[name]) for name in restarts),
            "not solved" if solved_at is None else f"{solved_at * batch:,}",
            *(str(entry[name]) for name in names),
            f"{entry['error_per_sequence']:.3g}",
            f"{entry['perfect_fraction']:.1%}",
        )
    if run.config.num_seeds <= MOST_SEEDS:
        console.print(table)
    if run.config.num_seeds > 1:
        console.print(in_words(outcome(run.config, evaluation), task))
    console.print(
        f"{task.error_name.capitalize()}: mean per sequence over "
        f"{evaluation[0]['num_sequences']} new sequences. Figures:"
    )
    for path in figures_of(run):
        console.print(f"  {path}")


def figures_of(run: RunFolder) -> list[Path]:
    """The figures of a run."""
    return sorted(run.figures.glob("*.png"))


if __name__ == "__main__":
    sys.exit(main())
