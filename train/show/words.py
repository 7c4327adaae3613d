"""A sequence in words, for tasks of which an image of all channels says nothing."""

import dataclasses

import numpy as np

from ntm_jax import tasks


@dataclasses.dataclass(frozen=True)
class Words:
    """The words of one sequence; an answer that is not due is empty.

    Attributes:
      inputs: of every step.
      targets: of every step.
      outputs: of every step, the most probable ones.
    """

    inputs: list[str]
    targets: list[str]
    outputs: list[str]

    def text(self) -> str:
        """Everything, for the choice of a font."""
        return "".join([*self.inputs, *self.targets, *self.outputs])

    def wrong(self) -> list[bool]:
        """Whether the output is another than the target, at every step."""
        return [output != target for output, target in zip(self.outputs, self.targets)]


def words_of(
    task: tasks.Task,
    inputs: np.ndarray,
    targets: np.ndarray,
    outputs: np.ndarray,
    mask: np.ndarray,
) -> Words | None:
    """The words of one sequence; None for a task that has none.

    Args:
      task: of the sequence.
      inputs: `[T, ...]`, as the task makes them.
      targets: `[T]`, the same.
      outputs: `[T, O]`, probabilities.
      mask: bool `[T]`, where an answer is due.
    """
    of_inputs = task.input_words(inputs)
    if of_inputs is None:
        return None
    return Words(
        of_inputs,
        answers_in_words(task, targets, mask),
        answers_in_words(task, outputs.argmax(axis=-1), mask),
    )


def answers_in_words(
    task: tasks.Task, answers: np.ndarray, mask: np.ndarray
) -> list[str]:
    """The words of answers `[T]`, empty where none is due."""
    due = iter(task.answer_words(answers[mask]) or ())
    return [next(due) if is_due else "" for is_due in mask]
