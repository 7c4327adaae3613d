"""The tables on the page of results and in README, as lines of Markdown."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence

import tasks
from benchmarks.records import Record, config_of, of_task
from benchmarks.trials import (
    Size,
    accuracy_cell,
    all_sizes,
    cell,
    in_words,
    is_of_strings,
    optimum,
    scores,
    trials,
)
from tasks.registry import name_in_words
from train.runs.outcome import readable
from train.runs.presets import preset
from train.show.learners import has_curves

# What README says of the tasks: what to do, and how hard it is in training.
DESCRIPTIONS = {
    "copy": ("repeat a sequence of vectors", "1 to 20 vectors"),
    "repeat_copy": (
        "repeat it several times, then output an end marker",
        "1 to 10 vectors, 1 to 10 times",
    ),
    "associative_recall": (
        "given an item of a list, output the next item",
        "2 to 6 items of three vectors",
    ),
    "dynamic_ngrams": (
        "predict the next bit of a random n-gram source",
        "200 bits; each depends on the five before it",
    ),
    "priority_sort": (
        "output the vectors of highest priority, in order",
        "16 of 20 vectors",
    ),
    "reverse_string": (
        "output a string of 0s and 1s in reverse",
        "1 to 40 symbols",
    ),
}


def overview(records: Sequence[Record]) -> Iterator[str]:
    """README's table: for each task, the machine that its preset trains."""
    yield (
        "| `--task` | what to do | size in training | seeds solved | "
        "sequences trained on | minutes per seed | "
        "error per sequence: median over seeds (best to worst) |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for task, (what, how_hard) in DESCRIPTIONS.items():
        own = of_preset(of_task(records, task))
        if own is None:
            yield f"| `{task}` | {what} | {how_hard} | | | | |"
            continue
        machines = own["machines"]
        seen = sorted(machine["sequences"] for machine in machines)
        yield (
            f"| `{task}` | {what} | {how_hard} | {solved(own)} | "
            f"{' to '.join(f'{n:,}' for n in sorted({seen[0], seen[-1]}))} | "
            f"{minutes_of_a_seed(own)} | "
            f"{error_in_training_size(task, own)} |"
        )
    yield ""


def summary(records: Sequence[Record]) -> Iterator[str]:
    """The first table of the page: for each task, the NTMs and the LSTM alone."""
    yield (
        "| task | learner | seeds solved | sequences until solved | "
        "stopped after at most | error per sequence |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    for task in DESCRIPTIONS:  # poems have no solution, and a page of their own
        for record in of_task(records, task):
            if not is_main_learner(record):
                continue
            yield (
                f"| {name_in_words(task)} | {learner_in_words(record)} | "
                f"{training(record)} | {error_in_training_size(task, record)} |"
            )
    yield ""


def choosing(records: Sequence[Record]) -> Iterator[str]:
    """For each task the preset's machines, and the LSTM alone if it had ten times more.

    That is ten times the sequences of the median machine. Both are at the machine's
    sizes.
    """
    yield (
        "| task | learner | seeds solved | sequences of a seed | minutes of a seed | "
        "size in training | error there | hardest size | error there |"
    )
    yield "| --- |" + " --- |" * 8
    for task in DESCRIPTIONS:
        trained = list(filter(has_curves, of_task(records, task)))
        own = of_preset(trained)
        if own is None:
            continue
        enough = 10 * statistics.median(each["sequences"] for each in own["machines"])
        alone = [
            record
            for record in trained
            if is_lstm_alone(record) and sequences(record) >= enough
        ]
        in_training: Size = tuple(tasks.get(task).trials()[0].values())
        sizes = in_training, all_sizes([trials(task, own)])[-1]
        shown = accuracy_cell if is_of_strings(task) else cell
        for record in (own, *alone):
            tried = trials(task, record)
            errors = [
                text
                for size in sizes
                for text in (in_words(size), shown(tried.get(size, [])))
            ]
            yield (
                f"| {name_in_words(task)} | {learner_in_words(record)} | "
                f"{solved(record)} | {sequences(record):,} | "
                f"{minutes_of_a_seed(record)} | "
                f"{' | '.join(errors)} |"
            )
    yield ""


def sequences(record: Record) -> int:
    """The most that one of its machines was trained on."""
    return max(machine["sequences"] for machine in record["machines"])


def minutes_of_a_seed(record: Record) -> str:
    """How long the training of one of its machines took, in the mean."""
    return f"{record['seconds'] / len(record['machines']) / 60:.1f}"


def of_preset(records: Sequence[Record]) -> Record | None:
    """The first that is of runs of its task's preset."""
    return next(filter(has_preset, records), None)


def is_lstm_alone(record: Record) -> bool:
    """Whether its machines are LSTMs without a memory."""
    return record["learner"].startswith("LSTM, ")


def is_main_learner(record: Record) -> bool:
    """Whether a record is of the NTM with either controller, or of the LSTM alone."""
    is_ntm = record["learner"] in ("NTM, LSTM", "NTM, feed-forward")
    return (is_ntm or is_lstm_alone(record)) and has_curves(record)


def learner_in_words(record: Record) -> str:
    """The learner, so that an LSTM alone is not mistaken for a controller."""
    name = record["learner"]
    return name.replace("LSTM", "LSTM alone", 1) if is_lstm_alone(record) else name


def has_preset(record: Record) -> bool:
    """Whether it is of runs of the task's preset, without any other flag."""
    config = config_of(record)
    return config.for_any_seed() == preset("default", config.task).for_any_seed()


def training(record: Record) -> str:
    """Three cells: the seeds solved, how soon, and where training stopped."""
    return f"{solved(record)} | {until_solved(record)} | {sequences(record):,}"


def solved(record: Record) -> str:
    """How many seeds were solved, and how often each has restarted, if any has."""
    after = [machine["solved_after"] for machine in record["machines"]]
    restarts = [machine.get("restarts", 0) for machine in record["machines"]]
    words = f"{sum(n is not None for n in after)} of {len(after)}"
    return words + f" (restarts: {', '.join(map(str, restarts))})" * any(restarts)


def until_solved(record: Record) -> str:
    """The sequences until a seed was solved: the median over seeds (best to worst)."""
    after = [machine["solved_after"] or math.inf for machine in record["machines"]]
    if not any(map(math.isfinite, after)):
        return "–"
    median = readable(statistics.median_high(after))
    return f"{median} ({readable(min(after))} to {readable(max(after))})"


def error_in_training_size(task: str, record: Record) -> str:
    """The final error at the largest size in training, with what it counts."""
    size: Size = tuple(tasks.get(task).trials()[0].values())
    errors = trials(task, record).get(size, [])
    return f"{cell(errors)} {tasks.get(task).error_name}" if errors else ""


def section(task: str, records: Sequence[Record]) -> Iterator[str]:
    """The lines of a task: commands, tables and figures."""
    if not records:
        yield "Nothing is recorded yet.\n"
        return
    trained = list(filter(has_curves, records))
    yield "```sh"
    yield from dict.fromkeys(record["command"] for record in records)
    yield "```"
    yield ""
    if trained:
        yield from learned(trained)
        yield ""
    if is_of_strings(task):
        yield "Accuracy, in per cent of the symbols:"
        yield ""
        yield from accuracies(task, records)
    else:
        error = tasks.get(task).error_name
        yield f"{error[0].upper() + error[1:]} per sequence:"
        yield ""
        yield from beyond(task, records, "errors", cell)
    yield ""
    yield "Cost of the answer (cross-entropy), in bits per sequence:"
    yield ""
    yield from beyond(task, records, "loss_bits", cell)
    yield ""
    if hasattr(tasks.get(task), "optimal_logits"):
        yield f"The best possible predictor costs {optimum(records[0]):.2f} bits."
        yield ""
    if trained:
        yield f"![Learning curves](images/learning_{task}.png)"
        yield ""
    yield f"![Beyond the training size](images/beyond_{task}.png)"
    yield ""


def learned(records: Sequence[Record]) -> Iterator[str]:
    """A row for each learner: how many seeds were solved, and how soon."""
    yield (
        "| learner | seeds solved | sequences until solved | stopped after at most | "
        "minutes, all seeds |"
    )
    yield "| --- | --- | --- | --- | --- |"
    for record in records:
        minutes = record["seconds"] / 60
        yield f"| {record['learner']} | {training(record)} | {minutes:.0f} |"


def beyond(
    task: str,
    records: Sequence[Record],
    what: str,
    shown: Callable[[Sequence[float]], str],
) -> Iterator[str]:
    """A row for each trial: the median over seeds, the best and the worst."""
    names = " × ".join(tasks.get(task).difficulty)
    yield f"| {names} | " + " | ".join(record["learner"] for record in records) + " |"
    yield "| --- |" + " --- |" * len(records)
    tried = [trials(task, record, what) for record in records]
    for size in all_sizes(tried):
        cells = " | ".join(shown(of_one.get(size, [])) for of_one in tried)
        yield f"| {in_words(size)} | {cells} |"


def accuracies(task: str, records: Sequence[Record]) -> Iterator[str]:
    """A row for each trial, as in `beyond`, and one for the benchmark's score."""
    yield from beyond(task, records, "errors", accuracy_cell)
    cells = " | ".join(accuracy_cell(scores(task, record)) for record in records)
    yield f"| score | {cells} |"
