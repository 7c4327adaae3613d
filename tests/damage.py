"""Damages the files of runs and of shipped machines, and tries the commands on them.

    python -m tests.damage --count=1000 --seed=0

Every command must either do the same as without the damage, or tell in words which file
is wrong. Files as 0.1 wrote them have no hashes: there, a changed number cannot always
be told from a right one, but no damage may end in a traceback.
"""

import argparse
import collections
import contextlib
import dataclasses
import io
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from tiny import evaluate_two, flags

from benchmarks.record import of_pretrained, of_run
from train import evaluate, learn, main, ship, visualize
from train.runs import pretrained
from train.runs.checkpoint import METADATA
from train.runs.config import TrainConfig
from train.runs.files import hash_of_arrays
from train.runs.folder import open_complete

CONFIG = TrainConfig(
    steps=12,
    lr_decay_fraction=0.0,
    batch_size=2,
    steps_per_call=2,
    validate_every=4,
    validation_sequences=2,
    checkpoint_every=4,
    num_slots=8,
    slot_size=4,
    controller_units=8,
)
# What a JSON value is replaced by.
_VALUES = ("x", None, True, [], {}, [None], -1, 0.5, 7, 10**30, 1e300, float("inf"))
_OLDER = "_of_0.1"
_BAD = ("traceback", "silent", "unnamed")


@dataclasses.dataclass(frozen=True)
class Whole:
    """What is damaged: a folder, and what the commands do with it undamaged.

    Attributes:
      name: for the report.
      folder: whose files are damaged.
      commands: each does something with such a folder and returns the result.
      hashed: whether a changed number can be told.
    """

    name: str
    folder: Path
    commands: dict[str, Callable[[Path], Any]]
    hashed: bool


def make(folder: Path) -> list[Whole]:
    """Trains two runs, ships one, and copies all as if 0.1 had written them."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in (0, 1):
        config = dataclasses.replace(CONFIG, seed=seed)
        run = folder / "runs" / str(seed)
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch.object(learn, "evaluate", evaluate_two))
            for drawing in ("draw_run", "show_figures", "show_machines"):
                stack.enter_context(mock.patch.object(learn, drawing))
            run_command(main.main, [f"--workdir={run}", *flags(config)])
        shutil.rmtree(run / "tensorboard")  # nothing reads it
    stopped = shutil.copytree(folder / "runs", folder / "stopped")
    for run in stopped.iterdir():
        shutil.rmtree(run / "checkpoints" / "12")
        for name in ("evaluation.json", "sums.json"):
            (run / name).unlink()
    shipped = folder / "shipped"
    shipped.mkdir()
    for seed in (0, 1):
        shipped_file(folder / "runs" / str(seed), shipped / f"{seed}.safetensors")
    for name in ("runs", "stopped", "shipped"):
        without_hashes(shutil.copytree(folder / name, folder / f"{name}{_OLDER}"))
    return wholes_in(folder)


def wholes_in(folder: Path) -> list[Whole]:
    """What `make` has made in a folder."""
    own: dict[str, tuple[Callable[[Path], Any], ...]] = {
        "runs": (evaluated, resumed, visualized, shipped_again, recorded),
        "stopped": (evaluated, resumed, visualized),
        "shipped": (loaded, recorded_as_shipped),
    }
    return [
        Whole(
            name + suffix,
            folder / f"{name}{suffix}",
            {command.__name__: command for command in commands},
            hashed=not suffix,
        )
        for name, commands in own.items()
        for suffix in ("", _OLDER)
    ]


def without_hashes(folder: Path) -> None:
    """Makes the files such as 0.1 wrote them."""
    for path in folder.rglob("sums.json"):
        path.unlink()
    for path in folder.rglob(METADATA):
        fields = json.loads(path.read_text())
        path.write_text(json.dumps({**fields, "custom_metadata": {}}))
    for path in folder.glob("*.safetensors"):
        arrays, metadata = contents(path)
        del metadata["sha256"]
        save_file(arrays, path, metadata)


def contents(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return arrays, dict(file.metadata())


# The commands, each up to its result.


def evaluated(folder: Path) -> Any:
    """What `train.evaluate` prints of the first run."""
    asked = ["--num_sequences=2", "--length=3"]
    printed = run_command(evaluate.main, [f"--workdir={folder / '0'}", *asked])
    return {**json.loads(printed.splitlines()[-1]), "seconds": None}


def resumed(folder: Path) -> Any:
    """What `train.main` starts from: the states, and the entries up to them."""
    found: list[Any] = []

    def start(run, states, _) -> None:
        run.start()
        entries = (run.metrics(), run.answers())
        found.append((hash_of_arrays(states), entries))
        run.events.close()

    arguments = [f"--workdir={folder / '0'}", "--quiet", *flags(CONFIG)]
    with mock.patch.object(main, "run_to_the_end", start):
        printed = run_command(main.main, arguments)
    return found, json.loads(printed)["evaluation"]


def visualized(folder: Path) -> Any:
    """What `train.visualize` draws, without the figures."""
    found: list[Any] = []

    def write(_, machines, __) -> list[Path]:
        (machine,) = machines
        found.append(
            (
                hash_of_arrays(machine.params),
                machine.title,
                machine.config,
                up_to(machine.run.restore(), machine.run.metrics()),
                up_to(machine.run.restore(), machine.run.answers()),
            )
        )
        return []

    with mock.patch.object(visualize, "write_figures", write):
        run_command(visualize.main, [f"--workdir={folder / '0'}"])
    return found


def shipped_again(folder: Path) -> Any:
    """What `train.ship` writes."""
    path = folder / "again.safetensors"
    shipped_file(folder / "0", path)
    return loaded_run(path)


def shipped_file(run: Path, path: Path) -> None:
    """Ships the machine of a run to a path."""
    with (
        mock.patch.object(pretrained, "FOLDER", path.parent),
        mock.patch.object(ship, "_CHECKED", 2),
    ):
        run_command(ship.main, [f"--workdir={run}", f"--name={path.stem}"])


def recorded(folder: Path) -> Any:
    """The record of a run, without trials."""
    return words_of(lambda: of_run(*open_complete(folder / "0")))


def recorded_as_shipped(folder: Path) -> Any:
    """The record of a shipped machine, without trials."""
    return words_of(lambda: of_pretrained(str(folder / "0.safetensors")))


def loaded(folder: Path) -> Any:
    """What `pretrained.load` returns."""
    params, config = words_of(lambda: pretrained.load(folder / "0.safetensors"))
    return hash_of_arrays(params), config


def loaded_run(path: Path) -> Any:
    """All that is in a shipped file."""
    params, config, made = pretrained.load_run(path)
    return hash_of_arrays(params), config, made


def up_to(states: Any, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries up to the checkpoint; a run makes the later ones again."""
    return [entry for entry in entries if entry["step"] <= int(states.step.max())]


