"""What two processes send each other over a pipe: a line of JSON, then bytes."""

import json
from typing import IO, Any

Header = dict[str, Any]


def send(file: IO[bytes], header: Header, content: bytes = b"") -> None:
    """Writes a header and bytes."""
    line = json.dumps({**header, "size": len(content)}).encode()
    file.write(line + b"\n" + content)
    file.flush()


def receive(file: IO[bytes]) -> tuple[Header, bytes] | None:
    """What `send` wrote; None at the end of the file."""
    line = file.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line)
    content = file.read(header["size"])
    return (header, content) if len(content) == header["size"] else None
