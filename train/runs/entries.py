"""The fields of a run's records: metrics, answers, evaluations and provenance."""

import contextlib
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
    restarts = {"restarts": schema.count} if config.can_restart() else {}
    return {**EVALUATED, f"{wrong}_per_sequence": schema.number, **restarts}


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
    targets = config.make_task().targets

    def check_answer(name: str, value: Any) -> None:
        schema.check_record(name, value, {"outputs": schema.check_list})
        if not wanted:  # so many steps as the sequence has
            wanted.append(answer_shape(config))
        outputs, whole = np.zeros(0), False
        with contextlib.suppress(ValueError):  # rows of different lengths
            outputs = np.asarray(value["outputs"])
            whole = outputs.dtype.kind in "fi" and outputs.shape == wanted[0]
        if not whole:
            raise ValueError(
                f"outputs: got {schema.short(value['outputs'])}, want numbers "
                f"{list(wanted[0])}"
            )
        if fault := targets.kept_fault(outputs):
            raise ValueError(f"outputs: {fault}")

    return check_answer


def answer_shape(config: TrainConfig) -> tuple[int, ...]:
    """The shape of the answer that a run keeps, `[T, O]` or less."""
    task = config.make_task()
    of_step = task.targets.kept_shape
    if isinstance(task, tasks.DataTask):
        mask = task.held_out("evaluation", 1).mask
        return 1 + int(np.flatnonzero(mask[:, 0])[-1]), *of_step
    batch = jax.eval_shape(
        lambda key: task.sample(key, 1, **task.trials()[0]), jax.random.key(0)
    )
    return len(batch.mask), *of_step
