"""Access to a few slots: the dense machine's numbers if it keeps all, else bounds."""

import dataclasses
import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from machines import (
    MACHINES,
    make_config,
    random_inputs,
    random_params,
    random_state,
    slow_unless,
)
from tiny import TINY

import ntm_jax
from ntm_jax import Access, fit, heads
from ntm_jax.addressing import unit_key
from ntm_jax.sparse import rows, search, through_time
from ntm_jax.sparse.address import address
from ntm_jax.sparse.bounds import moved_by_content
from ntm_jax.sparse.kinds import Held, is_first, weights_at
from ntm_jax.sparse.reach import reached
from ntm_jax.sparse.start import from_dense
from train.training.batches import batch_of
from train.training.loop import update
from train.training.measure import evaluate, evaluation_key
from train.training.population import member
from train.training.state import init_states

pytestmark = pytest.mark.usefixtures("quick_compilations")
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-11)
KINDS = ["window:3", "sparse:3"]
RARE = sorted({*MACHINES} - {"default"})


def dense_weights(held, num_slots):
    every = jnp.broadcast_to(
        jnp.arange(num_slots, dtype=jnp.int32), (*held.rest.shape, num_slots)
    )
    return weights_at(every, held, num_slots)


def as_dense(state):
    """The dense state with the same weightings."""
    num_slots = state.memory.shape[-2]
    reading = Held(state.read_slots, state.read_weights, state.read_rest)
    writing = Held(state.write_slots, state.write_weights, state.write_rest)
    return ntm_jax.NTMState(
        memory=state.memory,
        read_weights=dense_weights(reading, num_slots),
        write_weights=dense_weights(writing, num_slots),
        reads=state.reads,
        controller=state.controller,
    )


@pytest.mark.parametrize("name", slow_unless((), MACHINES, RARE))
@pytest.mark.usefixtures("x64")
def test_with_all_slots_values_and_gradients_are_those_of_the_dense_machine(name):
    config = make_config(**MACHINES[name])
    params = random_params(config, dtype=jnp.float64)
    xs = random_inputs(3, 2, dtype=jnp.float64)
    mask = jnp.array([[True, True], [True, False], [True, True]])

    def loss(params, xs, **how):
        state, ys = ntm_jax.unroll(params, xs, config=config, mask=mask, **how)
        return jnp.sum(jnp.sin(ys)) + jnp.sum(jnp.cos(state.memory)), ys

    def results(**how):
        function = functools.partial(loss, **how)
        both = jax.value_and_grad(function, argnums=(0, 1), has_aux=True)
        return jax.jit(both)(params, xs)

    jax.tree.map(close, results(access="window:5"), results(implementation="autodiff"))


@functools.cache
def wide():
    config = make_config(num_slots=12, num_read_heads=2)
    params = random_params(config, dtype=jnp.float64)
    # Heads that hold sharp weightings, and look at content now and then.
    for kind in ("read_heads", "write_heads"):
        bias = params[kind]["bias"]
        params[kind]["bias"] = bias.at[:, 4].set(-7).at[:, 8].set(9)
    return params, config


