"""Programs compiled for devices that are not here, and what is counted in them."""

import importlib.util
import json
import subprocess
import sys

import pytest

from benchmarks import compile as benchmark
from benchmarks import targets
from benchmarks.hlo import Counts, Program

# Two loops; the second is the reverse of the first, has a loop within, and a branch.
PROGRAM = """
%less (x: (s32[], f32[])) -> pred[] {
  %x = (s32[], /*index=1*/f32[]) parameter(0)
  %end = s32[]{:T(128)} constant(6)
  %i = s32[] get-tuple-element(%x), index=0
  ROOT %lt = pred[] compare(%i, %end), direction=LT
}
%until (x: (s32[], f32[])) -> pred[] {
  %x = (s32[], f32[]) parameter(0)
  %end = s32[] get-tuple-element(%x), index=0
  %i = s32[] get-tuple-element(%x), index=0
  ROOT %lt = pred[] compare(%i, %end), direction=LT
}
%inner (x: (s32[], f32[])) -> (s32[], f32[]) {
  %x = (s32[], f32[]) parameter(0)
  %copy = f32[] copy-start(%x)
  %done = f32[] copy-done(%copy)
  ROOT %y = (s32[], f32[]) fusion(%x), kind=kLoop, calls=%outside
}
%outside (x: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  ROOT %y = f32[] tanh(%x)
}
%left (x: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  ROOT %y = f32[] tanh(%x)
}
%right (x: f32[]) -> f32[] {
  ROOT %x = f32[] parameter(0)
}
%outer (x: (s32[], f32[])) -> (s32[], f32[]) {
  %x = (s32[], f32[]) parameter(0)
  %y = f32[] conditional(%x, %x, %x), branch_computations={%left, %right}
  %z = f32[] call(%y), to_apply=%left
  ROOT %all = (s32[], f32[]) while(%x), condition=%less, body=%inner, \
metadata={op_name="jit(f)/transpose(jvp())/while"}
}
ENTRY %main (x: (s32[], f32[])) -> (s32[], f32[]) {
  %x = (s32[], f32[]) parameter(0)
  %start = (s32[], f32[]) fusion(%x), kind=kLoop, calls=%outside
  %y = (s32[], f32[]) while(%start), condition=%END, body=%inner, \
metadata={op_name="jit(f)/jvp()/while"}
  ROOT %z = (s32[], f32[]) while(%y), condition=%until, body=%outer, \
metadata={op_name="jit(f)/transpose(jvp())/while"}, \
backend_config={"known_trip_count":{"n":"3"}}
}
"""


def test_kernels_are_counted_as_often_as_their_loops_run():
    program = Program(PROGRAM.replace("%END", "%less"))
    # 2 in the inner loop; in the outer one also a branch and a call, of one each.
    assert program.counts() == Counts(6 * 2, 3 * (2 + 6 * 2), 3, 0)
    assert program.kernels() == 1


def test_a_loop_that_ends_when_a_value_says_so_is_unknown():
    program = Program(PROGRAM.replace("%END", "%until"))
    assert program.counts() == Counts(None, None, 2, 1)


def test_a_compiler_that_is_not_installed_is_asked_for(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for target in ("h100", "v5e"):
        with pytest.raises(ValueError, match=r"without .* want .*compile"):
            targets.prepare(target)
    targets.prepare("cpu")


@pytest.mark.slow
def test_the_command_compiles_for_the_cpu(capsys):
    sizes = ["--batch_size=2", "--length=5", "--num_slots=8"]
    assert benchmark.main(["--target=cpu", *sizes]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["length"] == 5
    programs = {(each["network"], each["program"]): each for each in told["programs"]}
    assert len(programs) == 7
    assert programs["Flax's LSTM", "forward"]["loops_known"] == 1
    # On a CPU one program serves chunks of every size.
    assert programs["unroll", "gradient"]["loops_unknown"] > 0


# Kernels a step, forwards and backwards, that docs/PERFORMANCE.md records.
RECORDED = {"h100": (23.6, 31.8), "v5e": (56.0, 110.4)}


@pytest.mark.rare
@pytest.mark.optimized
@pytest.mark.parametrize("target", RECORDED)
def test_a_gpu_and_a_tpu_know_every_loop(target):
    for name in targets.NEEDS[target]:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"NOT TESTED: compiling for {target}, for want of {name}")
    # In a process of its own: XLA reads where its tools are once.
    command = [sys.executable, "-m", "benchmarks.compile", f"--target={target}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told = json.loads(output.splitlines()[-1])["programs"]
    programs = {(each["network"], each["program"]): each for each in told}
    assert {each["loops_unknown"] for each in programs.values()} == {0}
    gradient = programs["unroll", "gradient"]
    assert gradient["kernels_forwards"] <= RECORDED[target][0]
    assert gradient["kernels_backwards"] <= RECORDED[target][1]
    if target == "v5e":
        # One launch forwards and one backwards, and what is once around them.
        gradient = programs["pallas", "gradient"]
        assert gradient["kernels_pallas"] == 2
        assert gradient["loops_known"] == 0
        assert gradient["kernels_outside"] <= 67
