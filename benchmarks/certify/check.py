"""Checks a certificate: whether it proves that a machine always does its task.

    python -m benchmarks.certify.check --certificate=reverse_string.json

An invariant says what is true after every step. The check takes every cell, which is an
input and what was read before, and shows by interval arithmetic that the step leads
from every state of the invariant to a state of it, and every answer is right.
"""

import dataclasses
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import ntm_jax
from benchmarks.certify import certificate, intervals, machine, plan, rounding, timeline
from benchmarks.certify.certificate import NOWHERE_ELSE, Invariant, Weighting
from benchmarks.certify.intervals import Interval
from benchmarks.certify.machine import Machine
from benchmarks.certify.plan import START, Plan, Stage
from benchmarks.certify.slots import Slots
from benchmarks.certify.step import UnprovenError, Vectors, emitted, image, weighting
from ntm_jax import NTMConfig
from train import cli
from train.runs.files import hash_of_arrays


class Proof(NamedTuple):
    """What a check found.

    Attributes:
      cells: how many pairs of an input and what was read before, of all invariants.
      margin: the least distance of a logit from 0, on the right side.
      longest: the length of the longest sequence, with the most slots.
    """

    cells: int
    margin: float
    longest: int


class Cell(NamedTuple):
    """A step from all states of a kind, with one input.

    Attributes:
      stage: of the step.
      before: the stage of the step before.
      symbol: the number of the input.
      read: the number of the symbol that was read before; 0 if none was.
      kind: the number of the box for what is written.
    """

    stage: Stage
    before: str
    symbol: int
    read: int
    kind: int


def check(proven: certificate.Certificate, weights: Machine) -> Proof:
    """Checks all invariants of a certificate.

    Raises:
      UnprovenError: at the first step that does not stay within an invariant. The
        message names the cell.
    """
    if proven.weights != hash_of_arrays(weights):
        raise UnprovenError(
            "weights: got others than those that the certificate is about"
        )
    if not proven.invariants:
        raise UnprovenError("invariants: got none, want one at least")
    for before, after in itertools.pairwise(proven.invariants):
        if not before.slots[0] <= after.slots[0] <= before.slots[1] + 1:
            raise UnprovenError(
                f"slots: got {after.slots} after {before.slots}, with a gap"
            )
    the_plan = plan.PLANS[proven.task]()
    proofs = [check_invariant(each, weights, the_plan) for each in proven.invariants]
    return Proof(
        cells=sum(each.cells for each in proofs),
        margin=min(each.margin for each in proofs),
        longest=max(each.longest for each in proofs),
    )


def check_invariant(invariant: Invariant, weights: Machine, plan: Plan) -> Proof:
    """Checks one invariant: for every number of slots in its range.

    Raises:
      UnprovenError: if a step does not stay within it.
    """
    _check_form(invariant, weights, plan)
    timeline.check(plan, *invariant.slots)
    slots = Slots(invariant, plan)
    reads = {stage.name: slots.read_after(stage) for stage in plan.stages}
    reads[START] = [_nothing(weights)]
    cells, margin = 0, np.inf
    for stage in plan.stages:
        from_reads = [_read_logits(read, weights) for read in reads[stage.name]]
        for cell in _cells(stage, reads):
            try:
                hidden = _check_cell(cell, reads, slots, weights)
                margin = min(margin, _margin(cell, hidden, from_reads, plan))
            except UnprovenError as error:
                raise UnprovenError(f"{_describe(cell, invariant)}: {error}") from None
            cells += 1
    return Proof(cells, float(margin), plan.longest(invariant.slots[1]))


def _nothing(weights: Machine) -> Vectors:
    """What was read before the first step: zeros."""
    zeros = np.zeros(weights.slot_size)
    return Vectors(zeros, np.zeros((0, len(zeros))), zeros)


def _cells(stage: Stage, reads: dict[str, list[Vectors]]) -> Iterator[Cell]:
    """All cells of a stage. Each writes a kind of its own, or that of its symbol."""
    number = itertools.count()
    for before in stage.before:
        for read in range(len(reads[before])):
            for symbol in range(len(stage.inputs)):
                kind = symbol if stage.keeps else next(number)
                yield Cell(stage, before, symbol, read, kind)