@pytest.mark.parametrize("access", slow_unless((), KINDS, KINDS[1:]))
@pytest.mark.usefixtures("x64")
def test_a_step_is_as_far_from_the_dense_one_as_its_bound_allows(access):
    params, config = wide()
    dense = random_state(params, config, batch_shape=(40,))
    dense = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), dense)
    sharp = {
        name: jax.nn.softmax(9 * jnp.log(getattr(dense, name)))
        for name in ("read_weights", "write_weights")
    }
    kept = Access.parse(f"{access}:0.05")
    assert kept is not None
    state = from_dense(dense.replace(**sharp), kept)
    state = state.replace(bound=0 * state.bound, dropped=0 * state.dropped)
    x = random_inputs(40, dtype=jnp.float64)
    step = jax.jit(functools.partial(ntm_jax.step, config=config))
    new, _ = step(params, state, x)
    exact, _ = step(params, as_dense(state), x)
    got = as_dense(new)
    moved = jnp.concatenate(
        [
            got.read_weights - exact.read_weights,
            got.write_weights - exact.write_weights,
        ],
        axis=-2,
    )
    moved = jnp.max(jnp.sum(jnp.abs(moved), axis=-1) / 2, axis=-1)
    assert jnp.all(moved <= new.bound + 1e-12)
    assert 0 < jnp.sum(new.searches) < 40  # some look at all slots, some do not
    looked = new.searches > 0
    close(new.bound[looked], new.dropped[looked])
    close(moved[looked], new.dropped[looked], atol=1e-9)
    for weights in (got.read_weights, got.write_weights):
        close(jnp.sum(weights, axis=-1), 1)
    close(new.total, jnp.sum(new.memory, axis=-2))
    close(new.directions, jnp.sum(unit_key(new.memory), axis=-2))
    close(new.reads, ntm_jax.read(state.memory, got.read_weights))


@pytest.mark.parametrize("gate", [-6.0, 0.5])
@pytest.mark.usefixtures("x64")
def test_beside_equal_slots_the_gradient_is_that_of_the_dense_machine(gate):
    config = make_config(num_slots=40)
    params = random_params(config, dtype=jnp.float64)
    for kind in ("read_heads", "write_heads"):
        params[kind]["bias"] = params[kind]["bias"].at[:, 4].add(gate)
    around = jnp.array([0.25, 0.5, 0.05])
    weights = jnp.full((1, 40), 0.2 / 37).at[0, 10:13].set(around)
    rows = jax.random.normal(jax.random.key(3), (3, 3), jnp.float64)
    dense = random_state(params, config)
    dense = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), dense)
    dense = dense.replace(
        memory=jnp.full((40, 3), 0.3).at[10:13].set(rows),
        read_weights=weights,
        write_weights=weights,
    )
    kept = Access.parse("sparse:5:0")
    assert kept is not None
    x = random_inputs(dtype=jnp.float64)

    def answer(params, state):
        new, y = ntm_jax.step(params, state, x, config=config)
        return jnp.sum(jnp.sin(3 * y)) + jnp.sum(jnp.cos(new.reads))

    gradients = jax.jit(jax.grad(answer))
    new, wanted = (gradients(params, s) for s in (from_dense(dense, kept), dense))
    near = functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-10)
    jax.tree.map(near, new, wanted)


@pytest.mark.usefixtures("x64")
def test_content_moves_no_more_than_its_bound():
    rng, count, n = np.random.default_rng(0), 1000, 6
    gamma, strength = 1 + rng.exponential(5, count), rng.exponential(2, count)
    gate, sharp = rng.uniform(size=count), rng.integers(1, 100, (count, 1))
    before = rng.dirichlet(np.ones(n), count) ** sharp
    kept = (1 - gate[:, None]) * before / before.sum(-1, keepdims=True)
    content = np.exp(strength[:, None] * rng.choice([-1, 0.1, 1], (count, n)))
    whole = kept + gate[:, None] * content / content.sum(-1, keepdims=True)
    powers = (weights ** gamma[:, None] for weights in (kept, whole))
    without, exact = (power / power.sum(-1, keepdims=True) for power in powers)
    moved = np.abs(exact - without).sum(-1) / 2
    numbers = (jnp.asarray(number) for number in (kept, strength, gate, gamma))
    bound = jax.jit(functools.partial(moved_by_content, num_slots=n))(*numbers)
    assert np.all(moved <= bound + 1e-12)
    assert np.max(moved / bound) > 0.5  # it is not far too large


