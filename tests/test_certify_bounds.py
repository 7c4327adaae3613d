"""The bounds of a certificate hold: those of the arithmetic, and of a real step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ntm_jax
from benchmarks.certify import certificate, intervals, machine, plan, rounding
from benchmarks.certify.__main__ import CERTIFICATES
from benchmarks.certify.certificate import OFFSETS, REACH, Weighting
from benchmarks.certify.intervals import Interval
from benchmarks.certify.slots import Slots
from benchmarks.certify.step import Vectors, emitted, image, weighting
from ntm_jax import tasks
from ntm_jax.machine import named_step

PLAN = plan.reverse_string()


@pytest.fixture(scope="module")
def trained():
    return ntm_jax.pretrained("reverse_string")


@pytest.fixture(scope="module")
def weights(trained):
    return machine.of(*trained)


@pytest.fixture(scope="module")
def invariant():
    return certificate.load(CERTIFICATES / "reverse_string.json").invariants[0]


numbers = st.floats(-50, 50)
widths = st.floats(0, 5)
fractions = st.floats(0, 1)
OPERATIONS = {
    "add": (lambda x, y: x + y, np.add),
    "subtract": (lambda x, y: x - y, np.subtract),
    "multiply": (lambda x, y: x * y, np.multiply),
    "divide": (lambda x, y: x / intervals.exp(y), lambda x, y: x / np.exp(y)),
    "hull": (intervals.hull, lambda x, y: x + 0.5 * (y - x)),
}
FUNCTIONS = {
    "exp": np.exp,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "tanh_slope": lambda x: 1 / np.cosh(x) ** 2,
}


def within(x, low, width):
    return min(low + x * width, low + width)


def holds(interval, values):
    """Whether it has these, which longdouble rounds itself a little."""
    slack = 1e-18 * np.abs(values)
    assert np.all(interval.lo <= values + slack)
    assert np.all(values - slack <= interval.hi)


@pytest.mark.parametrize("name", OPERATIONS)
@given(numbers, widths, fractions, numbers, widths, fractions)
def test_operations_hold_all_results(name, a, da, x, b, db, y):
    ours, exact = OPERATIONS[name]
    result = ours(
        Interval(np.array(a), np.array(a + da)), Interval(np.array(b), np.array(b + db))
    )
    point = [np.longdouble(within(*each)) for each in ((x, a, da), (y, b, db))]
    holds(result, exact(*point))
    if name != "divide":
        assert result.hi - result.lo < 2000


@pytest.mark.parametrize("name", FUNCTIONS)
@given(numbers, widths, fractions)
def test_functions_hold_all_results(name, a, da, x):
    result = getattr(intervals, name)(Interval(np.array(a), np.array(a + da)))
    holds(result, FUNCTIONS[name](np.longdouble(within(x, a, da))))


@given(st.integers(0, 2**32 - 1))
def test_products_and_softmax_hold_all_results(seed):
    rng = np.random.default_rng(seed)
    low = rng.normal(size=(3, 5))
    high = low + rng.exponential(0.1, size=low.shape) * rng.integers(0, 2, low.shape)
    point = low + rng.random(low.shape) * (high - low)
    matrix = rng.normal(size=(5, 4)) * 10.0 ** rng.integers(-9, 9, (5, 1))
    exact = np.sum(
        point[..., None].astype(np.longdouble) * matrix.astype(np.longdouble), axis=-2
    )
    holds(Interval(low, high) @ matrix, exact)
    powers = np.exp(point.astype(np.longdouble))
    ratios = powers / powers.sum(-1, keepdims=True)
    holds(intervals.softmax(Interval(low, high)), ratios)


def test_an_interval_has_its_ends_in_order():
    for low, high in ((1.0, 0.0), (np.nan, 0.0), (0.0, np.nan)):
        with pytest.raises(ValueError, match="want lo <= hi"):
            Interval(np.array(low), np.array(high))
    with pytest.raises(ValueError, match="divisor"):
        _ = Interval.of(1.0) / Interval(np.array(0.0), np.array(1.0))


FLOAT32 = {
    "tanh": (jnp.tanh, np.tanh, (1e-6, 20)),
    "exp": (jnp.exp, np.exp, (1e-6, 80)),
    "sigmoid": (jax.nn.sigmoid, lambda x: 1 / (1 + np.exp(-x)), (1e-6, 80)),
    "softplus": (jax.nn.softplus, lambda x: np.logaddexp(0, x), (1e-6, 80)),
    "log": (lambda x: jnp.log(jnp.abs(x)), lambda x: np.log(np.abs(x)), (1e-30, 9)),
    "rsqrt": (
        lambda x: jax.lax.rsqrt(jnp.abs(x)),
        lambda x: 1 / np.sqrt(np.abs(x)),
        (1e-16, 1e3),
    ),
}


@pytest.mark.parametrize("name", FLOAT32)
def test_functions_in_float32_are_as_exact_as_is_assumed(name):
    ours, exact, (least, most) = FLOAT32[name]
    sizes = np.geomspace(least, most, 200_000).astype(np.float32)
    x = np.concatenate([-sizes, sizes])
    want = exact(x.astype(np.float64))
    wrong = np.abs(np.asarray(jax.jit(ours)(x)) - want)
    size = np.maximum(np.abs(want), 1 if name == "log" else 0)
    assert np.max(wrong / size) < rounding.FUNCTION


# The step, beside that of the library.


@functools.partial(jax.jit, static_argnames="config")
def steps(params, states, x, config):
    """One step of many machines, and what their heads emit."""
    state, logits, interface = named_step(params, states, x, config, "x")
    return state, logits, interface.read[..., 0, :], interface.write[..., 0, :]


def drawn(reads: Vectors, rng, count):
    """Vectors of a set, most of them at its ends."""
    kinds = len(reads.spread)
    parts = rng.dirichlet(np.full(kinds + 1, 0.1), count)[:, :kinds]
    rest = reads.radius * rng.choice([-1, 1, 0.3], (count, len(reads.radius)))
    return reads.centre + parts @ reads.spread + rest


def drawn_weightings(bounds: Weighting, rng, count, num_slots, place):
    """Weightings within bounds, many of them at these."""
    weights = np.zeros((count, num_slots))
    far = np.minimum(bounds.far, bounds.mass / num_slots)
    weights[:] = far * rng.choice([0, 1], (count, 1))
    for offset in OFFSETS:
        weights[:, place + offset] = bounds.at(offset) * rng.choice([0, 0.5, 1], count)
    weights[:, place] = 0
    weights[:, place] = 1 - weights.sum(1)
    return weights


def test_a_real_step_is_within_the_bounds(trained, weights, invariant):
    """Of every cell, from random states of the invariant, with 128 slots."""
    params, config = trained
    rng, count, num_slots, place = np.random.default_rng(0), 64, 128, 60
    slots = Slots(invariant, PLAN)
    size = config.slot_size
    for stage in PLAN.stages:
        for before in {*stage.before} - {plan.START}:
            for number, reads in enumerate(slots.read_after(PLAN.stage(before))):
                x = stage.inputs[number % len(stage.inputs)]
                states = ntm_jax.initial_state(params, config, batch_shape=(count,))
                states = states.replace(
                    memory=rng.uniform(-1, 1, (count, num_slots, size)),
                    read_weights=drawn_weightings(
                        invariant.read[before], rng, count, num_slots, place
                    )[:, None],
                    write_weights=drawn_weightings(
                        invariant.write[before], rng, count, num_slots, place
                    )[:, None],
                    reads=drawn(reads, rng, count)[:, None],
                )
                states = jax.tree.map(lambda leaf: jnp.asarray(leaf, "float32"), states)
                inputs = jnp.broadcast_to(jnp.asarray(x, "float32"), (count, len(x)))
                new, _, read, write = steps(params, states, inputs, config)
                bounds = emitted(weights, x, reads)
                both = np.concatenate([read, write], axis=-1)
                places = slice(0, both.shape[-1])
                assert np.all(bounds.lo[places] <= both)
                assert np.all(both <= bounds.hi[places])
                head = size + 6
                for kind, move, part in (
                    ("read", stage.read_move, bounds[:head]),
                    ("write", stage.write_move, bounds[head : 2 * head]),
                ):
                    old = getattr(invariant, kind)[before]
                    limits = weighting(part, move, old, invariant.slots)
                    found = np.asarray(getattr(new, f"{kind}_weights"))[:, 0]
                    is_within(found, place + move, limits)


def is_within(found, place, limits):
    """Checks that weightings `[B, N]` with the heads at a place are within bounds."""
    for offset, limit in zip(OFFSETS, limits.near):
        assert found[:, place + offset].max() <= limit, offset
    near = np.abs(np.arange(found.shape[1]) - place) <= REACH
    assert found[:, ~near].max() <= limits.far
    assert found[:, ~near].sum(1).max() <= limits.mass


@pytest.mark.slow
def test_real_sequences_stay_within_the_invariant(trained, invariant):
    params, config = trained
    num_slots, length = 128, 64
    state = ntm_jax.initial_state(params, config, batch_shape=(8,))
    task = tasks.get("reverse_string")
    batch = task.sample(jax.random.key(3), 8, length=(length, length))
    run = jax.jit(functools.partial(ntm_jax.trace, config=config))
    found = run(params, batch.inputs, state=state).states
    slots = Slots(invariant, PLAN)
    symbols = np.asarray(batch.inputs[:length, :, 1]).astype(int)
    read = write = 0
    for step, name in enumerate(PLAN.schedule(length)):
        stage = PLAN.stage(name)
        read, write = read + stage.read_move, write + stage.write_move
        for kind, place in (("read", read), ("write", write)):
            weightings = np.asarray(getattr(found, f"{kind}_weights"))[step, :, 0]
            turned = np.roll(weightings, num_slots // 2 - place, axis=1)
            is_within(turned, num_slots // 2, getattr(invariant, kind)[name])
        sets = slots.read_after(stage)
        for one, vector in enumerate(np.asarray(found.reads)[step, :, 0]):
            which = symbols[read - 1, one] if len(sets) > 1 else 0
            box = image(sets[which], np.eye(config.slot_size))
            assert np.all((box.lo <= vector) & (vector <= box.hi)), step