def _check_cell(
    cell: Cell, reads: dict[str, list[Vectors]], slots: Slots, weights: Machine
) -> Interval:
    """Checks a step from one cell; what its logits get from the controller."""
    stage, invariant, size = cell.stage, slots.invariant, weights.slot_size
    values = emitted(weights, stage.inputs[cell.symbol], reads[cell.before][cell.read])
    head = size + 6
    for kind, part, move, states in (
        ("read", values[:head], stage.read_move, invariant.read),
        ("write", values[head : 2 * head], stage.write_move, invariant.write),
    ):
        previous = NOWHERE_ELSE if cell.before == START else states[cell.before]
        new = weighting(part, move, previous, invariant.slots)
        _check_weighting(kind, new, states[stage.name])
    adding = intervals.tanh(values[2 * head + size : 2 * head + 2 * size])
    centre, radius = (part[cell.kind] for part in invariant.contents[stage.name])
    apart = (adding - centre).largest
    over = apart + slots.written(stage) + rounding.FUNCTION - radius
    if (worst := np.max(over)) > 0:
        raise UnprovenError(f"what is written is outside its box by {worst:.3g}")
    return values[2 * head + 2 * size :]


def _check_weighting(kind: str, new: Weighting, known: Weighting) -> None:
    for name, got, want in zip(Weighting._fields, new, known):
        if np.any(np.asarray(got) > want):
            raise UnprovenError(
                f"{kind} weighting: {name}: got {got}, want at most {want}"
            )


def _read_logits(read: Vectors, weights: Machine) -> Interval:
    """What the logits get from what is read, with the rounding of the product."""
    terms = len(weights.outer) + weights.slot_size + 2
    sizes = read.largest @ np.abs(weights.read_to_logits)
    wrong = 2 * rounding.of_sum(terms) * sizes
    return image(read, weights.read_to_logits) + Interval(-wrong, wrong)


def _margin(
    cell: Cell, hidden: Interval, from_reads: list[Interval], plan: Plan
) -> float:
    """The least distance of a logit from 0, on the right side.

    Raises:
      UnprovenError: if a logit may be on the wrong side.
    """
    if cell.stage.answers is None:
        return np.inf
    if cell.stage.answers == "now":
        pairs = zip(plan.targets, from_reads, strict=True)
    else:
        pairs = [(plan.targets[cell.read], intervals.hull(*from_reads))]
    least = np.inf
    for target, from_read in pairs:
        logits = hidden + from_read
        least = min(least, np.min(np.where(target > 0, logits.lo, -logits.hi)))
    if not least > 0:
        raise UnprovenError(f"a logit may be on the wrong side of 0 by {-least:.3g}")
    return float(least)


def _check_form(invariant: Invariant, weights: Machine, plan: Plan) -> None:
    """Raises `UnprovenError` unless an invariant has all that it should."""
    names = plan.names
    low, high = invariant.slots
    if not 16 <= low <= high:
        raise UnprovenError(
            f"slots: got {low} to {high}, want from 16 on, in this order"
        )
    for part in ("read", "write", "contents"):
        if missing := names - set(getattr(invariant, part)):
            raise UnprovenError(f"{part}: got no stage {min(missing)!r}")
    for stage in plan.stages:
        kinds = plan.kinds(stage.name)
        for name, array in invariant.contents[stage.name]._asdict().items():
            if array.shape != (want := (kinds, weights.slot_size)):
                raise UnprovenError(
                    f"contents: {stage.name}: {name}: got shape {list(array.shape)}, "
                    f"want {list(want)}"
                )


def _describe(cell: Cell, invariant: Invariant) -> str:
    (low, high), stage = invariant.slots, cell.stage
    return (
        f"slots {low} to {high}: stage {stage.name!r} after {cell.before!r}, input "
        f"{stage.inputs[cell.symbol].astype(int).tolist()}, read {cell.read}"
    )


def opened(name: str, folder: Path) -> tuple[Any, NTMConfig]:
    """A machine: a file in that folder, or a shipped one."""
    path = folder / name
    return ntm_jax.load(path) if path.suffix else ntm_jax.pretrained(name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Checks whether a certificate proves what it states."""

    certificate: Path
    """The file of a certificate. A machine that is not shipped is beside it."""


def main(arguments: list[str] | None = None) -> None:
    """Checks the certificate in a file, and says what it proves."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.certify.check")
    with cli.readable_errors():
        print(report(flags.certificate))


def report(path: Path) -> str:
    """What the certificate in a file proves, in words.

    Raises:
      UnprovenError: if it proves nothing.
      ValueError: if the file, or that of its machine, is not what it should be.
    """
    started = time.monotonic()
    proven = certificate.load(path)
    weights = machine.of(*opened(proven.machine, path.parent))
    proof = check(proven, weights)
    ends = [end for each in proven.invariants for end in each.slots]
    return (
        f"{proven.machine}: proven for {min(ends):,} to {max(ends):,} slots and every "
        f"sequence of up to {proof.longest:,} symbols: {proof.cells:,} cells, every "
        f"logit at least {proof.margin:.2f} from 0, "
        f"{time.monotonic() - started:.1f} seconds"
    )


if __name__ == "__main__":
    main()