def test_rows_are_taken_and_put_with_their_gradients():
    memory, out = random_inputs(2, 4), random_inputs(2, 2, seed=3)
    slots = jnp.array([[0, 3], [2, 4]])  # the last is none

    def ours(memory, new):
        taken, memory = rows.take(memory, jnp.minimum(slots, 3))
        memory = rows.put(memory, slots, new)
        again, memory = rows.take(memory, jnp.array([[3, 3], [2, 1]]))
        return jnp.sum(jnp.sin(taken)) + jnp.sum(jnp.cos(again)) + jnp.sum(memory**2)

    def plain(memory, new):
        b = jnp.arange(2)[:, None]
        taken = memory[b, jnp.minimum(slots, 3)]
        memory = memory.at[b, slots].set(new, mode="drop")
        again = memory[b, jnp.array([[3, 3], [2, 1]])]
        return jnp.sum(jnp.sin(taken)) + jnp.sum(jnp.cos(again)) + jnp.sum(memory**2)

    got, want = (
        jax.jit(jax.value_and_grad(function, (0, 1)))(memory, out)
        for function in (ours, plain)
    )
    jax.tree.map(functools.partial(close, rtol=1e-6, atol=1e-6), got, want)


def test_a_search_keeps_the_best_slots():
    weights = jnp.array([0.4, 0.1, 0.0, 0.0, 0.2, 0.3])
    assert Access("window", 3).keep(weights, 6).tolist() == [5, 0, 1]
    assert Access("sparse", 3).keep(weights, 6).tolist() == [0, 4, 5]
    assert Access("sparse", 9).num_kept(6) == 6
    assert is_first(jnp.array([2, 0, 2, 0])).tolist() == [True, True, False, False]
    slots, weights = jnp.array([[5, 0, 1]]), jnp.array([[0.1, 0.8, 0.1]])
    held = Held(slots, weights, jnp.zeros(1))
    still = heads.Addressing(
        key=jnp.ones((1, 2)),
        strength=jnp.ones(1),
        gate=jnp.zeros(1),
        shift=jnp.array([[0.0, 0.0, 1.0]]),
        gamma=jnp.ones(1),
    )
    for access in (Access("window", 3), Access("sparse", 3)):
        near = reached(access, held, still, 6)
        found = search.nearby(access, near, still, jnp.zeros(1), 6)
        assert sorted(found.slots[0].tolist()) == [0, 1, 2]
        close(found.dropped, 0, atol=1e-7)


@pytest.mark.parametrize(
    "text", ["window", "window:0", "window:x", "dense:3", "sparse:3:2", "all:3", 7, ""]
)
def test_other_texts_are_no_access(text):
    with pytest.raises(ValueError, match=r"^access: got"):
        Access.parse(text)


def test_an_access_is_read_as_it_is_written():
    assert Access.parse("dense") is Access.parse(None) is None
    for text in ("window:9", "sparse:4:0.5"):
        assert str(Access.parse(text)) == text


def test_chunks_of_masked_steps_are_skipped(monkeypatch):
    config = make_config()
    params, xs = random_params(config), random_inputs(26, 2)
    mask = jnp.arange(26)[:, None] < jnp.array([[7, 3]])
    made = []

    def counted(*args, **named):
        jax.debug.callback(lambda: made.append(1))
        return named_step(*args, **named)

    named_step = through_time.named_step
    monkeypatch.setattr(through_time, "named_step", counted)
    run = functools.partial(ntm_jax.unroll, params, config=config, access="sparse:2")
    end, ys = run(xs, mask=mask)
    jax.effects_barrier()
    assert len(made) == 10  # two chunks of five steps
    exact_end, exact = run(xs[:7], mask=mask[:7])
    near = functools.partial(np.testing.assert_allclose, rtol=1e-6)
    jax.tree.map(near, (end, ys[:7]), (exact_end, exact))
    assert ys.shape[0] == 26
    assert not jnp.any(ys[7:])


