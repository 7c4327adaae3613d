"""One sequence, and all that a trained machine did with it."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ntm_jax
import tasks
from ntm_jax import Trace
from train.config import TrainConfig
from train.measure import evaluation_key, sample_each
from train.model import NTM
from train.phases import Phase, phases

PyTree = Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """What there is to see of one sequence; all arrays are NumPy's.

    Attributes:
      config: of the machine's run.
      difficulty: of the sequence.
      inputs: `[T, I]`.
      targets: `[T, O]`.
      mask: bool `[T]`, where an answer is due.
      outputs: `[T, O]`, after the sigmoid.
      wrong: wrong bits of the answer.
      phases: of the sequence.
      trace: of the machine; None for an LSTM alone.
      optimum: `[T, O]`, the best possible predictions; None where the task has none.
    """

    config: TrainConfig
    difficulty: dict[str, int]
    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    outputs: np.ndarray
    wrong: int
    phases: list[Phase]
    trace: Trace | None
    optimum: np.ndarray | None

    @property
    def size(self) -> str:
        """The difficulty, for the name of a file."""
        return "_".join(map(str, self.difficulty.values()))


def record(
    params: PyTree,
    config: TrainConfig,
    difficulty: dict[str, int],
    *,
    num_slots: int | None = None,
    seed: int = 0,
    index: int = 0,
) -> Recording:
    """What a machine does with one of the sequences that it is evaluated on.

    Args:
      params: of one machine.
      config: of its run.
      difficulty: a number for each of the task's.
      num_slots: of the memory, instead of the config's.
      seed: of the evaluation.
      index: of the sequence in it.

    Raises:
      TypeError, ValueError: for sizes that the task or the machine cannot have.
    """
    task, model = config.make_task(), config.make_model()
    batch = sequence(task, difficulty, seed=seed, index=index)
    if isinstance(model, NTM):
        state = ntm_jax.initial_state(params, model.config, num_slots=num_slots)
        run = jax.jit(functools.partial(ntm_jax.trace, config=model.config))
        trace = run(params, batch.inputs[:, 0], state=state)
        logits = trace.outputs[:, None]
    else:
        trace = None
        logits = jax.jit(functools.partial(model.logits, num_slots=num_slots))(
            params, batch.inputs
        )
    optimum = None
    if isinstance(task, tasks.DynamicNGrams):
        optimum = jax.nn.sigmoid(task.optimal_logits(batch))[:, 0]
    inputs, targets, mask = (
        np.asarray(leaf[:, 0]) for leaf in (batch.inputs, batch.targets, batch.mask)
    )
    return Recording(
        config=config,
        difficulty=difficulty,
        inputs=inputs,
        targets=targets,
        mask=mask,
        outputs=np.asarray(jax.nn.sigmoid(logits[:, 0])),
        wrong=int(tasks.wrong_bits(logits, batch)[0]),
        phases=phases(inputs, mask, task.input_names),
        trace=jax.device_get(trace),
        optimum=None if optimum is None else np.asarray(optimum),
    )


def sequence(
    task: tasks.Task, difficulty: dict[str, int], *, seed: int = 0, index: int = 0
) -> tasks.Batch:
    """A batch of that one of the sequences of an evaluation."""
    key = jax.random.fold_in(evaluation_key(seed), jnp.uint32(index))
    return sample_each(task, key[None], **difficulty)
