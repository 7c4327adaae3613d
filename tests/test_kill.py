"""Runs that are ended at random moments, see `tests/kill.py` for many more of them."""

import kill
import pytest


@pytest.mark.slow
def test_runs_that_are_ended_at_random_end_as_the_unbroken_ones():
    # Runs of several seeds and studies take longer.
    assert (
        kill.main(["--kills=8", "--interrupts=2", "--seed=38", "--kinds", "one seed"])
        == 0
    )
