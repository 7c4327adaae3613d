"""Trains copy with the code of a pytorch-ntm checkout, a turn at a time.

`benchmarks.peers` starts this file in its own process, because that code has modules
named `train` and `tasks`, like ours. For every line of its input, a JSON object with a
`batch_size`, it trains once on a batch of each length from 1 to 20, and prints the time
as one JSON object. The first line that it prints has the version of torch.
"""

import importlib
import json
import sys
import time
from typing import Any

LONGEST = 20


def main() -> None:
    """Makes a turn for every line of the input."""
    # Replaces the folder of this file.
    sys.path[0] = sys.argv[1]
    try:
        attr: Any = importlib.import_module("attr")
        accept_convert(attr)
        torch: Any = importlib.import_module("torch")
        theirs: Any = importlib.import_module("train")
        task: Any = importlib.import_module("tasks.copytask")
    except ImportError as error:
        report({"error": str(error)})
        return
    report({"torch": torch.__version__, "threads": torch.get_num_threads()})
    models: dict[int, Any] = {}
    for line in sys.stdin:
        size = json.loads(line)["batch_size"]
        if size not in models:
            params = task.CopyTaskParams(batch_size=size)
            models[size] = task.CopyTaskModelTraining(params=params)
        report(turn(models[size], theirs.train_batch, task.dataloader))


def turn(model: Any, train_batch: Any, dataloader: Any) -> dict[str, float]:
    """Makes an update for each length, and measures it."""
    wall, cpu = time.perf_counter(), time.process_time()
    params = model.params
    for length in range(1, LONGEST + 1):
        sizes = params.batch_size, params.sequence_width, length, length
        for _, x, y in dataloader(1, *sizes):
            train_batch(model.net, model.criterion, model.optimizer, x, y)
    return {
        "sequences": LONGEST * params.batch_size,
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
    }


def accept_convert(attr: Any) -> None:
    """Makes today's `attrs` accept their old name for `converter`."""
    made = attr.attrib

    def attrib(*arguments: Any, convert: Any = None, **options: Any) -> Any:
        if convert is not None:
            options["converter"] = convert
        return made(*arguments, **options)

    attr.attrib = attrib


def report(values: dict[str, Any]) -> None:
    """Prints one line at once."""
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
