"""Draws what a trained machine does, or writes a page that shows its memory.

python -m train.visualize --workdir=runs/copy
python -m train.visualize --workdir=runs/copy --beside runs/copy_gru runs/copy_lstm
python -m train.visualize --pretrained=copy --length=120
python -m train.visualize --pretrained copy priority_sort --html
python -m train.visualize --pretrained copy priority_sort --html --play
"""

import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ntm_jax.tasks import name_in_words

from . import cli
from .evaluate import (
    Sizes,
    check_fits,
    index_of_machine,
    open_machines,
    parse_sizes,
)
from .runs.config import TrainConfig
from .runs.files import write_whole
from .runs.folder import RunFolder
from .show import draw, figures
from .show.learners import Learner, learner_of_run, recorded_learners
from .show.page import page
from .show.play import Playable, play_page
from .show.recording import Recording, machine_title, record
from .training.population import member

PyTree = Any
_FORMATS = ("png", "svg")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags(Sizes):
    """Draws what a trained machine does with a sequence, and how it learned.

    The figures show the answer and its error, where each head looks, what it reads and
    writes, how it moves, where items are stored, and the learning curves; films show
    the memory and the learning. They are PNG, SVG and GIF files.
    """

    workdir: Path | None = None
    """Folder of the run to draw."""
    machine: int | None = None
    """Seed of the machine to draw, in a run of several; None uses the first."""
    pretrained: tuple[str, ...] = ()
    """Names of trained machines, or .safetensors files, to draw instead of a run."""
    task: str | None = None
    """Place of the task of a --pretrained file, such as path/to/file.py:MyTask.
    A machine of a task of yours needs it: its file does not run code."""
    model: str | None = None
    """Place of the model of a --pretrained file, such as path/to/file.py:MyCell.
    A model of yours needs it for the same reason."""
    beside: tuple[Path, ...] = ()
    """Folders of other runs of the task, to draw their learning curves too."""
    records: Path = Path("benchmarks/records")
    """Folder of recorded runs, as python -m benchmarks.record writes them.
    The LSTM's learning curve comes from here; with --pretrained, all curves do."""
    seed: int = 0
    """Seed of the sequences, as in train.evaluate."""
    html: bool = False
    """Write one HTML page that shows the memory step by step, instead of figures.
    Without sizes, it has two sequences of the training size and a longer one."""
    play: bool = False
    """With --html: a page that runs the machines on what its reader draws.
    The sizes are those of the sequence that it shows first."""
    out: Path | None = None
    """Folder to write to; None uses the run's figures/, or runs/pretrained."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine to draw: its name, its title in figures, and its run, if it has one."""

    name: str
    title: str
    params: PyTree
    config: TrainConfig
    run: RunFolder | None = None


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = parse_sizes(Flags, arguments, prog="python -m train.visualize")
    with cli.readable_errors():
        cli.keep_compilations()
        if flags.html and flags.beside:
            raise ValueError(
                f"beside: got {' '.join(map(str, flags.beside))}, but a page has no "
                "learning curves; leave out --html or --beside"
            )
        if flags.play and not flags.html:
            raise ValueError("play: got it without --html, want both: --html --play")
        machines = open_all(flags)
        for machine in machines:
            check_sizes(machine, flags)
        folder = flags.out or default_folder(machines)
        check_folder(folder)
        if flags.html:
            paths = write_page(folder, machines, flags)
        else:
            paths = write_figures(folder, machines, flags)
        for path in paths:
            print(path)
    return 0


def check_sizes(machine: Machine, flags: Flags) -> None:
    """Raises a `ValueError` if a sequence needs more slots than there are."""
    if not flags.difficulty() and flags.num_slots is None:
        return  # as in training and evaluation
    for size, _ in shown(machine, flags):
        check_fits(machine.config, flags.num_slots, **size)


def shown(machine: Machine, flags: Flags) -> list[tuple[dict[str, int], int]]:
    """The sequences to show: the difficulty and the index of each."""
    hardest, *beyond = machine.config.make_task().trials()
    given = {**hardest, **flags.difficulty()}
    if not flags.html:
        return [(given, 0)]
    more = [] if flags.difficulty() else [(size, 0) for size in beyond]
    return [(given, 0), (given, 1), *more]


def open_all(flags: Flags) -> list[Machine]:
    """The machines to draw.

    Raises:
      ValueError: unless they are one of a run, or pretrained with different names.
    """
    if not flags.pretrained:
        return [open_run(flags)]
    if flags.machine is not None:
        raise ValueError(
            f"machine: got {flags.machine}, but each pretrained file is one machine; "
            "leave out --machine, or give a --workdir"
        )
    names = [Path(name).stem for name in flags.pretrained]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"pretrained: got {name!r} twice, want each once")
    machines = []
    for name, given in zip(names, flags.pretrained):
        params, config, (step,) = open_machines(
            flags.workdir, given, flags.task, flags.model
        )
        title = machine_title(config, config.seed, step)
        machines.append(Machine(name, title, member(params, 0), config))
    return machines


