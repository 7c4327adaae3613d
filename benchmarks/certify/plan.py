"""What a certificate states: how a machine goes about its task, stage by stage.

A step belongs to a stage. At every step of a stage each head moves by as many slots as
the stage says, and the read head then reads a slot of the kind that the stage says.
Slots are counted from that where both heads begin, 0, and modulo the number of slots.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np

START = "start"
# What a slot can be that no stage has written: neither passed by the write head, or so.
AHEAD, UNWRITTEN = "ahead", "unwritten"


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """Steps at which a machine does the same.

    Attributes:
      name: of the stage.
      inputs: `[k, I]`, what the input can be: one vector for each symbol, or only one.
      before: the stages that the step before can belong to; `START` if there is none.
      read_move: slots by which the read head moves: -1, 0 or 1.
      write_move: the same of the write head.
      reads: what is read: the name of a stage, for a slot that it has written;
        `UNWRITTEN`, for a slot that the write head has not written; `AHEAD`, for one
        that it has not passed either.
      keeps: whether the slot that is written holds the symbol of the input from now on.
      answers: whether the output is a symbol: that which is read `"now"`, or that which
        was read at the step `"before"`.
    """

    name: str
    inputs: np.ndarray
    before: tuple[str, ...]
    read_move: int
    write_move: int
    reads: str
    keeps: bool = False
    answers: Literal["now", "before"] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """How a machine does a task.

    Attributes:
      task: its name.
      stages: all of them.
      targets: `[k, O]`, 1 or -1: the signs of the logits that answer with a symbol.
      schedule: from the length of a sequence, the stages of its steps.
      answer: from the length and the number of answers before, the place in the
        sequence of the symbol that is due.
    """

    task: str
    stages: tuple[Stage, ...]
    targets: np.ndarray
    schedule: Callable[[int], list[str]]
    answer: Callable[[int, int], int]

    @property
    def names(self) -> set[str]:
        """Of all stages."""
        return {stage.name for stage in self.stages}

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next(stage for stage in self.stages if stage.name == name)

    def after(self, name: str, steps: int = 1) -> set[str]:
        """The stages that can be that many steps after one."""
        names = {name}
        for _ in range(steps):
            names = {each.name for each in self.stages if names & {*each.before}}
        return names

    def until(self, name: str) -> set[str]:
        """The stages that earlier steps can belong to, before a step of that stage."""
        found: set[str] = set()
        todo = [name]
        while todo:
            new = {*self.stage(todo.pop()).before} - found - {START}
            found |= new
            todo += new
        return found

    def kinds(self, reads: str) -> int:
        """How many boxes there are for what is read."""
        if reads in (AHEAD, UNWRITTEN):
            return 1
        stage = self.stage(reads)
        return len(stage.inputs) if stage.keeps else self.cells(stage)

    def cells(self, stage: Stage) -> int:
        """How many pairs there are of an input and what was read before."""
        before = (self.stage(name).reads for name in stage.before if name != START)
        reads = sum(map(self.kinds, before)) + (START in stage.before)
        return len(stage.inputs) * reads

    def longest(self, num_slots: int) -> int:
        """The length of the longest sequence with no more steps than slots."""
        lengths = itertools.count(1)
        return next(n for n in lengths if len(self.schedule(n + 1)) > num_slots)


def reverse_string() -> Plan:
    """Both heads advance over the string; then the read head goes back.

    At the first answer it stays, since it is where the last symbol was written.
    """
    ask = np.array([[0.0, 0.0, 1.0]])
    both = "first", "answer"
    return Plan(
        task="reverse_string",
        stages=(
            Stage("store", np.eye(3)[:2], (START, "store"), 1, 1, AHEAD, keeps=True),
            Stage("first", ask, ("store",), 0, 1, "store", answers="now"),
            Stage("answer", ask, both, -1, 1, "store", answers="now"),
        ),
        targets=np.array([[-1.0], [1.0]]),
        schedule=lambda n: ["store"] * n + ["first"] + ["answer"] * (n - 1),
        answer=lambda n, answered: n - 1 - answered,
    )


def copy(num_bits: int = 8) -> Plan:
    """The read head waits at the beginning, and then advances over the vectors.

    It does so from the delimiter on. So it is one slot ahead of the answer, and reads
    what the delimiter has left there in the end.
    """
    bits = np.array(list(itertools.product([0.0, 1.0], repeat=num_bits)))
    vectors = np.pad(bits, ((0, 0), (0, 1)))
    delimiter, none = np.eye(num_bits + 1)[num_bits:], np.zeros((1, num_bits + 1))
    both = "delimiter", "answer"
    return Plan(
        task="copy",
        stages=(
            Stage("store", vectors, (START, "store"), 0, 1, UNWRITTEN, keeps=True),
            Stage("delimiter", delimiter, ("store",), 1, 1, "store"),
            Stage("answer", none, both, 1, 1, "store", answers="before"),
            Stage("last", none, both, 1, 1, "delimiter", answers="before"),
        ),
        targets=2 * bits - 1,
        schedule=lambda n: (
            ["store"] * n + ["delimiter"] + ["answer"] * (n - 1) + ["last"]
        ),
        answer=lambda n, answered: answered,
    )


PLANS = {"reverse_string": reverse_string, "copy": copy}