def test_training_leaves_out_the_steps_after_the_last_answer(monkeypatch):
    masks = {}
    unroll = ntm_jax.unroll

    def watched(*args, mask=None, state=None, **how):
        masks[type(state)] = mask
        return unroll(*args, mask=mask, state=state, **how)

    monkeypatch.setattr(ntm_jax, "unroll", watched)
    for access in ("dense", "window:3"):
        config = dataclasses.replace(TINY, access=access)
        state = member(init_states(config), 0)
        batch = batch_of(config, 0, 0)
        jax.eval_shape(functools.partial(update, config=config), state, batch)
    assert masks[ntm_jax.NTMState] is None
    assert masks[ntm_jax.SparseState].shape == batch.inputs.shape[:2]


def test_a_step_saves_what_it_keeps_for_the_backward_pass():
    config = make_config(slot_size=20, num_slots=1000)
    params = random_params(config)

    def loss(params, xs):
        ys = ntm_jax.unroll(params, xs, config=config, access="window:5")[1]
        return jnp.sum(ys)

    xs = random_inputs(400, 4)
    program = jax.jit(jax.grad(loss)).lower(params, xs).compile()
    analysis = program.memory_analysis()
    assert analysis is not None
    # The rows from which two heads shift, half as much for all else, and two memories.
    rows, memory = 2 * (5 * 3) * 20, 1000 * 20
    most = 4 * 4 * (400 * 1.5 * rows + 2 * memory)
    assert analysis.temp_size_in_bytes <= most


