"""Where the heads are at every step of a plan, and what they find there.

The proof of a machine is about slots relative to its heads. This follows the places of
the heads over a memory of N slots, and shows that the slots are what the plan says.
"""

from benchmarks.certify.certificate import REACH
from benchmarks.certify.plan import AHEAD, START, UNWRITTEN, Plan, Stage

# Lengths up to this one are followed, and the longest.
_SHORT = 12


class Timeline:
    """One sequence of a plan.

    Attributes:
      written: when each slot was written, and by which stage.
      symbols: which place of the sequence has the symbol that a slot holds.
      near: at which offsets from the write head each slot was.
    """

    def __init__(self, plan: Plan, length: int, num_slots: int) -> None:
        self.plan, self.length, self.num_slots = plan, length, num_slots
        self.written: dict[int, tuple[int, Stage]] = {}
        self.symbols: dict[int, int] = {}
        self.near: dict[int, set[int]] = {}

    def follow(self) -> None:
        """Follows the sequence; raises a `ValueError` as `check` does."""
        read = write = answered = 0
        last = None
        before = START
        for step, name in enumerate(self.plan.schedule(self.length)):
            stage = self.plan.stage(name)
            _want(before in stage.before, f"stage {name!r} comes after {before!r}")
            read = (read + stage.read_move) % self.num_slots
            write = (write + stage.write_move) % self.num_slots
            self._check_read(stage, read)
            now = self.symbols.get(read)
            if stage.answers:
                due = self.plan.answer(self.length, answered)
                symbol = now if stage.answers == "now" else last
                _want(symbol == due, f"stage {name!r} answers with another symbol")
                answered += 1
            last = now
            for offset in range(-REACH, REACH + 1):
                self._pass(stage, step, (write + offset) % self.num_slots, offset)
            self.written[write] = step, stage
            if stage.keeps:
                self.symbols[write] = len(self.symbols)
            before = name
        _want(answered == self.length, "some answers are missing")

    def _check_read(self, stage: Stage, slot: int) -> None:
        """The slot that is read, before the step writes, is what the stage says."""
        _, writer = self.written.get(slot, (0, None))
        if stage.reads not in (AHEAD, UNWRITTEN):
            found = writer is not None and writer.name == stage.reads
            _want(found, f"slot {slot} is not written by {stage.reads!r}")
            return
        _want(writer is None, f"slot {slot} is written")
        passed = min(self.near.get(slot, {0})) < 0
        _want(stage.reads == UNWRITTEN or not passed, f"slot {slot} is passed")

    def _pass(self, stage: Stage, step: int, slot: int, offset: int) -> None:
        """A slot is once at each offset, and behind the head when the graph says."""
        near = self.near.setdefault(slot, set())
        _want(offset not in near, f"slot {slot} is twice at offset {offset}")
        near.add(offset)
        if offset < 0 and slot in self.written:
            when, writer = self.written[slot]
            _want(step - when == -offset, f"slot {slot} is passed at another time")
            after = self.plan.after(writer.name, -offset)
            _want(stage.name in after, f"slot {slot} is passed in another stage")
        if offset == 0 and stage.keeps:
            _want(min(near) >= 0, f"slot {slot} is passed before it is written")


def check(plan: Plan, fewest: int, most: int) -> None:
    """Follows the shortest sequences and the longest, with the fewest and most slots.

    The place of a head is a sum of the length and the step, each times -1, 0 or 1. What
    is true of these sequences is therefore true of those between them.

    Raises:
      ValueError: if a slot is not what the plan says, or the write head comes near a
        slot in another order than the proof assumes.
    """
    for num_slots in {fewest, most}:
        longest = plan.longest(num_slots)
        for length in {*range(1, min(_SHORT, longest) + 1), longest}:
            Timeline(plan, length, num_slots).follow()


def _want(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(f"plan: {otherwise}")
