"""What the server answers for programs: from the files of a run to JSON."""

from typing import Any

from .kept import Kept
from .refused import RefusedError, missing
from .runs import Run, Runs
from .tail import Entry

# The fields of every metric. The first of the others is the loss.
_COMMON = ("step", "kind", "seed")
# Of the last so many calls, the speed is a mean.
_CALLS = 20
# The points of a small curve.
_POINTS = 60


def metrics(run: Run, since: int) -> str:
    """The entries of `metrics.jsonl` after a step."""
    entries = run.metrics.since(since)
    return (
        f'{{"replaced":{run.metrics.replaced},"entries":['
        + ",".join(entry.text for entry in entries)
        + "]}"
    )


def loss(run: Run, since: int) -> dict[str, Any]:
    """The training loss by step, for every seed."""
    name, seeds = None, {}
    for record in trained(run.metrics.since(since)):
        name = name or loss_name(record)
        of_seed = seeds.setdefault(str(record["seed"]), {"step": [], "loss": []})
        of_seed["step"].append(record["step"])
        of_seed["loss"].append(record[name])
    return {"name": name, "seeds": seeds}


def answer(run: Run, step: int | None) -> dict[str, Any]:
    """The first machine's answer to the fixed sequence, by default the newest.

    Raises:
      RefusedError: if the run kept none at that step.
    """
    entries = run.answers.since()
    if not entries:
        raise missing("step: the run has kept no answer yet")
    found = run.answers.at(entries[-1].step if step is None else step)
    if found is None:
        raise missing(
            f"step: got {step}, want one at which the run kept an answer, from "
            f"{entries[0].step} to {entries[-1].step}"
        )
    return found


def checkpoints(run: Run, kept: Kept) -> dict[str, Any]:
    """The steps that can be shown: on disk or kept, with a page, with an answer.

    And whether the sequence of the answers is known already.
    """
    run.check_there()
    problems = [kept.problems[step] for step in sorted(kept.problems, key=str)]
    return {
        "checkpoints": sorted({*kept.weights, *run.checkpoints()}),
        "pages": sorted(kept.pages),
        "answers": answer_steps(run),
        "sequence": kept.sequence is not None,
        "problem": problems[-1] if problems else None,
    }


def answer_steps(run: Run) -> list[int]:
    """The steps at which the run kept an answer."""
    try:
        return [entry.step for entry in run.answers.since()]
    except RefusedError as error:
        if error.status == 404:  # before the first report
            return []
        raise


def status(run: Run) -> dict[str, Any]:
    """Where the run is: its last report, its speed and the time left."""
    config = run.config()
    told: dict[str, Any] = {
        "name": run.title(),
        "task": config["task"],
        "model": config.get("model"),
        "seeds": config.get("num_seeds", 1),
        "steps": config.get("steps"),
        "step": 0,
        "state": "complete" if run.has("evaluation.json") else "training",
        "sequences_per_second": None,
        "seconds_left": None,
        "seconds_since_report": None,
    }
    last = trained(entries_of(run)[-200:])
    if last:
        record, per_update = last[-1], seconds_per_update(last)
        told["step"] = record["step"]
        told["sequences_per_second"] = record.get("sequences_per_second")
        told["seconds_since_report"] = round(run.seconds_since("metrics.jsonl"), 1)
        if told["state"] == "training" and per_update is not None and told["steps"]:
            left = (told["steps"] - record["step"]) * per_update
            told["seconds_left"] = round(left, 1)
    return told


def index(runs: Runs) -> dict[str, Any]:
    """All runs, each with a small curve of its loss."""
    return {
        "single": runs.single,
        "runs": [summary(run) for run in runs.all().values()],
    }


def summary(run: Run) -> dict[str, Any]:
    """One run of the index; with `error` instead of numbers if it cannot be read."""
    told: dict[str, Any] = {"name": run.name or run.title(), "path": run.name}
    try:
        where = status(run)
        records = trained(entries_of(run))
        records = [record for record in records if record["seed"] == records[0]["seed"]]
    except RefusedError as error:
        return {**told, "error": str(error)}
    every = max(1, -(-len(records) // _POINTS))
    shown = [*records[:-1:every], *records[-1:]]
    name = loss_name(records[0]) if records else None
    curve = [[record["step"], record[name]] for record in shown] if name else []
    return {**where, **told, "loss_name": name, "curve": curve}


def entries_of(run: Run) -> list[Entry]:
    """The metrics so far; none before the first report."""
    try:
        return run.metrics.since()
    except RefusedError as error:
        if error.status == 404:
            return []
        raise


def trained(entries: list[Entry]) -> list[dict[str, Any]]:
    """The entries about training."""
    return [entry.record for entry in entries if entry.record["kind"] == "train"]


def loss_name(record: dict[str, Any]) -> str:
    """The name of the loss in an entry about training."""
    return next(name for name in record if name not in _COMMON)


def seconds_per_update(records: list[dict[str, Any]]) -> float | None:
    """The mean over the last calls; None before there are two."""
    seconds = {record["step"]: record.get("seconds") or 0 for record in records}
    steps = sorted(seconds)[-_CALLS:]
    if len(steps) < 2 or steps[-1] == steps[0]:
        return None
    return sum(seconds[step] for step in steps[1:]) / (steps[-1] - steps[0])
