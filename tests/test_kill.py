"""Runs that are ended at random moments, see `tests/kill.py` for many more of them."""

import kill
import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "interrupts"), [(2, 1), pytest.param(8, 2, marks=pytest.mark.rare)]
)
def test_runs_that_are_ended_at_random_end_as_the_unbroken_ones(kills, interrupts):
    # Runs of several seeds and studies take longer.
    ends = [f"--kills={kills}", f"--interrupts={interrupts}"]
    assert kill.main([*ends, "--seed=38", "--kinds", "one seed"]) == 0
