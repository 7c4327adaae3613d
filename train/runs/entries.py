"""The fields of a run's records: metrics, answers, evaluations and provenance."""

from typing import Any

import jax
import numpy as np

from ntm_jax import tasks

from . import schema
from .config import TrainConfig
from .schema import Check

METRIC = {"step": schema.count, "kind": schema.text, "seed": schema.count}
# The kinds of metrics. Each can have any numbers.
KINDS = ("train", "validation", "health")
# Of a machine, at one difficulty.
EVALUATED = {
    "machine": schema.count,
    "step": schema.count,
    "solved_at": schema.or_none(schema.count),
    "num_sequences": schema.count,
    "error_per_sequence": schema.number,
    "perfect_fraction": schema.fraction,
}


def evaluated(config: TrainConfig) -> schema.Fields:
    """The fields of a machine's evaluation at one difficulty."""
    wrong = config.make_task().targets.wrong_name
    return {**EVALUATED, f"{wrong}_per_sequence": schema.number}


def any_metric_check(name: str, value: Any) -> None:
    """The check of the metrics of a run, whatever its task is."""
    schema.check_record(name, value, METRIC)
    if value["kind"] not in KINDS:
        raise ValueError(f"kind: got {value['kind']!r}, want one of {', '.join(KINDS)}")
    others = dict.fromkeys(value.keys() - METRIC.keys(), schema.number)
    schema.check_record(name, value, others, {"seconds": schema.seconds})


def metric_check(config: TrainConfig) -> Check:
    """The check of the metrics of a run."""
    targets = config.make_task().targets
    # What is read of each kind.
    fields: dict[str, schema.Fields] = {
        "train": dict.fromkeys((targets.loss_name, targets.wrong_name), schema.number),
        "validation": {"error": schema.number},
        "health": {},
    }

    def check_metric(name: str, value: Any) -> None:
        any_metric_check(name, value)
        schema.check_record(name, value, fields[value["kind"]])

    return check_metric


def answer_check(config: TrainConfig) -> Check:
    """The check of the answers of a run."""
    wanted: list[tuple[int, ...]] = []

    def check_answer(name: str, value: Any) -> None:
        schema.check_record(name, value, {"outputs": schema.check_list})
        if not wanted:  # so many steps as the sequence has
            wanted.append(answer_shape(config))
        try:
            outputs = np.asarray(value["outputs"])
            whole = outputs.dtype.kind in "fi" and outputs.shape == wanted[0]
        except ValueError:  # rows of different lengths
            whole = False
        if not whole:
            raise ValueError(
                f"outputs: got {schema.short(value['outputs'])}, want numbers "
                f"{list(wanted[0])}"
            )

    return check_answer


def answer_shape(config: TrainConfig) -> tuple[int, ...]:
    """The shape `[T, O]` of the answer that a run keeps."""
    task = config.make_task()
    if isinstance(task, tasks.DataTask):
        mask = task.held_out("evaluation", 1).mask
        return 1 + int(np.flatnonzero(mask[:, 0])[-1]), task.output_size
    batch = jax.eval_shape(
        lambda key: task.sample(key, 1, **task.trials()[0]), jax.random.key(0)
    )
    return len(batch.mask), task.output_size
