"""Says in one line why JAX has ended a process; a filter of its standard error.

JAX ends a process of several by itself if another one is missing, from a thread that
Python never hears of, with a page of its own log. So the standard error of each process
goes through a process with this file as its program: it drops that page, and
prints what it means. It imports nothing that takes time.
"""

import json
import re
import sys

# How JAX's log begins a line: its level, and the time.
_LOG = re.compile(r"^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ ")
_FATAL = re.compile(r"^F\d{4} |^terminate called")
# Lines of C++ that nobody asked for.
_NOISE = re.compile(
    r"^\[Gloo\]|^Additional GRPC|^:[A-Z_]+:|^RPC: /xla\.|^The tasks have crashed"
    r"|^\. This is only expected|^=== Source Location|^\S+\.(h|cc):\d+$"
    r"|^\d+(,\d+)*$|^\s*$"
)
_GO_ON = (
    "see the output of that process, then start the same command in all processes: a "
    "run goes on from its last checkpoint"
)


def in_words(page: str, told: dict) -> str:
    """What JAX's last words mean.

    Args:
      page: all that it has said.
      told: of this process: `process`, `processes`, `address`, `start`, `heartbeat`,
        and `hosts` once they are known.
    """
    if "stopped sending heartbeats" in page:
        ids = re.search(r"stopped sending heartbeats\):\s*([\d, \n]+)", page)
        return f"{_who(re.findall('[0-9]+', ids[1]) if ids else [], told)} {_GO_ON}"
    if "incarnation" in page or "already in error state" in page:
        return (
            f"process_id: got one number in two processes{_in_id(page)}, want each of "
            f"0 to {told['processes'] - 1} once; or a process has been started again "
            "while the others still ran"
        )
    if "Unexpected task" in page:
        return (
            f"num_processes: got {told['processes']}, but process 0 was started with a "
            "smaller number, want the same in all processes"
        )
    if "RegisterTask" in page:
        return (
            f"num_processes: got {told['processes']}, but not all of them met at "
            f"{told['address'] or 'the coordinator'} within {told['start']} s, want "
            "each started once, with numbers (--process_id) from 0 on; "
            "--start_timeout lets them wait longer"
        )
    if re.search("Heartbeat|PollForError|Socket closed|UNAVAILABLE", page):
        return f"{_who(['0'], told)} {_GO_ON}"
    last = re.sub(r"^.*absl::Status: ", "", _LOG.sub("", page.strip()))
    return f"JAX has ended this process: {last.partition(chr(10))[0]}"


def _in_id(page: str) -> str:
    found = re.search(r"\b(\d+) unexpectedly tried|Task \((\d+)\)", page)
    return f" ({found.group(1) or found.group(2)})" if found else ""


def _who(ids: list[str], told: dict) -> str:
    """The processes that are missing, as the start of a sentence."""
    hosts = told.get("hosts", [])
    names = [
        f"process {i}" + (f" on {hosts[int(i)]}" if int(i) < len(hosts) else "")
        for i in dict.fromkeys(ids)
    ]
    return (
        f"{' and '.join(names) or 'another process'} of {told['processes']}: has "
        f"ended, hangs or cannot be reached (--heartbeat_timeout is "
        f"{told['heartbeat']} s);"
    )


def main() -> int:
    """Reads to the end; what begins with a zero byte is told by the process itself."""
    told: dict = {}
    page: list[str] = []
    fatal = in_log = False
    for raw in sys.stdin.buffer:
        line = raw.decode(errors="replace")
        if line.startswith("\0"):
            told.update(json.loads(line[1:]))
            continue
        fatal = fatal or bool(_FATAL.match(line))
        is_log = bool(_LOG.match(line))
        if fatal or is_log or (in_log and _NOISE.match(line)):
            page.append(line)
            in_log = True
            continue
        if _NOISE.match(line) and line.startswith("[Gloo]"):
            continue
        in_log = False
        sys.stderr.buffer.write(raw)
        sys.stderr.buffer.flush()
    if fatal:
        print(f"error: {in_words(''.join(page), told)}", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
