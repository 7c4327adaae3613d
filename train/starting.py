"""The first seconds of a command, in which JAX is imported, and what Ctrl-C does.

`python -m train.main` imports the package `train` first, which calls `prepare`. This
module imports nothing that takes time.
"""

import atexit
import gc
import importlib.util
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

# What the extra `train` installs.
PACKAGES = (
    "matplotlib",
    "optax",
    "orbax",
    "rich",
    "safetensors",
    "tensorboardX",
    "tyro",
)
# The status of a shell's command that SIGINT has ended.
STOPPED = 130


def prepare() -> None:
    """If this process starts as a command, prepares its signals and its output.

    Until `ready`, Ctrl-C ends the process at once, without a traceback: nothing has
    been read or written yet. What the locale cannot print becomes a question mark.
    """
    if not _is_command():
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def check_packages() -> None:
    """Raises a `ModuleNotFoundError` if a package that the trainer needs is missing.

    A command prints the error instead, and ends with 2.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        error = f"the trainer needs {missing[0]}; pip install 'ntm_jax[train]'"
        if _is_command():
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        raise ModuleNotFoundError(error, name=missing[0])


def _is_command() -> bool:
    """Whether this process starts as `python -m`, or as `ntm-jax`."""
    started_as = sys.argv[0] if sys.argv else ""
    # "-m" as long as Python looks for the module.
    return started_as == "-m" or Path(started_as).stem == "ntm-jax"


def ready() -> None:
    """From here on, Ctrl-C is a `KeyboardInterrupt`; a second one ends the process."""
    # What is imported stays, and JAX makes many objects as it traces: a collector that
    # looks at all of them again and again takes a tenth of the time until training.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _interrupt)
        sys.unraisablehook = _again
        # At its end, when Python and JAX clean up, a process can just end.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    del number, frame
    os.write(2, b"Stopped.\n")
    os._exit(STOPPED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    # What is written is whole at any time, so a second Ctrl-C need not be handled.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def _again(unraisable: Any) -> None:
    """Interrupts anew, soon, if Ctrl-C came in a callback, where Python drops it."""
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    signal.signal(signal.SIGINT, _interrupt)
    # To the main thread, which may be asleep.
    main = threading.main_thread().ident
    later = threading.Timer(0.05, signal.pthread_kill, [main, signal.SIGINT])
    later.daemon = True
    later.start()


def stopped() -> int:
    """The status of a command that Ctrl-C has stopped, whose output is all written.

    A command of its own process ends here. XLA may be amid a compilation and Orbax amid
    a checkpoint, and their threads can crash while Python takes itself apart. What they
    leave is what a kill leaves.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # by `_interrupt`
        os._exit(STOPPED)
    return STOPPED