@pytest.mark.parametrize("shape", [(0, 2), (3, 0)])
@pytest.mark.parametrize("masked", [False, True])
def test_no_steps_and_no_sequences_have_no_outputs_and_no_gradient(shape, masked):
    config = make_config()
    params, xs = random_params(config), random_inputs(*shape)
    mask = jnp.ones(shape, bool) if masked else None

    def outputs(params):
        _, ys = ntm_jax.unroll(params, xs, config=config, mask=mask, access="sparse:2")
        return jnp.sum(ys), ys.shape[:-1]

    gradient, found = jax.grad(outputs, has_aux=True)(params)
    assert found == shape
    assert not any(jnp.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_what_does_not_go_together_is_one_clear_error():
    config = make_config()
    params, xs = random_params(config), random_inputs(3)
    state = ntm_jax.initial_state(params, config, access="window:3")
    call = functools.partial(ntm_jax.unroll, params, xs, config=config)
    with pytest.raises(ValueError, match=r"^access, state: got 'window:3' and a state"):
        call(state=state, access="window:3")
    with pytest.raises(ValueError, match=r"^reset: got flags with access='window:3'"):
        call(state=state, reset=jnp.zeros(3, bool))
    with pytest.raises(ValueError, match=r"^implementation: got 'fast' with access="):
        call(state=state, implementation="fast")
    with pytest.raises(TypeError, match=r"^state: got SparseState, want an NTMState"):
        ntm_jax.trace(params, xs, config=config, state=state)
    slots = jnp.zeros((1, 4), jnp.int32)
    wrong = state.replace(
        access=Access("window", 4), read_slots=slots, write_slots=slots
    )
    with pytest.raises(ValueError, match=r"^state.read_weights: got shape \[1, 3\]"):
        fit.check_fit("x", params, wrong, xs[0], config)
    n: Any = export.symbolic_shape("n", constraints=["n >= 3"])[0]
    with pytest.raises(ValueError, match=r"^num_slots, batch_shape: got the symb"):
        ntm_jax.initial_state(params, config, num_slots=n, access="window:3")


@pytest.mark.slow
def test_an_evaluation_says_what_was_dropped():
    config = dataclasses.replace(TINY, access="window:3")
    keys = evaluation_key(0)[None]
    params = init_states(config).params
    ask = functools.partial(evaluate, params, config, keys=keys, num_sequences=1)
    (result,) = ask(length=2, num_slots=9)
    assert 0 <= result["dropped"] <= result["bound"] <= 1
    assert 0 <= result["searches"] <= 5
    with pytest.raises(ValueError, match=r"^memory: a sequence needs at least .* GB"):
        ask(length=2, num_slots=2**31 - 1)
    with pytest.raises(ValueError, match=r"^access: got 'window:3', want 'dense'"):
        dataclasses.replace(config, model="lstm")


@pytest.mark.rare
@pytest.mark.parametrize(
    "access", [Access("window", 1), Access("sparse", 4), Access("sparse", 36)]
)
@pytest.mark.parametrize("strength", [1.0, 200.0])
def test_content_beside_the_kept_slots_has_finite_gradients(access, strength):
    rng, heads_with = np.random.default_rng(0), functools.partial(jnp.full, 2)
    memory = jnp.asarray(rng.normal(size=(40, 6)), jnp.float32)
    addressing = heads.Addressing(
        key=memory[jnp.array([7, 20])],
        strength=heads_with(strength),
        gate=heads_with(0.8),
        shift=jnp.array([[0.0, 0.05, 0.95], [0.1, 0.8, 0.1]]),
        gamma=heads_with(2.0),
    )
    slots = jnp.broadcast_to(jnp.arange(access.size, dtype=jnp.int32), (2, access.size))
    held = Held(slots, jnp.full(slots.shape, 0.9 / access.size), heads_with(0.1))
    exact = ntm_jax.address(memory, dense_weights(held, 40), *addressing)

    def found(memory, addressing, weights):
        last = held._replace(weights=weights)
        turned = jnp.sum(unit_key(memory), axis=-2)
        new, _ = address(access, memory, turned, last, addressing, None)
        return jnp.sum(jnp.sin(new.held.weights)), new

    gradient = jax.jit(jax.grad(found, argnums=(0, 1, 2), has_aux=True))
    gradients, new = gradient(memory, addressing, held.weights)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    kept = jnp.take_along_axis(exact, new.held.slots, axis=-1)
    np.testing.assert_allclose(new.held.weights, kept, atol=2e-6)
    np.testing.assert_allclose(new.held.rest, 1 - jnp.sum(kept, axis=-1), atol=2e-6)


@pytest.mark.rare
@pytest.mark.parametrize("access", KINDS)
def test_a_stream_of_donated_states_is_the_sequence(access):
    config = make_config(num_slots=9)
    params, xs = random_params(config), random_inputs(5, 2)
    step = jax.jit(functools.partial(ntm_jax.step, config=config), donate_argnums=1)
    state, ys = (
        ntm_jax.initial_state(params, config, batch_shape=(2,), access=access),
        [],
    )
    for x in xs:
        state, y = step(params, state, x)
        ys.append(y)
    end, whole = ntm_jax.unroll(params, xs, config=config, access=access)
    near = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    near(jnp.stack(ys), whole)
    jax.tree.map(near, state, end)


@pytest.mark.rare
@pytest.mark.optimized
@pytest.mark.parametrize("access", ["window:3", "sparse:40"])
@pytest.mark.parametrize("what", ["values", "gradients"])
@pytest.mark.parametrize("masked", [False, True])
def test_no_step_copies_the_memory_or_passes_over_it(masked, what, access):
    config = make_config(num_slots=1013, num_write_heads=2)
    params, xs = random_params(config), random_inputs(7, 2)
    mask = jnp.arange(7)[:, None] < jnp.array([[5, 3]]) if masked else None

    def loss(params):
        how = {"mask": mask, "access": access}
        return jnp.sum(ntm_jax.unroll(params, xs, config=config, **how)[1])

    function = loss if what == "values" else jax.grad(loss)
    program = jax.jit(function).lower(params).compile().as_text()
    assert program is not None
    found = re.findall(r"= f32\[(?:2,1013|2026),3\]\S* (\w[\w-]*)\(", program)
    assert "scatter" in found or "dynamic-update-slice" in found or "while" in found
    assert found.count("copy") <= 2, found
