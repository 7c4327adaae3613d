"""Shows runs in a browser, live: what they learn and what their memory does.

    python -m train.serve --workdir=runs/copy
    python -m train.serve --workdir=runs --port=8090

It only reads. A run that trains can be shown by any number of servers.
"""

import dataclasses
import sys
from pathlib import Path

from . import cli
from .runs.commands import spelled
from .serving.runs import Runs, names_below
from .serving.server import (
    HOST,
    PORT,
    address,
    bind,
    check_packages,
    is_loopback,
    serve,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Shows the runs in a folder in a browser, while they train or later.

    The page shows the learning curves, the newest answer, and the memory and the heads
    at each checkpoint. For programs, there are /api/loss and other paths.
    """

    workdir: Path = Path("runs")
    """Folder of a run, or of several."""
    port: int = PORT
    """Port to listen on; 0 takes any that is free."""
    host: str = HOST
    """Address to listen on. By default, only this computer can reach the page.
    With 0.0.0.0, everybody in the network can."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m train.serve")
    with cli.readable_errors():
        check_packages()
        cli.keep_compilations()
        runs = open_runs(flags.workdir)
        with bind(flags.host, flags.port, "port") as bound:
            print(f"{flags.workdir} is shown at {address(bound)}; Ctrl-C ends this.")
            if not is_loopback(bound):
                print("Everybody who can reach this computer can see it.")
            cli.finish_output()
            serve(bound, runs)
    return 0


def open_runs(folder: Path) -> Runs:
    """The runs in a folder.

    Raises:
      ValueError: if there is none.
    """
    single = (folder / "config.json").is_file()
    if not single and not names_below(folder):
        raise ValueError(
            f"workdir: got {folder}, want the folder of a run, with a config.json, or "
            f"one of several; {spelled('python -m train.main')} makes one"
        )
    return Runs(folder, single=single)


if __name__ == "__main__":
    sys.exit(main())
