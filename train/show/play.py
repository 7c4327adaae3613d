"""One HTML file that runs trained machines on what its reader draws, offline.

The page has the weights and computes each answer itself, in float64. Its parts are in
`play/`: `machine.js` is the machine, `tasks.js` makes sequences, `play.js` is the page.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.serialization import to_state_dict
from flax.traverse_util import flatten_dict

import ntm_jax
from ntm_jax import tasks

from ..runs.config import TrainConfig
from .html import filled, packed, packed_maps

PyTree = Any
# Those whose sequences the page can make and draw: the kinds of `play/tasks.js`.
TASKS = (
    "copy",
    "repeat_copy",
    "associative_recall",
    "dynamic_ngrams",
    "priority_sort",
    "reverse_string",
)
_MOST_STEPS = 1000
_MOST_SLOTS = 1024


class Playable(NamedTuple):
    """A machine for the page.

    Attributes:
      name: of the machine.
      params: of one machine.
      config: of its run.
      sizes: of the sequence that is shown first; a missing one has the page's default.
    """

    name: str
    params: PyTree
    config: TrainConfig
    sizes: dict[str, int]


def play_page(
    machines: Sequence[Playable], *, num_slots: int | None = None, seed: int = 0
) -> str:
    """The page, as HTML.

    Args:
      machines: at least one.
      num_slots: of the memory, instead of each config's.
      seed: of the random sequences.

    Raises:
      ValueError: for another model than the machine, for a task from outside, for sizes
        that the page cannot show, and if the page would be too large.
    """
    if num_slots is not None and num_slots > _MOST_SLOTS:
        raise ValueError(
            f"num_slots: got {num_slots}, want at most {_MOST_SLOTS} on a page"
        )
    for machine in machines:
        check(machine)
    data = {
        "maps": packed_maps(),
        "most_steps": _MOST_STEPS,
        "seed": seed,
        "machines": [_data(machine, num_slots) for machine in machines],
    }
    return filled("play/play.html", data, "use fewer machines, or smaller ones")


def check(machine: Playable) -> None:
    """Raises a `ValueError` for a machine that the page cannot run."""
    config = machine.config
    if config.model != "ntm":
        raise ValueError(
            f"play: got {machine.name!r}, whose model is {config.model}, want the "
            "machine itself (--model=ntm); --html without --play shows other models"
        )
    if config.task not in TASKS:
        raise ValueError(
            f"play: got {machine.name!r}, whose task is {config.task}, want one of "
            f"{', '.join(TASKS)}; --html without --play shows other tasks"
        )
    if machine.sizes:
        steps = _num_steps(config.make_task(), machine.sizes)
        if steps > _MOST_STEPS:
            sizes = ", ".join(f"{name} {size}" for name, size in machine.sizes.items())
            raise ValueError(
                f"{', '.join(machine.sizes)}: got a sequence of {steps} steps with "
                f"{sizes}, want at most {_MOST_STEPS} on a page"
            )


def _num_steps(task: tasks.Task, sizes: dict[str, int]) -> int:
    """The steps of a sequence of these sizes; the others are the largest of training.

    Raises:
      TypeError, ValueError: for sizes that the task cannot have.
    """
    batch = jax.eval_shape(lambda key: task.sample(key, 1, **sizes), jax.random.key(0))
    return batch.inputs.shape[0]


def _data(machine: Playable, num_slots: int | None) -> dict[str, Any]:
    """The data of a machine for the page."""
    config = machine.config.make_ntm_config()
    task = machine.config.make_task()
    params = flatten_dict(to_state_dict(machine.params), sep="/")
    state = ntm_jax.initial_state(machine.params, config, num_slots=num_slots)
    return {
        "name": machine.name,
        "task": machine.config.task,
        "trained": f"In training: {_sizes_in_training(task)}.",
        "fields": machine.config.to_dict()["task_fields"],
        "config": config.to_dict(),
        "params": {path: _floats(array) for path, array in params.items()},
        "memory": _floats(state.memory),
        "sizes": machine.sizes,
        "input_names": task.input_names,
    }


def _sizes_in_training(task: tasks.Task) -> str:
    """For example: length 1 to 10, repeats 1 to 10."""
    return ", ".join(
        f"{name} {' to '.join(map(str, np.ravel(size)))}"
        for name, size in task.difficulty.items()
    )


def _floats(array: Any) -> str:
    return packed(np.asarray(array, np.dtype("<f4")))