class ToldError(Exception):
    """A command told in words what is wrong."""


def run_command(command: Callable[[list[str]], int], arguments: list[str]) -> str:
    """What a command prints.

    Raises:
      ToldError: if it ends with a message instead.
    """
    with quiet() as (out, err):
        try:
            status = command(arguments)
        except SystemExit as error:
            status = error.code
    if status:
        raise ToldError(err.getvalue())
    return out.getvalue()


def words_of(function: Callable[[], Any]) -> Any:
    """The result of a function, whose `ValueError`s are told in words."""
    try:
        return function()
    except ValueError as error:
        raise ToldError(str(error)) from None


@contextlib.contextmanager
def quiet() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Keeps what is printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err


# The damage: each changes files of a folder and returns their paths, or none if there
# was nothing to change.


def cut_short(folder: Path, draw: random.Random) -> list[Path]:
    """Cuts a file off somewhere."""
    path = draw.choice(files_of(folder / "0"))
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])
    return [path]


def flip_bits(folder: Path, draw: random.Random) -> list[Path]:
    """Flips one bit, or a few, of a file."""
    path = draw.choice(files_of(folder / "0"))
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 1, 5))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    return [path]


def swap_files(folder: Path, draw: random.Random) -> list[Path]:
    """Swaps two files of a run, or one with that of the other run.

    Of two shipped machines, each is right as it is.
    """
    own = files_of(folder / "0")
    path = draw.choice(own)
    other = draw.choice(own)
    if draw.random() < 0.5:
        other = Path(str(path).replace(f"{folder}/0", f"{folder}/1"))
    if other == path or not other.exists() or path.suffix == ".safetensors":
        return []
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return [path, other]


def change_value(folder: Path, draw: random.Random) -> list[Path]:
    """Replaces a value in the JSON of a file by one of another type."""
    path = draw.choice([p for p in files_of(folder / "0") if holds_json(p)])
    if path.suffix == ".safetensors":
        arrays, metadata = contents(path)
        part = draw.choice(("config", "made"))
        metadata[part] = with_other_value(metadata[part], draw)
        save_file(arrays, path, metadata)
        return [path]
    lines = path.read_text().splitlines(keepends=True)
    if path.suffix == ".jsonl":
        i = draw.randrange(len(lines))
        lines[i] = with_other_value(lines[i], draw) + "\n"
    else:
        lines = [with_other_value("".join(lines), draw)]
    path.write_text("".join(lines))
    return [path]


