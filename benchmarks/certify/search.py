"""Searches an invariant of a machine, which `check` may then prove.

The search computes in plain float64 and rounds nothing outward. It begins with the
first step and adds what each step leads to, widened a little, until nothing is new.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from benchmarks.certify.certificate import (
    NOWHERE_ELSE,
    OFFSETS,
    REACH,
    Array,
    Contents,
    Invariant,
    Weighting,
)
from benchmarks.certify.machine import Machine
from benchmarks.certify.plan import AHEAD, START, UNWRITTEN, Plan, Stage

_UNIT = 2.0**-24
_STEPS = 300
_INITIAL = 1e-6
# The offsets of slots that a head comes to, and one that is far.
_AHEAD, _FAR = OFFSETS[REACH:], REACH + 1


class NotFoundError(ValueError):
    """The bounds grow without end."""


class Reads(NamedTuple):
    """What may have been read: a centre, moved towards some points, and in a box."""

    centre: Array
    towards: Array
    radius: Array


@dataclasses.dataclass
class Search:
    """A search for one range of the number of slots.

    Attributes:
      slack: the fraction by which all that a step leads to is widened.
    """

    machine: Machine
    plan: Plan
    slots: tuple[int, int]
    slack: float

    def __post_init__(self) -> None:
        self._rounding = 4.3 * self.slots[1] * _UNIT  # of a slot, in all writes
        self.read = {START: NOWHERE_ELSE}
        self.write = {START: NOWHERE_ELSE}
        # The least and the largest add vectors, by stage and kind.
        self.added: dict[str, dict[int, tuple[Array, Array]]] = {}

    def run(self) -> Invariant:
        """The invariant.

        Raises:
          NotFoundError: if there is none, as far as it goes.
        """
        before = np.zeros(1)
        for _ in range(_STEPS):
            self._round()
            after = np.concatenate(
                [
                    np.hstack(each)
                    for each in (*self.read.values(), *self.write.values())
                ]
            )
            if len(after) == len(before) and np.allclose(before, after, 1e-5, 1e-18):
                return self._invariant()
            before = after
        raise NotFoundError(
            f"slots {self.slots}: the bounds grow after {_STEPS} rounds"
        )

    def _invariant(self) -> Invariant:
        """All of it in short numbers."""

        def short(weightings: dict[str, Weighting]) -> dict[str, Weighting]:
            names = self.plan.names
            return {
                name: Weighting(_short(near), float(_short(far)), float(_short(mass)))
                for name, (near, far, mass) in sorted(weightings.items())
                if name in names
            }

        contents = {}
        for stage in self.plan.stages:
            centre, radius = self._contents(stage)
            contents[stage.name] = Contents(np.round(centre, 6), _short(radius))
        return Invariant(self.slots, short(self.read), short(self.write), contents)

    def _round(self) -> None:
        """A step from every cell that is reached so far."""
        reads = {START: [_nothing(self.machine)]}
        for stage in self.plan.stages:
            if stage.name in self.read:
                reads[stage.name] = self._read_after(stage)
        for stage in self.plan.stages:
            cell = 0
            for before in stage.before:
                for read in reads.get(before, ()):
                    self._from(stage, before, read, 0 if stage.keeps else cell)
                    cell += 1
            if stage.name not in reads and stage.name in self.read:
                reads[stage.name] = self._read_after(stage)

    def _from(self, stage: Stage, before: str, read: Reads, kind: int) -> None:
        """Adds what follows from one set of reads, for all inputs.

        What it writes is of that kind, or, if it keeps symbols, of the input's.
        """
        low, high = emitted(self.machine, stage.inputs, read)
        size = self.machine.slot_size
        head = size + 6
        for part, move, states in (
            (slice(0, head), stage.read_move, self.read),
            (slice(head, 2 * head), stage.write_move, self.write),
        ):
            new = weighting(
                low[:, part], high[:, part], move, states[before], self.slots
            )
            wider = 1 + self.slack
            old = states.get(stage.name, NOWHERE_ELSE)
            if not max(new.far, new.mass, *new.near) < 1:
                raise NotFoundError(
                    f"slots {self.slots}: stage {stage.name!r} after {before!r}: the "
                    "bounds of a weighting grow without end"
                )
            states[stage.name] = Weighting(
                np.maximum(old.near, new.near * wider),
                max(old.far, new.far * wider),
                max(old.mass, new.mass * wider),
            )
        place = slice(2 * head + size, 2 * head + 2 * size)
        least, most = np.tanh(low[:, place]), np.tanh(high[:, place])
        ends = self.added.setdefault(stage.name, {})
        for i in range(len(stage.inputs)):
            old_least, old_most = ends.get(kind + i, (least[i], most[i]))
            ends[kind + i] = (
                np.minimum(least[i], old_least),
                np.maximum(most[i], old_most),
            )

    def _most(self, stages: set[str], offset: int) -> float:
        """The weight of a write head at an offset, in steps of these stages."""
        return max(
            (self.write[s].at(offset) for s in stages & {*self.write}), default=0
        )

    def _touched(self, stages: set[str], offsets: tuple[int, ...]) -> float:
        """All weights that a slot gets that is once at each of these offsets."""
        near = sum(self._most(stages, offset) for offset in offsets)
        return near + self.slots[1] * self._most(stages, _FAR)

    def _unwritten(self, stages: set[str], offsets: tuple[int, ...]) -> float:
        """The size of a slot after these writes."""
        return _INITIAL + self._touched(stages, offsets) + self._rounding

    def _contents(self, stage: Stage) -> Contents:
        """What a slot holds that the stage has written."""
        stages = self.plan.until(stage.name)
        before = self._unwritten(stages, _AHEAD if stage.keeps else OFFSETS)
        after = self._touched(self.plan.names, _AHEAD)
        after += sum(
            self._most(self.plan.after(stage.name, -o), o) for o in OFFSETS[:REACH]
        )
        missing = self.write[stage.name].elsewhere + self.slots[1] * _UNIT
        ends = self.added[stage.name]
        least, most = np.stack([ends[i] for i in sorted(ends)], axis=1)
        apart = before + missing + 2.05 * after + self._rounding
        radius = ((most - least) / 2 + apart) * (1 + self.slack) + 1e-6
        return Contents((least + most) / 2, radius)

    def _read_after(self, stage: Stage) -> list[Reads]:
        stages = self.plan.until(stage.name) & {*self.added}
        present = [self._contents(self.plan.stage(s)) for s in sorted(stages)]
        unwritten = self._unwritten(stages, OFFSETS)
        zeros = np.zeros((1, self.machine.slot_size))
        kinds = np.concatenate([zeros, *(each.centre for each in present)])
        radius = np.concatenate([zeros + unwritten, *(e.radius for e in present)]).max(
            0
        )
        elsewhere = self.read[stage.name].elsewhere
        wrong = 2.1 * self.slots[1] * _UNIT

        def around(centre: Array, own: Array | float) -> Reads:
            rest = own + elsewhere * radius + wrong
            return Reads(centre, elsewhere * (kinds - centre), rest)

        if stage.reads in (AHEAD, UNWRITTEN):
            offsets = _AHEAD if stage.reads == AHEAD else OFFSETS
            return [around(zeros[0], self._unwritten(stages, offsets))]
        return [
            around(*each) for each in zip(*self._contents(self.plan.stage(stage.reads)))
        ]


def emitted(machine: Machine, inputs: Array, read: Reads) -> tuple[Array, Array]:
    """The least and the largest of what the controller's output gives, `[k, P]`."""
    num_inputs = inputs.shape[1]
    for_x, for_read = machine.inner[:num_inputs], machine.inner[num_inputs:]
    middle = inputs @ for_x + read.centre @ for_read + machine.inner_bias
    generators = np.concatenate([read.towards, np.diag(read.radius)]) @ for_read
    corners = len(read.towards)

    def ends(images: Array) -> tuple[Array, Array]:
        """Of moves towards corners and within the box, with images `[..., n, q]`."""
        towards, box = images[..., :corners, :], images[..., corners:, :]
        box = np.abs(box).sum(-2)
        low, high = np.min(towards, -2, initial=0), np.max(towards, -2, initial=0)
        return low - box, high + box

    low, high = ends(generators)
    slopes = 1 - np.tanh([middle + low, middle + high]) ** 2
    crosses = (middle + low) * (middle + high) < 0
    least, most = slopes.min(0), np.where(crosses, 1.0, slopes.max(0))
    typical, unsure = (least + most) / 2, (most - least) / 2
    low_sum, high_sum = ends((generators * typical[:, None, :]) @ machine.outer)
    wrong = unsure * np.maximum(-low, high) + 1e-5
    sizes = np.abs(machine.outer).sum(0) + np.abs(machine.outer_bias)
    radius = wrong @ np.abs(machine.outer) + 256 * _UNIT * sizes
    value = np.tanh(middle) @ machine.outer + machine.outer_bias
    return value + low_sum - radius, value + high_sum + radius


