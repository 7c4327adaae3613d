"""Proves that a machine does its task for every input, and keeps the certificate.

    python -m benchmarks.certify --machine=reverse_string

It searches invariants for ranges of the number of slots, writes them to a file in
benchmarks/records/certificates, and checks the file. If a machine is not proven, the
last line names the cell at which the proof breaks.
"""

import dataclasses
import itertools
from pathlib import Path

from benchmarks.certify import certificate, check, machine, plan
from benchmarks.certify.certificate import Certificate
from benchmarks.certify.search import Search
from benchmarks.records import FOLDER
from train import cli
from train.runs.files import hash_of_arrays

CERTIFICATES = FOLDER / "certificates"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Proves that a machine does its task for every input."""

    machine: str = "reverse_string"
    """Name of a shipped machine, or a .safetensors file in the folder of --out."""
    task: str | None = None
    """Its task: one of those with a plan; None uses the name of the machine."""
    slots: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096, 8192)
    """Numbers of slots, rising; there is an invariant for each range between two."""
    slack: float = 0.001
    """Fraction by which the search widens what a step leads to."""
    out: Path | None = None
    """File of the certificate; None uses benchmarks/records/certificates."""


def prove(flags: Flags) -> Certificate:
    """The certificate of a machine, which is not checked yet.

    Raises:
      ValueError: if a flag has no such value, or no invariant is found.
    """
    task = flags.task or flags.machine
    if task not in plan.PLANS:
        raise ValueError(f"task: got {task!r}, want one of {sorted(plan.PLANS)}")
    if sorted({*flags.slots}) != [*flags.slots] or len(flags.slots) < 2:
        raise ValueError(f"slots: got {flags.slots}, want two or more numbers, rising")
    weights = machine.of(*check.opened(flags.machine, _out(flags).parent))
    invariants = (
        Search(weights, plan.PLANS[task](), slots, flags.slack).run()
        for slots in itertools.pairwise(flags.slots)
    )
    digest = hash_of_arrays(weights)
    return Certificate(flags.machine, digest, task, tuple(invariants))


def _out(flags: Flags) -> Path:
    return flags.out or CERTIFICATES / f"{Path(flags.machine).stem}.json"


def main(arguments: list[str] | None = None) -> None:
    """Searches, writes the certificate, and checks it as it is in the file."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.certify")
    with cli.readable_errors():
        proven, out = prove(flags), _out(flags)
        out.parent.mkdir(parents=True, exist_ok=True)
        certificate.save(out, proven)
        print(check.report(out))


if __name__ == "__main__":
    main()