def with_other_value(text: str, draw: random.Random) -> str:
    """A JSON text with one of its values, anywhere, replaced."""
    whole = {"": json.loads(text)}
    places: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        keys = value if isinstance(value, dict) else range(len(value))
        for key in keys:
            places.append((value, key))
            if isinstance(value[key], dict | list):
                collect(value[key])

    collect(whole)
    container, key = draw.choice(places)
    container[key] = draw.choice(_VALUES)
    return json.dumps(whole[""])


def remove(folder: Path, draw: random.Random) -> list[Path]:
    """Removes a file, but not those that make a folder a run, and a run complete."""
    path = draw.choice(files_of(folder / "0"))
    if path.name in ("config.json", "evaluation.json"):
        return []
    path.unlink()
    return [path]


DAMAGE = (cut_short, flip_bits, flip_bits, swap_files, change_value, remove)


def files_of(run: Path) -> list[Path]:
    """The files of a run; of a shipped machine, its file. Each sort is as likely.

    A checkpoint has many files; else most of the damage would be in those.
    """
    if run.with_suffix(".safetensors").exists():
        return [run.with_suffix(".safetensors")]
    paths = sorted(path for path in run.rglob("*") if path.is_file())
    paths = [path for path in paths if path.stat().st_size]
    own = [path for path in paths if path.parent == run]
    return paths + own * max(1, len(paths) // len(own))


def holds_json(path: Path) -> bool:
    """Whether the text of a file is JSON."""
    return path.suffix in (".json", ".jsonl", ".safetensors") or path.name == METADATA


# The trial: what the commands do with the damage.


def try_one(whole: Whole, draw: random.Random, expected: dict[str, Any]) -> list[str]:
    """Damages a copy of a folder; how each command ended.

    Returns:
      Of each command, "same", "told", "other" (a changed number without a hash), or
      one of `_BAD` with the details.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = shutil.copytree(whole.folder, Path(temporary) / whole.name)
        damage = draw.choice(DAMAGE)
        paths = damage(copy, draw)
        if not paths:
            return []
        paths = [path.relative_to(copy) for path in paths]
        what = f"{damage.__name__} {[str(path) for path in paths]}"
        return [
            f"{ended} [{whole.name}: {what}, {name}]"
            for name, command in whole.commands.items()
            for own in [shutil.copytree(copy, Path(temporary) / name)]
            for ended in [try_command(command, own, paths, expected[name], whole)]
        ]


def try_command(
    command: Callable[[Path], Any],
    folder: Path,
    paths: list[Path],
    expected: Any,
    whole: Whole,
) -> str:
    """How a command ended."""
    try:
        result = command(folder)
    except ToldError as error:
        told = str(error)
        named = [path.name for path in paths]
        for path in paths:
            if "checkpoints" in path.parts:  # each is named as a whole
                named.append("/".join(path.parts[1:3]))
            if path.name == "config.json":  # main compares it with its flags
                named.append(f"the run in {folder}")
        if any(name in told for name in named):
            return "told"
        return f"unnamed: {told.strip()}"
    except Exception:
        return f"traceback: {traceback.format_exc()}"
    if repr(result) == repr(expected):
        return "same"
    return "silent" if whole.hashed else "other"


def survey(
    wholes: list[Whole], count: int, seed: int, seconds: float = float("inf")
) -> tuple[collections.Counter[str], list[str]]:
    """Makes many trials.

    Args:
      wholes: to damage in turn.
      count: number of trials.
      seed: of the damage.
      seconds: after which no new trial begins.

    Returns:
      How often each end came, and the bad ones with their details.
    """
    started, bad = time.monotonic(), []
    ends: collections.Counter[str] = collections.Counter()
    expected: dict[str, dict[str, Any]] = {}
    for whole in wholes:
        with tempfile.TemporaryDirectory() as temporary:
            expected[whole.name] = {
                name: command(shutil.copytree(whole.folder, Path(temporary) / name))
                for name, command in whole.commands.items()
            }
    for i in range(count):
        if time.monotonic() - started > seconds:
            break
        whole = wholes[i % len(wholes)]
        # Of its own, so that each can be made again.
        ended = try_one(whole, random.Random(f"{seed} {i}"), expected[whole.name])
        ends["trials"] += bool(ended)
        for end in ended:
            kind = end.split()[0].rstrip(":")
            ends[kind] += 1
            if kind in _BAD:
                bad.append(f"trial {i}: {end}")
    return ends, bad


def main_of_damage(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.damage", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="number of trials")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as temporary:
        wholes = make(Path(temporary) / "made")
        ends, bad = survey(wholes, given.count, given.seed, given.seconds)
    print("\n".join(bad))
    print(", ".join(f"{name}: {number}" for name, number in sorted(ends.items())))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main_of_damage())
