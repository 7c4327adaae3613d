"""A quick search for gradients that overflow in `unroll` and not in a scan of `step`.

`python -m tests.extremes` makes longer ones.
"""

import pytest
from extremes import Kind, compare

# Seeds that a search found, and what overflowed.
FOUND = [
    pytest.param(0, [379], id="cotangent_times_cell_of_a_shut_gate"),
    pytest.param(12, [208, 360, 492, 697], id="unit_key_and_slots_of_width_1"),
    # JAX's is finite as a gate's derivative happens to round to 0.
    pytest.param(0, [5464, 7672, 8087, 13255, 15501], id="lstm_and_weightings"),
    pytest.param(
        2, [2094, 7691, 8274, 12651, 18577, 19829], id="controller_that_jax_derives"
    ),
    pytest.param(
        12,
        [1476, 1763, 3928, 5727, 9131, 10407, 12464, 16586],
        id="lstm_and_slots_of_width_1",
    ),
]


@pytest.mark.optimized
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "dtype"), [(0, "float32"), (2, "float32"), (2, "bfloat16")]
)
def test_a_gradient_is_finite_where_that_of_a_scan_is(kind, dtype):
    found = compare(Kind.draw(kind, dtype), range(24), exactly=False)
    assert not found.wrong
    assert found.num_finite > 12


@pytest.mark.optimized
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seeds"), FOUND)
def test_a_gradient_that_was_not_finite_is(kind, seeds):
    found = compare(Kind.draw(kind), seeds, exactly=False)
    assert not found.wrong | found.chance
    assert found.num_finite
