"""The workshop: trains a machine on a task, evaluates it and draws what it does.

>>> from ntm_jax import train
>>> config = train.config_for("copy", steps=3000)
>>> config.num_slots
128

`train.fit` makes a whole run, and `train.evaluate` evaluates a machine. The other names
are the pieces for a loop of your own.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import starting

starting.prepare()
starting.check_packages()

if TYPE_CHECKING:
    from types import ModuleType

    from . import library
    from .arguments import config_for
    from .callbacks import Callback, JSONLines, Report, TensorBoard, WandB
    from .learn import DivergedError
    from .library import Result, fit
    from .runs.checkpoint import Checkpoints
    from .runs.config import TrainConfig
    from .training.batches import batch_of
    from .training.loop import Metrics, loss, update
    from .training.loop import train as updates
    from .training.model import Model
    from .training.optimizer import make_optimizer
    from .training.population import member
    from .training.state import TrainState, init_states

    class _Evaluate(ModuleType):
        """The module of the command, which is a function too."""

        __call__ = staticmethod(library.evaluate)

    evaluate: _Evaluate

# Where each name is. They are imported when they are first used: a command has to
# handle Ctrl-C before it imports anything that takes time.
_PLACES = {
    "Callback": "callbacks",
    "Checkpoints": "runs.checkpoint",
    "DivergedError": "learn",
    "JSONLines": "callbacks",
    "Metrics": "training.loop",
    "Model": "training.model",
    "Report": "callbacks",
    "Result": "library",
    "TensorBoard": "callbacks",
    "TrainConfig": "runs.config",
    "TrainState": "training.state",
    "WandB": "callbacks",
    "batch_of": "training.batches",
    "config_for": "arguments",
    "fit": "library",
    "init_states": "training.state",
    "loss": "training.loop",
    "make_optimizer": "training.optimizer",
    "member": "training.population",
    "update": "training.loop",
    "updates": "training.loop:train",
}

__all__ = (
    "Callback",
    "Checkpoints",
    "DivergedError",
    "JSONLines",
    "Metrics",
    "Model",
    "Report",
    "Result",
    "TensorBoard",
    "TrainConfig",
    "TrainState",
    "WandB",
    "batch_of",
    "config_for",
    "evaluate",
    "fit",
    "init_states",
    "loss",
    "make_optimizer",
    "member",
    "update",
    "updates",
)


def __getattr__(name: str) -> Any:
    if name == "evaluate":
        return importlib.import_module(".evaluate", __name__)
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, original = _PLACES[name].partition(":")
    found = getattr(importlib.import_module(f".{module}", __name__), original or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