def weighting(
    low: Array, high: Array, move: int, previous: Weighting, slots: tuple[int, int]
) -> Weighting:
    """The weighting after a step, from the ends of what the head emits, `[k, M + 6]`.

    The largest of what follows from each of the k inputs.
    """
    strength = np.logaddexp(0, high[:, -6])
    gate, stays = _sigmoid(high[:, -5]), 1 - _sigmoid(low[:, -5])
    power = 1 + np.logaddexp(0, low[:, -1])
    small, large = np.exp(low[:, -4:-1]), np.exp(high[:, -4:-1])
    shift = large / (large + small.sum(-1, keepdims=True) - small)
    least = small / (small + large.sum(-1, keepdims=True) - large)
    content = np.minimum(1, np.exp(2 * strength) / slots[0])
    here = 1 - previous.elsewhere - slots[1] * _UNIT
    peak = (1 - gate) * here * least[:, move + 1]

    def shifted(offset: int) -> Array:
        moved = [shift[:, j + 1] * previous.at(offset + move - j) for j in (-1, 0, 1)]
        return stays * np.sum(moved, 0)

    def after(gated: Array) -> float:
        growth = 1 + 3e-3 + 2 * slots[1] * _UNIT
        ratio = gated / peak * (1 + 2 * slots[1] * _UNIT)
        return float(np.max(ratio**power * growth)) if np.all(peak > 0) else np.inf

    edges = [shifted(sign * (REACH + i)) for sign in (-1, 1) for i in (1, 2)]
    farthest = np.max([*edges, 1.1 * previous.far * stays], 0)
    norm = gate * content ** (1 - 1 / power) + sum(edges) + stays * previous.mass
    return Weighting(
        near=np.array([after(gate * content + shifted(offset)) for offset in OFFSETS]),
        far=after(gate * content + farthest),
        mass=after(norm),
    )


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _nothing(machine: Machine) -> Reads:
    zeros = np.zeros(machine.slot_size)
    return Reads(zeros, np.zeros((0, len(zeros))), zeros)


def _short(values: Array | float) -> Array:
    """Rounded up to five digits."""
    values = np.asarray(values, np.float64)
    unit = 10.0 ** (np.floor(np.log10(np.maximum(values, 1e-300))) - 4)
    up = np.ceil(values / unit) * unit
    return np.reshape([float(f"{value:.5g}") for value in up.flat], up.shape)
