"""What the slots of the memory hold, according to an invariant.

A write head comes to a slot once. Before and after, the slot is once at each offset
near the head, and far from it at all other steps; `timeline` checks that. The sums of
these weights bound by how much the slot changes.
"""

import numpy as np

from benchmarks.certify import rounding
from benchmarks.certify.certificate import OFFSETS, Invariant
from benchmarks.certify.intervals import Array
from benchmarks.certify.plan import AHEAD, UNWRITTEN, Plan, Stage
from benchmarks.certify.step import UnprovenError, Vectors

# What no entry of the memory exceeds; checked.
_LARGEST = 1.05
# Of the initial memory, which is 1e-6 everywhere.
_INITIAL = 1e-6
# An offset that is not near.
_FAR = 1 + max(OFFSETS)


class Slots:
    """What the slots hold, according to an invariant."""

    def __init__(self, invariant: Invariant, plan: Plan) -> None:
        self.invariant, self.plan = invariant, plan
        self.steps = invariant.slots[1]
        before = plan.names
        drifts = [self.drift(each) + self.unwritten(before) for each in before]
        if (most := 1 + max(drifts)) > _LARGEST:
            raise UnprovenError(f"a slot may hold {most:.3g}, want at most {_LARGEST}")

    def passing(self, stages: set[str], offset: int) -> float:
        """What a write head adds at most to the slot at an offset, in such steps."""
        writes = self.invariant.write
        return max((writes[each].at(offset) for each in stages), default=0.0)

    def ahead(self, stage: str) -> float:
        """The size of a slot that the write head has not passed, before that stage."""
        stages = self.plan.until(stage)
        near = sum(self.passing(stages, o) for o in OFFSETS if o > 0)
        return self._size(near + self.steps * self.passing(stages, _FAR))

    def unwritten(self, stages: set[str]) -> float:
        """The size of a slot that the write head has not written, after such steps."""
        near = sum(self.passing(stages, o) for o in OFFSETS)
        return self._size(near + self.steps * self.passing(stages, _FAR))

    def drift(self, stage: str) -> float:
        """By how much a slot changes after a stage has written it."""
        stages = self.plan.names
        near = sum(self.passing(stages, o) for o in OFFSETS if o > 0)
        behind = sum(
            self.passing(self.plan.after(stage, -o), o) for o in OFFSETS if o < 0
        )
        far = self.steps * self.passing(stages, _FAR)
        # A write changes an entry M by w (a - e M).
        change = (near + behind + far) * (1 + _LARGEST)
        return rounding.SAFE * change + rounding.of_memory(self.steps, _LARGEST)

    def written(self, stage: Stage) -> float:
        """How far a slot is at most from the add vector that a stage wrote to it."""
        if stage.keeps:
            size = self.ahead(stage.name)
        else:
            size = self.unwritten(self.plan.until(stage.name))
        weight = self.invariant.write[stage.name].elsewhere
        weight += rounding.of_sum(self.steps)
        return rounding.SAFE * (size + weight) + self.drift(stage.name)

    def read_after(self, stage: Stage) -> list[Vectors]:
        """What may be read at such a step: a set for each symbol, or one."""
        unwritten = self.unwritten(self.plan.until(stage.name))
        present = self.plan.until(stage.name)
        contents = [self.invariant.contents[each] for each in sorted(present)]
        kinds = np.concatenate([each.centre for each in contents])
        radius = np.concatenate([each.radius for each in contents]).max(0)
        radius = np.maximum(radius, unwritten)
        elsewhere = self.invariant.read[stage.name].elsewhere * rounding.SAFE
        wrong = rounding.of_read(self.invariant.slots[1], _LARGEST)
        kinds = np.concatenate([kinds, np.zeros_like(kinds[:1])])

        def around(centre: Array, own: Array | float) -> Vectors:
            rest = (own + elsewhere * radius + wrong) * rounding.SAFE
            return Vectors(centre, elsewhere * (kinds - centre), rest)

        if stage.reads in (AHEAD, UNWRITTEN):
            size = self.ahead(stage.name) if stage.reads == AHEAD else unwritten
            return [around(np.zeros_like(kinds[0]), size)]
        return [around(*each) for each in zip(*self.invariant.contents[stage.reads])]

    def _size(self, weight: float) -> float:
        wrong = rounding.of_memory(self.steps, _LARGEST)
        return _INITIAL + weight * rounding.SAFE + wrong
