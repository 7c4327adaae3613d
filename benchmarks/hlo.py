"""What a compiled program does at each step, read from its text (HLO).

A kernel is an instruction that a device starts by itself: a fusion, a product, a copy.
What only names or groups values is none.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = .*? ([a-z][\w\-]*)\(")
# Names and groups of values, and the ends of what another instruction has started.
_NO_KERNELS = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("add-dependency", "domain", "opt-barrier", "partition-id", "replica-id"),
    *("while", "call", "conditional", "async-done", "copy-done", "slice-done"),
}


class Counts(NamedTuple):
    """How often a program starts a kernel, and what it knows of its loops.

    Attributes:
      forwards: kernels started in loops of the forward pass; None if unknown.
      backwards: those in loops of the backward pass.
      loops_known: loops of which the compiler knows how often they run.
      loops_unknown: the others.
    """

    forwards: int | None
    backwards: int | None
    loops_known: int
    loops_unknown: int


class _Instruction(NamedTuple):
    name: str
    op: str
    line: str
    is_root: bool

    def called(self, how: str) -> list[str]:
        """The computations that it names after `how=`."""
        found = re.search(rf"\b{how}=(?:\{{([^}}]*)\}}|%?([\w.\-]+))", self.line)
        names = (found[1] or found[2]).split(",") if found else []
        return [name.strip().removeprefix("%") for name in names]

    def is_backwards(self) -> bool:
        """Whether JAX made it for the reverse of something."""
        return "transpose(" in self.line


class Program:
    """The computations of a compiled program, by name.

    >>> loop = '''
    ... %twice (x: (s32[], f32[])) -> (s32[], f32[]) {
    ...   %x = (s32[], f32[]) parameter(0)
    ...   ROOT %y = (s32[], f32[]) fusion(%x), kind=kLoop
    ... }
    ... ENTRY %main (x: (s32[], f32[])) -> (s32[], f32[]) {
    ...   %x = (s32[], f32[]) parameter(0)
    ...   ROOT %y = (s32[], f32[]) while(%x), condition=%less, body=%twice, NOTED
    ... }'''
    >>> noted = 'backend_config={"known_trip_count":{"n":"7"}}'
    >>> Program(loop.replace("NOTED", noted)).counts()
    Counts(forwards=7, backwards=0, loops_known=1, loops_unknown=0)
    """

    def __init__(self, text: str) -> None:
        self._computations: dict[str, list[_Instruction]] = {}
        within: list[_Instruction] = []
        for line in text.splitlines():
            if begins := _COMPUTATION.match(line):
                within = self._computations[begins[2]] = []
                if begins[1]:
                    self._entry = begins[2]
            elif found := _INSTRUCTION.match(line):
                within.append(_Instruction(found[2], found[3], line, bool(found[1])))

    def counts(self) -> Counts:
        """Of the whole program, as often as its loops run."""
        loops = [self._trips(loop) for loop in self._loops(self._entry)]
        unknown = loops.count(None)
        kernels = None if unknown else self._kernels_in_loops(self._entry)
        return Counts(
            None if kernels is None else kernels[False],
            None if kernels is None else kernels[True],
            len(loops) - unknown,
            unknown,
        )

    def kernels(self) -> int:
        """Those that are started outside of loops."""
        return self._own_kernels(self._entry)

    def _loops(self, name: str) -> Iterator[_Instruction]:
        for instruction in self._computations.get(name, ()):
            if instruction.op == "while":
                yield instruction
            for callee in self._callees(instruction):
                yield from self._loops(callee)

    def _kernels_in_loops(self, name: str) -> Counter[bool]:
        """How many are started within the loops of a computation: backwards or not."""
        total: Counter[bool] = Counter()
        for instruction in self._computations.get(name, ()):
            if instruction.op == "while":
                (body,) = instruction.called("body")
                trips = self._trips(instruction) or 0
                own = self._own_kernels(body)
                total[instruction.is_backwards()] += trips * own
                for way, number in self._kernels_in_loops(body).items():
                    total[way] += trips * number
            else:
                for callee in self._callees(instruction):
                    total.update(self._kernels_in_loops(callee))
        return total

    def _own_kernels(self, name: str) -> int:
        """Those of a computation outside of its loops; of branches, the most."""
        number = 0
        for instruction in self._computations.get(name, ()):
            number += instruction.op not in _NO_KERNELS
            if instruction.op in ("call", "conditional"):
                callees = map(self._own_kernels, self._callees(instruction))
                number += max(callees, default=0)
        return number

    def _callees(self, instruction: _Instruction) -> list[str]:
        """What it runs as a program of its own, not as one kernel."""
        hows = {
            "while": ("body",),
            "call": ("to_apply",),
            "conditional": (
                "branch_computations",
                "true_computation",
                "false_computation",
            ),
        }
        return [
            name
            for how in hows.get(instruction.op, ())
            for name in instruction.called(how)
        ]

    def _trips(self, loop: _Instruction) -> int | None:
        """How often a loop runs: as XLA notes it, or as its condition compares."""
        if noted := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.line):
            return int(noted[1])
        (condition,) = loop.called("condition")
        by_name = {each.name: each for each in self._computations.get(condition, ())}
        for each in by_name.values():
            if each.is_root and each.op == "compare" and "direction=LT" in each.line:
                operands = re.findall(
                    r"%([\w.\-]+)", each.line.partition("compare(")[2]
                )
                end = by_name.get(operands[1])
                value = end and re.search(r"constant\((\d+)\)", end.line)
                return int(value[1]) if value else None
        return None
