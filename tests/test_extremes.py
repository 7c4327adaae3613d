"""A quick search for gradients that overflow in `unroll` and not in a scan of `step`.

`python -m tests.extremes` makes longer ones.
"""

import pytest
from extremes import Kind, compare


@pytest.mark.optimized
@pytest.mark.slow
@pytest.mark.parametrize("kind", [0, 2])
def test_a_gradient_is_finite_where_that_of_a_scan_is(kind):
    wrong, num_finite = compare(Kind.draw(kind), range(24), exactly=False)
    assert not wrong
    assert num_finite > 12