def open_run(flags: Flags) -> Machine:
    """The machine of the run with the seed --machine, or its first."""
    params, config, steps = open_machines(flags.workdir, None)
    assert flags.workdir is not None  # or there is no machine
    run = RunFolder.open(flags.workdir)
    index = index_of_machine(config, flags.machine)
    seed = config.seeds()[index]
    title = machine_title(config, seed, steps[index])
    own = member(params, index)
    return Machine(f"{config.task_name()}, seed {seed}", title, own, config, run)


def default_folder(machines: Sequence[Machine]) -> Path:
    """The folder of the run's figures; runs/pretrained for pretrained machines."""
    if machines[0].run is not None:
        return machines[0].run.figures
    folder = Path("runs") / "pretrained"
    return folder / machines[0].name if len(machines) == 1 else folder


def check_folder(folder: Path) -> None:
    """Raises a `ValueError` if a file is in the way of the folder."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"out: got {folder}, but {there} is a file, want a folder")


def write_page(folder: Path, machines: Sequence[Machine], flags: Flags) -> list[Path]:
    """Writes one page: a few sequences of each machine, or one that runs them."""
    if flags.play:
        path, sizes = folder / "play.html", flags.difficulty()
        playable = [Playable(m.name, m.params, m.config, sizes) for m in machines]
        html = play_page(playable, num_slots=flags.num_slots, seed=flags.seed)
    else:
        path = folder / "page.html"
        recordings = [
            (machine.name, recorded(machine, difficulty, flags, index))
            for machine in machines
            for difficulty, index in shown(machine, flags)
        ]
        html = page(recordings)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, html)
    return [path]


def write_figures(
    folder: Path, machines: Sequence[Machine], flags: Flags
) -> list[Path]:
    """Writes figures and films; of several machines, each has its own folder."""
    recordings = [
        recorded(machine, difficulty, flags)
        for machine in machines
        for difficulty, _ in shown(machine, flags)
    ]
    others = [RunFolder.open(path, "beside") for path in flags.beside]
    compared = [learning(machine, others, flags.records) for machine in machines]
    paths = []
    for machine, recording, learned in zip(machines, recordings, compared):
        own = folder if len(machines) == 1 else folder / machine.name
        drawn = draw.named(draw.all_of(recording), recording)
        paths += draw.save({**drawn, **learned}, own, _FORMATS)
        if recording.trace is not None:
            name = "_".join(filter(None, ("memory", recording.size)))
            paths.append(own / f"{name}.gif")
            figures.memory_film(
                paths[-1],
                recording.trace,
                recording.inputs,
                recording.phases,
                outputs=recording.outputs,
                words=recording.words,
            )
        if machine.run is not None and (answers := machine.run.answers()):
            paths.append(own / "learning.gif")
            draw.learning_film(paths[-1], machine.config, answers)
    return paths


def recorded(
    machine: Machine, difficulty: dict[str, int], flags: Flags, index: int = 0
) -> Recording:
    """Records the machine on a sequence of that difficulty."""
    return record(
        machine.params,
        machine.config,
        difficulty,
        num_slots=flags.num_slots,
        seed=flags.seed,
        index=index,
        title=machine.title,
    )


def learning(
    machine: Machine, others: Sequence[RunFolder], records: Path
) -> dict[str, Figure]:
    """Learning curves of the machine's run, alone and beside other learners."""
    config, drawn = machine.config, {}
    learners: list[Learner] = []
    if machine.run is not None:
        metrics = machine.run.metrics()
        if any(entry["kind"] == "validation" for entry in metrics):
            drawn["learning_curve"] = figures.learning_curve(metrics, config)
            learners.append(learner_of_run(machine.run))
    learners += [other_learner(run, config.task) for run in others]
    learners += [
        learner
        for learner in recorded_learners(records, config.task)
        if machine.run is None or learner.name.startswith("LSTM")
    ]
    if len(learners) > 1 or others:
        drawn["learning_compared"] = figures.compared_curves(
            f"Learning {name_in_words(config.task)}: validation error of each seed",
            config.make_task().error_name,
            learners,
        )
    return drawn


def other_learner(run: RunFolder, task: str) -> Learner:
    """The curves of a run to compare with, named by its folder too.

    Raises:
      ValueError: if it is of another task, or has no validation yet.
    """
    if run.config.task != task:
        raise ValueError(
            f"beside: got a run of {run.config.task} in {run.path}, want one of {task}"
        )
    own = learner_of_run(run)
    if not own.curves:
        raise ValueError(f"beside: got {run.path}, which has no validation yet")
    return own._replace(name=f"{own.name}, {run.path.name}")


if __name__ == "__main__":
    sys.exit(main())
