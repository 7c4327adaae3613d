"""Runs that are ended at random moments, see `tests/kill.py` for many more of them."""

import kill
import pytest


@pytest.mark.slow
def test_runs_that_are_ended_at_random_end_as_the_unbroken_ones():
    kinds = ["--kinds", "one seed", "two seeds"]  # a study takes as long as both
    assert kill.main(["--kills=8", "--interrupts=2", *kinds]) == 0
