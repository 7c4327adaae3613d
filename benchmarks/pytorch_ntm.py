"""Trains copy with the code of a pytorch-ntm checkout, a turn at a time.

`benchmarks.peers` starts this file in a process of its own, as that code calls its
modules `train` and `tasks`, as ours are called. For every line of its input, a JSON
object with a `batch_size`, it trains once on a batch of each length from 1 to 20, and
prints what that took as one JSON object. The first line that it prints tells of torch.
"""

import importlib
import json
import sys
import time
from typing import Any

LONGEST = 20


def main() -> None:
    """Turns for as long as they are asked for."""
    # Instead of this file's folder.
    sys.path[0] = sys.argv[1]
    try:
        attr: Any = importlib.import_module("attr")
        accept_convert(attr)
        torch: Any = importlib.import_module("torch")
        theirs: Any = importlib.import_module("train")
        task: Any = importlib.import_module("tasks.copytask")
    except ImportError as error:
        tell({"error": str(error)})
        return
    tell({"torch": torch.__version__, "threads": torch.get_num_threads()})
    models: dict[int, Any] = {}
    for line in sys.stdin:
        size = json.loads(line)["batch_size"]
        if size not in models:
            params = task.CopyTaskParams(batch_size=size)
            models[size] = task.CopyTaskModelTraining(params=params)
        tell(turn(models[size], theirs.train_batch, task.dataloader))


def turn(model: Any, train_batch: Any, dataloader: Any) -> dict[str, float]:
    """An update for each length, and what it took."""
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
    """Lets `attrs` of today take a word that their code has for its `converter`."""
    made = attr.attrib

    def attrib(*arguments: Any, convert: Any = None, **options: Any) -> Any:
        if convert is not None:
            options["converter"] = convert
        return made(*arguments, **options)

    attr.attrib = attrib


def tell(told: dict[str, Any]) -> None:
    """One line, at once."""
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
