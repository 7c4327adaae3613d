"""The process that makes pages and weights of checkpoints, with the least priority.

It reads jobs from its input and writes what it made to its output. Only this process
of the live view computes with JAX, and only it imports the task of a run.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import safetensors.numpy
from flax.serialization import from_state_dict
from flax.traverse_util import unflatten_dict

from ntm_jax import saved, tasks, tensors

from ..runs.config import TrainConfig
from ..runs.folder import RunFolder
from ..runs.pretrained import shapes_of_params
from ..show.page import page
from ..show.recording import first_sequence, machine_title, record, trace_fits
from ..training.model import NTM
from ..training.population import member
from .frames import Header, receive, send
from .tail import finite


def weights(run: RunFolder, job: Header, content: bytes) -> bytes:
    """The parameters of a checkpoint's first machine, as a file of safetensors."""
    del content
    states = run.states.restore(run.states.at(job["step"]), None)
    params, config = member(states.params, 0), run.config
    alone = {**config.to_dict(), "num_seeds": 1}
    metadata = {"config": json.dumps(alone), "step": str(int(states.step[0]))}
    if isinstance(model := config.make_model(), NTM):  # not behind an embedding
        metadata |= saved.metadata_of(params, model.config)
    return tensors.packed(params, metadata)


def page_of(run: RunFolder, job: Header, content: bytes) -> bytes:
    """The page that shows the machine with those weights on one sequence."""
    arrays = safetensors.numpy.load(content)
    config = run.config
    params = from_state_dict(shapes_of_params(config), unflatten_dict(arrays, sep="/"))
    title = machine_title(config, config.seed, job["step"])
    difficulty = config.make_task().trials()[0]

    def made(*, traced: bool) -> bytes:
        recording = record(params, config, difficulty, traced=traced, title=title)
        return page([(title, recording)]).encode()

    try:
        return made(traced=trace_fits(params, config, difficulty))
    except ValueError:  # too large for a page
        return made(traced=False)


def sequence(run: RunFolder, job: Header, content: bytes) -> bytes:
    """The sequence to which the run keeps the answers, as JSON."""
    del job, content
    task = run.config.make_task()
    batch = jax.device_get(first_sequence(task, task.trials()[0]))
    targets = task.targets
    best = np.asarray(targets.as_predictions(batch.targets[:, 0]))
    told = {
        "inputs": batch.inputs[:, 0].tolist(),
        "targets": targets.kept(best).tolist(),
        "mask": batch.mask[:, 0].tolist(),
        "words": None if targets.kept_shape else words(task),
    }
    return json.dumps(finite(told), separators=(",", ":")).encode()


def words(task: tasks.Task) -> list[str]:
    """What each category of an answer is called."""
    every = np.arange(task.targets.size)
    return task.answer_words(every) or [str(category) for category in every]


WORK: dict[str, Callable[[RunFolder, Header, bytes], bytes]] = {
    "weights": weights,
    "page": page_of,
    "sequence": sequence,
}


def answer(job: Header, content: bytes) -> tuple[Header, bytes]:
    """Does one job: what it made, or an error in words."""
    try:
        path = Path(job["workdir"])
        config = TrainConfig.from_json(path / "config.json")
        return {}, WORK[job["work"]](RunFolder(path, config), job, content)
    except Exception as error:  # a task from outside can raise anything
        words = str(error).partition("\n")[0] or type(error).__name__
        return {"error": words}, b""


def take_least_priority() -> None:
    """Lets every other process go first."""
    if hasattr(os, "nice"):
        os.nice(19)


def main() -> int:
    """Works until the input ends."""
    take_least_priority()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started this ends it
    jobs, made = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a task from outside prints
    while (received := receive(jobs)) is not None:
        send(made, *answer(*received))
    return 0


if __name__ == "__main__":
    sys.exit(main())
