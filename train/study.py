"""Compares settings: trains many seeds with each, and counts how many learn.

    python -m train.study --task=copy --num_seeds=10
    python -m train.study --choices preset order=write_first controller=gru
    python -m train.study --choices preset optimizer=adam,learning_rate=1e-3

Every choice is a run of its own, which trains all seeds at once.
"""

import dataclasses
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import matplotlib as mpl
import numpy as np
import tyro
from matplotlib.figure import Figure
from rich.console import Console

from ntm_jax.tasks import name_in_words

from . import cli
from .cluster import start
from .cluster.start import Processes
from .cluster.together import agreed, is_one_of_many, part
from .learn import DivergedError, run_to_the_end
from .runs.beginning import check_can_begin
from .runs.belongs import check_free
from .runs.config import RENAMED, TrainConfig
from .runs.files import write_whole
from .runs.folder import RunFolder
from .runs.lock import HeldError, locked
from .runs.outcome import Outcome, outcome, readable, tried_on, within
from .show.draw import save_figure
from .show.figures.style import STYLE
from .training.devices import use_all_cores

PRESET = "preset"
TABLE, CHART = "study.md", "study.png"
_HEADER = (
    "| choice | seeds solved | sequences until solved: median | worst | "
    "seeds perfect | sequences perfect |"
)
# Between two looks for a choice that another process has left, in seconds.
_PAUSE = 5
# The same for all choices; another model would also have another preset.
_OF_ALL = ("task", "model", "seed", "num_seeds")
# Each changes the preset in one way.
CHOICES = (
    PRESET,
    "initial_memory=random",
    "initial_memory=learned",
    "initial_weighting=uniform",
    "initial_weighting=learned",
    "initial_weighting=none",
    "initial_heads=neutral",
    "input_scale=1",
    "head_scale=1",
    "order=write_first",
    "curriculum=uniform",
    "update_clip=None",
    "optimizer=adam,learning_rate=1e-3,decay=0.999",
    "key_activation=identity,add_activation=identity",
    "batch_size=4",
    "controller=gru",
    "controller=feed_forward",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Compares choices of settings: trains many seeds with each, and evaluates them.

    The same command continues a study that was stopped or killed.
    """

    preset: str = "default"
    """The settings that the choices change: default, or paper (of 2014)."""
    workdir: Path = Path("runs/study")
    """Folder of the study, with a run in it for each choice."""
    choices: tuple[str, ...] = CHOICES
    """The choices to compare.
    - preset: no change.
    - FIELD=VALUE: one change; several have commas between them."""
    quiet: bool = False
    """Print only the table of all choices at the end."""
    processes: Annotated[Processes, tyro.conf.arg(name="")] = Processes()  # noqa: RUF009
    config: Annotated[TrainConfig, tyro.conf.arg(name="")]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    with cli.readable_errors():
        flags = cli.parse_from_preset(
            Flags, arguments, prog="python -m train.study", num_seeds=10
        )
        same = {"command": "train.study", "choices": list(flags.choices)}
        same |= flags.config.settings()
        return start.run(flags.processes, same, lambda: work(flags))


def work(flags: Flags) -> int:
    """What one process of the command does; returns its exit status."""
    with cli.readable_errors():
        cli.keep_compilations()
        workdir = flags.workdir
        configs = choose_all(flags.config, flags.choices)
        agreed(lambda: check_folder(workdir, configs))
        with locked(workdir):
            # All choices are checked before one is run or anything is written.
            agreed(lambda: check_folder(workdir, configs))
            runs = {
                choice: RunFolder(workdir / choice, config)
                for choice, config in configs.items()
            }
            if not is_one_of_many():
                use_all_cores(flags.config.num_seeds, flags.config.batch_size)
                for run in runs.values():
                    check_run(run)
                return try_together(flags, runs, 0, 1)
        place, count = part()
        use_all_cores(flags.config.num_seeds, flags.config.batch_size)
        return try_together(flags, runs, place, count)


def try_together(
    flags: Flags, runs: Mapping[str, RunFolder], place: int, count: int
) -> int:
    """Completes every run, this process its share first; returns the exit status."""
    console = cli.make_console(quiet=flags.quiet or place > 0)
    return cli.attempt(
        lambda: try_all(flags.workdir, runs, flags.config, console, place, count),
        console,
        OSError,
        ValueError,
    )


def choose_all(config: TrainConfig, choices: Sequence[str]) -> dict[str, TrainConfig]:
    """The config of each choice, by its name.

    Raises:
      ValueError: if there is no choice, or one is given twice.
    """
    if not choices:
        raise ValueError(
            "choices: got none, want at least one, such as order=write_first"
        )
    choice, times = Counter(map(tuple, map(changes_of, choices))).most_common(1)[0]
    if times > 1:
        raise ValueError(f"choices: got {','.join(choice)!r} twice, want each once")
    return {choice.strip(): choose(config, choice) for choice in choices}


def check_folder(workdir: Path, configs: Mapping[str, TrainConfig]) -> None:
    """Raises a `ValueError` if files of something else are in the way of a study."""
    if (workdir / "config.json").exists():
        raise ValueError(
            f"workdir: got {workdir}, which is the folder of a run, want another for "
            "the study"
        )
    for name in (TABLE, CHART):
        if (workdir / name).exists() and not is_table(workdir / TABLE):
            raise ValueError(
                f"workdir: got {workdir}, whose {name} is not that of a study, want an "
                "empty or a new folder"
            )
    for choice, config in configs.items():
        check_free(workdir / choice, config)


def is_table(path: Path) -> bool:
    """Whether that file is the table of a study."""
    return path.is_file() and path.read_bytes().startswith(b"| choice | ")


def check_run(run: RunFolder) -> None:
    """Raises a `ValueError` if a run cannot be started, or continued."""
    if run.result() is None:
        check_can_begin(run.config)
        if (run.path / "config.json").exists():
            run.load()


def try_all(
    workdir: Path,
    runs: Mapping[str, RunFolder],
    preset: TrainConfig,
    console: Console,
    place: int = 0,
    count: int = 1,
) -> None:
    """Completes every run; writes the table and the chart after each.

    Of several processes, each begins with its share, and then takes what is left. So
    the study is complete even if only one of them lasts.

    Args:
      workdir: of the study.
      runs: by their choices.
      preset: of the study.
      console: to report to.
      place: of this process among the others.
      count: of the processes.
    """
    outcomes: dict[str, Outcome] = {}
    own = [*runs][place::count]
    waiting = sorted(runs, key=lambda choice: choice not in own)
    while waiting:
        for choice in [*waiting]:
            try:
                with locked(runs[choice].path):
                    console.print(f"{choice} ({len(outcomes) + 1} of {len(runs)})")
                    outcomes[choice] = try_choice(runs[choice], console)
            except HeldError:
                if count == 1:
                    raise
                continue
            waiting.remove(choice)
            outcomes = {name: outcomes[name] for name in runs if name in outcomes}
            write_whole(workdir / TABLE, table(outcomes))
            save_figure(draw(outcomes, preset), workdir / CHART)
        if waiting:
            time.sleep(_PAUSE)
    if place == 0:
        print(table(outcomes))
    console.print(f"{workdir / TABLE}\n{workdir / CHART}")


def changes_of(choice: str) -> list[str]:
    """The changes of a choice, which have commas between them."""
    return [change.strip() for change in choice.split(",")]


def choose(config: TrainConfig, choice: str) -> TrainConfig:
    """The config with a choice made, such as "initial_weighting=uniform".

    Raises:
      ValueError: for a choice that is not FIELD=VALUE.
    """
    changes = changes_of(choice)
    if changes == [PRESET]:
        return config
    fields = {field.name for field in dataclasses.fields(config)} | {*RENAMED}
    fields |= {*config.settings(), *config.own_fields()[0].names()}
    fields -= {"task_fields", "model_fields"}
    names = Counter(change.partition("=")[0] for change in changes)
    for change in changes:
        name, equals, _ = change.partition("=")
        if name not in fields or not equals:
            raise ValueError(
                f"choices: got {choice!r}, want FIELD=VALUE with a field of the config"
            )
        if name in _OF_ALL:
            raise ValueError(
                f"choices: got {choice!r}, want --{name}, the same for all choices"
            )
        if names[name] > 1:
            raise ValueError(f"choices: got {choice!r}, want {name} once")
    return cli.parse(
        TrainConfig,
        [f"--{change}" for change in changes],
        prog="python -m train.study --choices",
        default=config,
    )


def try_choice(run: RunFolder, console: Console) -> Outcome:
    """The outcome of a choice, from its run, which is completed if need be."""
    evaluation = run.result()
    if evaluation is None:
        try:
            evaluation = run_to_the_end(run, run.load(), console)
        except DivergedError:
            return Outcome.of_none(run.config.num_seeds)
    return outcome(run.config, evaluation)


def table(outcomes: dict[str, Outcome]) -> str:
    """A Markdown table, a row for each choice."""
    lines = [_HEADER, "| --- | --- | --- | --- | --- | --- |"]
    for choice, of in outcomes.items():
        lines.append(
            f"| {choice.replace(',', ', ')} | {of.solved}/{of.seeds} | "
            f"{readable(of.median_sequences)} | {readable(of.worst_sequences)} | "
            f"{of.perfect}/{of.seeds} | {of.perfect_fraction:.2%} |"
        )
    return "\n".join(lines) + "\n"


@mpl.rc_context(STYLE)
def draw(outcomes: dict[str, Outcome], config: TrainConfig) -> Figure:
    """A chart: seeds solved, seeds perfect, and sequences until solved."""
    task = config.make_task()
    figure = Figure(figsize=(9, 1.4 + 0.5 * len(outcomes)), layout="constrained")
    figure.suptitle(f"Choices of settings: {name_in_words(config.task)}")
    seeds_axes, time_axes = figure.subplots(1, 2, sharey=True)
    rows = np.arange(len(outcomes))
    of_all = list(outcomes.values())
    for offset, name, label in (
        (-0.2, "solved", "solved"),
        (0.2, "perfect", f"{within(task)} {tried_on(task)}"),
    ):
        part = [getattr(of, name) / of.seeds for of in of_all]
        bars = seeds_axes.barh(rows + offset, part, 0.38, label=label)
        counts = [f"{getattr(of, name)}/{of.seeds}" for of in of_all]
        seeds_axes.bar_label(bars, counts, padding=2, fontsize=7)
    seeds_axes.set_yticks(rows, [choice.replace(",", "\n") for choice in outcomes])
    seeds_axes.invert_yaxis()
    seeds_axes.set_xlim(0, 1.15)
    seeds_axes.set_xlabel("fraction of the seeds")
    seeds_axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    for name, marker, label in (
        ("median_sequences", "o", "median seed"),
        ("worst_sequences", "x", "worst seed"),
    ):
        thousands = [getattr(of, name) / 1000 for of in of_all]
        time_axes.plot(thousands, rows, marker, label=label)
    limit = config.steps * config.batch_size / 1000
    time_axes.set_xlim(0, 1.05 * limit)
    time_axes.set_xlabel("thousands of sequences until solved\n(no mark: not solved)")
    time_axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    time_axes.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    sys.exit(main())
