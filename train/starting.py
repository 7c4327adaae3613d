"""The first seconds of a command, in which JAX is imported, and what Ctrl-C does.

`python -m train.main` imports the package `train` first, which calls `prepare`. This
module imports nothing that takes time.
"""

import atexit
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

# The status of a shell's command that SIGINT has ended.
STOPPED = 130


def prepare() -> None:
    """If this process starts as `python -m`, prepares its signals and its output.

    Until `ready`, Ctrl-C ends the process at once, without a traceback: nothing has
    been read or written yet. What the locale cannot print becomes a question mark.
    """
    if sys.argv[:1] != ["-m"]:  # as long as Python looks for the module
        return
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def ready() -> None:
    """From here on, Ctrl-C is a `KeyboardInterrupt`; a second one ends the process."""
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
    later = threading.Timer(0.05, signal.raise_signal, [signal.SIGINT])
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
