"""Runs so small that they compile and end in seconds."""

import dataclasses
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event  # type: ignore[attr-defined]

from train import learn
from train.runs.config import TrainConfig
from train.runs.folder import RunFolder
from train.training.measure import evaluate

TINY = TrainConfig(
    steps=60,
    lr_decay_fraction=0.0,
    batch_size=2,
    steps_per_call=2,
    validate_every=20,
    validation_sequences=4,
    checkpoint_every=4,
    learning_rate=3e-3,
    curriculum_steps=10_000,
    num_slots=8,
    slot_size=4,
    controller_units=8,
)


def flags(config: TrainConfig) -> list[str]:
    """The command line that asks for a config."""
    default = TrainConfig()
    return [
        f"--{field.name}={getattr(config, field.name)}"
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(default, field.name)
    ]


def evaluate_two(*arguments, num_sequences: int, **options):
    """`evaluate`, of two sequences whatever the settings."""
    del num_sequences
    return evaluate(*arguments, num_sequences=2, **options)


@pytest.fixture(scope="module", autouse=True)
def short_of_time(quick_compilations):
    """Few sequences in the evaluation at the end of a run; quick compilations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn, "evaluate", evaluate_two)
        yield


@pytest.fixture(scope="module", autouse=True)
def undrawn():
    """Runs draw no pictures, which take a third of such a run."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("draw_run", "show_figures", "show_machines"):
            patch.setattr(learn, name, lambda *_, **__: None)
        yield


def listing(folder: Path) -> dict[Path, bytes]:
    """Every file of a folder and what is in it."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def claimed(path: Path, config: TrainConfig) -> RunFolder:
    """A new run in that folder, with its config, or the run of that config there."""
    run = RunFolder.plan(path, config)
    run.claim()
    return run


def events_of(folder: Path) -> list[tuple[int, str, str]]:
    """Step, kind and name of all that was written for TensorBoard."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:  # length, its checksum, the event, its checksum
            end = 12 + int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12:end])
            found += [
                (event.step, value.WhichOneof("value"), value.tag)
                for value in event.summary.value
            ]
            data = data[end + 4 :]
    return found
