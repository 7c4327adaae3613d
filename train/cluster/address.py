"""Where process 0 listens, and the others find it."""

import errno
import os
import socket
import time


def parts_of(address: str) -> tuple[str, int]:
    """The host and the port of `HOST:PORT`; an IPv6 host is in brackets.

    Raises:
      ValueError: if it is something else.

    >>> parts_of("[::1]:1234")
    ('::1', 1234)
    """
    host, _, port = address.rpartition(":")
    in_brackets = host.startswith("[") and host.endswith("]")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) < 2**16
    if not host or (":" in host and not in_brackets) or not is_port:
        raise ValueError(
            f"coordinator_address: got {address!r}, want HOST:PORT, such as "
            "localhost:1234, with a port from 1 to 65535 and an IPv6 host in brackets"
        )
    return (host[1:-1] if in_brackets else host), int(port)


def check_free(address: str) -> None:
    """Checks that process 0 can listen at the port.

    JAX would share a port with another run of JAX, and by that end both.

    Raises:
      ValueError: if another process listens there, or this user may not.
    """
    _, port = parts_of(address)
    for family, anywhere in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        try:
            with socket.socket(family) as probe:
                # A port is free when only connections that have ended are left there.
                probe.setsockopt(
                    socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt"
                )
                probe.bind((anywhere, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                raise ValueError(
                    f"coordinator_address: got {address}, want a port that is free "
                    f"on the host of process 0: {error.strerror}"
                ) from None
            # A host may have no IPv6, or no IPv4.


def check_there(address: str, seconds: float) -> None:
    """Waits until process 0 answers at the address.

    Raises:
      ValueError: if nothing does in time.
    """
    until, why = time.monotonic() + seconds, ""
    while time.monotonic() < until:
        try:
            socket.create_connection(parts_of(address), 5).close()
        except OSError as error:
            why = error.strerror or str(error)
            time.sleep(0.5)
        else:
            return
    raise ValueError(
        f"coordinator_address: got {address}, where no process 0 answers within "
        f"{seconds:g} s ({why}), want the host of process 0 and a port that is free "
        "there; --start_timeout waits longer"
    )
