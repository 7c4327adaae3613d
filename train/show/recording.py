"""One sequence, and everything that a trained machine did with it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import ntm_jax
from ntm_jax import Trace, tasks
from ntm_jax.checks import check_count
from ntm_jax.tasks import name_in_words

from ..runs.config import TrainConfig
from ..training.measure import evaluation_key, sample_each
from ..training.model import NTM, Embedded, without_embedding
from .phases import Phase, phases
from .words import Words, words_of

PyTree = Any
_MOST_GIGABYTES = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """One sequence and what the machine did with it; all arrays are NumPy's.

    Attributes:
      title: the machine, for the titles of figures.
      config: of the machine's run.
      difficulty: of the sequence.
      index: of the sequence, from 0.
      inputs: `[T, I]`; of tokens, a 1 for each.
      targets: `[T, O]`, the best outputs.
      mask: bool `[T]`, where an answer is due.
      outputs: `[T, O]`: probabilities, or real numbers.
      wrong: wrong bits, symbols or numbers of the answer.
      answers: bits, symbols or numbers of the answer.
      error: of the answer, in the task's measure.
      phases: of the sequence.
      trace: of the machine; None for another model, or if it was not recorded.
      optimum: `[T, O]`, the best possible predictions; None if the task has none.
      words: of the sequence; None if the task has none.
    """

    title: str
    config: TrainConfig
    difficulty: dict[str, int]
    index: int
    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    outputs: np.ndarray
    wrong: int
    answers: int
    error: float
    phases: list[Phase]
    trace: Trace | None
    optimum: np.ndarray | None
    words: Words | None = None

    @property
    def size(self) -> str:
        """The difficulty, for the name of a file."""
        return "_".join(map(str, self.difficulty.values()))

    @property
    def result(self) -> str:
        """The error of the answer, in words."""
        unit = self.config.make_task().targets.unit
        words = f"{self.wrong} wrong of {self.answers} {unit}"
        if self.optimum is not None:
            words += f", {self.error:.2f} {self.config.make_task().error_name}"
        return words


def record(
    params: PyTree,
    config: TrainConfig,
    difficulty: dict[str, int],
    *,
    num_slots: int | None = None,
    seed: int = 0,
    index: int = 0,
    traced: bool = True,
    title: str = "",
) -> Recording:
    """Runs a machine on one of the sequences of its evaluation.

    Args:
      params: of one machine.
      config: of its run.
      difficulty: a number for each of the task's.
      num_slots: of the memory, instead of the config's.
      seed: of the evaluation.
      index: of the sequence in it.
      traced: keep the trace, with the memory after every step.
      title: of the machine, as `machine_title` makes it.

    Raises:
      TypeError, ValueError: for sizes that the task or the machine cannot have, and
        for a trace that would be too large.
    """
    task = config.make_task()
    task.ranges(**difficulty)  # checks the sizes before anything is compiled
    check_count("index", index, 0)
    make = _maker(config, difficulty, num_slots, traced, index)
    arguments = params, evaluation_key(seed), jnp.uint32(index)
    if (size := _gigabytes(make, *arguments)) > _MOST_GIGABYTES:
        raise ValueError(
            f"num_slots: the memory at every step would take {size:.0f} GB, want at "
            f"most {_MOST_GIGABYTES}; use fewer slots (--num_slots) or a shorter "
            "sequence"
        )
    batch, logits, trace, optimum, wrong, error = jax.device_get(make(*arguments))
    targets, mask = task.targets, batch.mask[:, 0]
    inputs = task.inputs.as_vectors(batch.inputs[:, 0])
    outputs = np.asarray(targets.predictions(logits[:, 0]))
    of_task = batch.inputs[:, 0], batch.targets[:, 0]
    return Recording(
        title=title,
        config=config,
        difficulty=difficulty,
        index=index,
        inputs=inputs,
        targets=np.asarray(targets.as_predictions(batch.targets[:, 0])),
        mask=mask,
        outputs=outputs,
        wrong=int(wrong[0]),
        answers=int(targets.count(batch.mask)[0]),
        error=float(error[0]),
        phases=phases(inputs, mask, task.input_names),
        trace=trace,
        optimum=None if optimum is None else optimum[:, 0],
        words=words_of(task, *of_task, outputs, mask),
    )


def data_at(task: tasks.DataTask, index: int) -> tasks.Batch:
    """A batch of one sequence of the data for evaluation.

    Raises:
      ValueError: if there are not so many.
    """
    batch = task.held_out("evaluation", index + 1)
    if batch.mask.shape[1] <= index:
        raise ValueError(
            f"index: got {index}, want less than {batch.mask.shape[1]}, the sequences "
            "for evaluation"
        )
    of_one = jax.tree.map(lambda leaf: leaf[:, index:], batch)
    steps = 1 + int(np.flatnonzero(of_one.mask.any(axis=1))[-1])
    return jax.tree.map(lambda leaf: leaf[:steps], of_one)


def machine_title(config: TrainConfig, seed: int, step: int) -> str:
    """A machine in words: its task, its seed and its updates.

    >>> machine_title(TrainConfig(task="copy"), 0, 1800)
    'copy, seed 0, update 1,800'
    """
    return f"{name_in_words(config.task)}, seed {seed}, update {step:,}"


def trace_fits(params: PyTree, config: TrainConfig, difficulty: dict[str, int]) -> bool:
    """Whether the trace of a sequence is small enough to be recorded."""
    make = _maker(config, difficulty, num_slots=None, traced=True)
    return _gigabytes(make, params, evaluation_key(0), 0) <= _MOST_GIGABYTES


def _gigabytes(make: Callable[..., PyTree], *arguments: Any) -> float:
    """The size of the arrays that a function would return."""
    leaves = jax.tree.leaves(jax.eval_shape(make, *arguments))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves) / 1e9


def _maker(
    config: TrainConfig,
    difficulty: dict[str, int],
    num_slots: int | None,
    traced: bool,
    index: int = 0,
) -> Callable[..., PyTree]:
    """A function from parameters, key and index to the arrays of a recording."""
    task = config.make_task()
    data = data_at(task, index) if isinstance(task, tasks.DataTask) else None
    return functools.partial(
        _made,
        data=data,
        config=config.for_any_seed(),
        difficulty=tuple(difficulty.items()),
        num_slots=num_slots,
        traced=traced,
    )


@functools.partial(
    jax.jit, static_argnames=("config", "difficulty", "num_slots", "traced")
)
def _made(
    params: PyTree,
    key: Array,
    index: Array,
    *,
    data: tasks.Batch | None,
    config: TrainConfig,
    difficulty: tuple[tuple[str, int], ...],
    num_slots: int | None,
    traced: bool,
) -> tuple[tasks.Batch, Array, Trace | None, Array | None, Array, Array]:
    """A batch of one sequence, logits, trace, best predictions, wrong ones, error."""
    task, model = config.make_task(), config.make_model(num_slots)
    batch = data
    if batch is None:
        own_key = jax.random.fold_in(key, index)
        batch = sample_each(task, own_key[None], **dict(difficulty))
    trace = None
    machine, own_params, inputs = without_embedding(model, params, batch.inputs)
    if traced and isinstance(machine, NTM):
        state = ntm_jax.initial_state(own_params, machine.config, num_slots=num_slots)
        trace = ntm_jax.trace(
            own_params, inputs[:, 0], config=machine.config, state=state
        )
        logits = trace.outputs[:, None]
        if isinstance(model, Embedded):
            logits = model.logits_of(params, logits)
    else:
        logits = model.logits(params, batch.inputs)
    optimum = None
    if isinstance(task, tasks.DynamicNGrams):
        optimum = jax.nn.sigmoid(task.optimal_logits(batch))
    wrong = task.targets.wrong(logits, batch.targets, batch.mask)
    error = task.errors(logits, batch)
    return batch, logits, trace, optimum, wrong, error


@functools.partial(jax.jit, static_argnames=("task", "difficulty"))
def _sample(
    task: tasks.Task, key: Array, difficulty: tuple[tuple[str, int], ...]
) -> tasks.Batch:
    return sample_each(task, jax.random.fold_in(key, 0)[None], **dict(difficulty))


def first_sequence(task: tasks.Task, difficulty: dict[str, int]) -> tasks.Batch:
    """A batch of one: the first sequence of the evaluation at the end of every run."""
    if isinstance(task, tasks.DataTask):
        return data_at(task, 0)
    return _sample(task, evaluation_key(0), tuple(difficulty.items()))
