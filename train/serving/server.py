"""The server: a socket, which is bound before anything else happens, and its process.

    python -m train.serving.server FD FOLDER

is the process beside a run that was started with --serve. It gets the socket from that
run, and ends when its input does, that is, with the run.
"""

import errno
import importlib.util
import ipaddress
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from .maker import Maker
from .runs import Runs
from .watcher import Watcher

PORT = 8088
HOST = "127.0.0.1"
# What the extra `serve` installs.
PACKAGES = ("starlette", "uvicorn")
# How much later than the run beside it the server is served by the system.
_NICER = 10
_REASONS = {
    errno.EADDRINUSE: "which is in use, want a free port",
    errno.EACCES: "which this user may not use, want a port from 1024",
    errno.EPERM: "which this user may not use, want a port from 1024",
}


def check_packages() -> None:
    """Raises a `ValueError` if a package that the server needs is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"serve: the live view needs {missing[0]}; pip install 'ntm_jax[serve]'"
        )


def bind(host: str, port: int, flag: str) -> socket.socket:
    """A socket that listens, so that the port is ours from here on.

    Args:
      host: a name or an address of this computer.
      port: 0 lets the system choose a free one.
      flag: that gave the port, for the messages.

    Raises:
      ValueError: if that is not possible.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"{flag}: got {port}, want a port from 0 to 65535")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError):
        raise ValueError(
            f"host: got {host!r}, want an address of this computer"
        ) from None
    bound = socket.socket(family, kind)
    try:
        if os.name == "posix":  # or a port would be in use for a minute after its end
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise ValueError(
                f"host: got {host!r}, want an address of this computer"
            ) from None
        reason = _REASONS.get(error.errno or 0, f"but {error.strerror}")
        raise ValueError(f"{flag}: got {port}, {reason}") from None
    return bound


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this computer can reach the socket."""
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback


def address(bound: socket.socket) -> str:
    """Where a browser on this computer finds the server."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(bound: socket.socket, runs: Runs, *, with_parent: bool = False) -> None:
    """Serves until the process is told to end.

    Args:
      bound: the socket.
      runs: to show.
      with_parent: end at once when the input ends, that is, when the parent does.
    """
    import uvicorn

    from .app import make_app

    watcher = Watcher(runs, Maker())
    if with_parent:
        end_with_input(watcher)
    app = make_app(runs, watcher, loopback=is_loopback(bound))
    config: Any = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    try:
        uvicorn.Server(config).run(sockets=[bound])
    finally:
        watcher.close()


def end_with_input(watcher: Watcher) -> None:
    """Lets this process end when its input does. It only reads, so it can just end."""

    def wait() -> None:
        sys.stdin.buffer.read()
        watcher.close()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def main(arguments: list[str]) -> int:
    """The process beside a run."""
    number, folder = arguments
    if hasattr(os, "nice"):
        os.nice(_NICER)
    with socket.socket(fileno=int(number)) as bound:
        serve(bound, Runs(Path(folder), single=True), with_parent=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
