"""Which slots are kept: the best of all, or any where no few can matter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import ntm_jax
from ntm_jax import Access, heads
from ntm_jax.addressing import circular_shift, unit_key
from ntm_jax.sparse import bounds, kinds, many
from ntm_jax.sparse.address import address
from ntm_jax.sparse.find import find
from ntm_jax.sparse.kinds import Held, weights_at
from ntm_jax.sparse.reach import reached

pytestmark = pytest.mark.usefixtures("quick_compilations", "x64")
close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-11)


def dense_weights(held, num_slots):
    every = jnp.arange(num_slots, dtype=jnp.int32)
    return weights_at(
        jnp.broadcast_to(every, (*held.rest.shape, num_slots)), held, num_slots
    )


def apart(these, those):
    """How much of a weighting is on other slots."""
    return jnp.sum(jnp.abs(these - those), axis=-1) / 2


def random_heads(rng, count, size=6, reach=1, strength=None):
    """Of `count` sequences with one head each."""
    if strength is None:
        strength = rng.exponential(1, (count, 1))
    numbers = heads.Addressing(
        key=rng.normal(size=(count, 1, size)),
        strength=strength,
        gate=rng.uniform(size=(count, 1)),
        shift=rng.dirichlet(np.ones(2 * reach + 1), (count, 1)),
        gamma=1 + rng.exponential(1, (count, 1)),
    )
    return jax.tree.map(jnp.asarray, numbers)


def random_held(rng, count, kept, num_slots, of_kept, kind="sparse"):
    """One head of each of `count` sequences, with `of_kept` on the kept slots."""
    if kind == "window":
        slots = rng.integers(num_slots, size=(count, 1, 1)) + np.arange(kept)
        slots = slots % num_slots
    else:
        slots = [rng.permutation(num_slots)[:kept] for _ in range(count)]
        slots = np.sort(np.array(slots))[:, None]
    weights = rng.dirichlet(np.ones(kept), (count, 1)) * of_kept
    return Held(
        jnp.asarray(slots, jnp.int32),
        jnp.asarray(weights),
        jnp.asarray(1 - of_kept)[:, :, 0],
    )


@pytest.mark.parametrize(
    ("size", "count"), [(5003, 3), (9000, 200), (5000, 5000), (9, 4)]
)
def test_the_largest_are_those_of_top_k(size, count):
    rng = np.random.default_rng(0)
    weights = np.stack([rng.uniform(size=size), np.arange(size), np.arange(size) // 7])
    weights[0, :3] = -1
    found = np.asarray(many.largest(jnp.asarray(weights), count))
    close(np.take_along_axis(weights, found, axis=-1), lax.top_k(weights, count)[0])
    assert all(len({*row}) == count for row in found.tolist())


@pytest.mark.parametrize("kind", ["window", "sparse"])
def test_a_slot_among_many_is_found_with_its_gradient(kind, monkeypatch):
    rng = np.random.default_rng(0)
    held = random_held(rng, 6, 5, 9, rng.uniform(size=(6, 1, 1)), kind)
    places = jnp.broadcast_to(jnp.arange(9, dtype=jnp.int32), (6, 1, 9))
    slots = held.slots

    def looked_up(weights, rest):
        found = weights_at(places, Held(slots, weights, rest), 9)
        return jnp.sum(jnp.sin(found)), (found, kinds.are_among(places, slots, 9))

    results = []
    for few in (32, 0):
        monkeypatch.setattr(kinds, "FEW", few)
        results.append(jax.value_and_grad(looked_up, (0, 1), has_aux=True)(*held[1:]))
    jax.tree.map(close, *results)


@pytest.mark.parametrize("kind", ["window", "sparse"])
@pytest.mark.parametrize(
    ("kept", "num_slots", "reach"), [(3, 4, 2), (4, 9, 1), (10, 30, 1)]
)
def test_what_is_within_reach_is_a_shift_of_all_slots(kind, kept, num_slots, reach):
    rng = np.random.default_rng(0)
    held = random_held(rng, 9, kept, num_slots, rng.uniform(size=(9, 1, 1)), kind)
    addressing = random_heads(rng, 9, reach=reach)

    @jax.jit
    def both(held, addressing):
        found = reached(Access(kind, kept), held, addressing, num_slots)
        previous = (1 - addressing.gate)[..., None] * dense_weights(held, num_slots)
        shifted = circular_shift(previous, addressing.shift)
        return found, found.largest(), found.smallest(), shifted

    found, largest, smallest, exact = jax.tree.map(np.asarray, both(held, addressing))
    got = np.broadcast_to(found.beyond[..., None], exact.shape).copy()
    for place in np.argwhere(found.first):
        got[(*place[:-1], found.slots[tuple(place)])] = found.weights[tuple(place)]
    close(got, exact)
    near = np.sum(found.first, axis=-1) < num_slots
    close(largest[near], exact.max(-1)[near])
    close(smallest[near], exact.min(-1)[near])
    for slots, first, weights in zip(found.slots, found.first, found.weights):
        assert (
            len({*slots[first].tolist()}) == np.sum(first) == len({*slots[0].tolist()})
        )
        assert not np.any(weights[~first])


def test_a_search_finds_what_the_dense_machine_has():
    """With every strength, the best slots, and what the others have together."""
    rng, kept, num_slots = np.random.default_rng(0), 40, 5003
    strength = jnp.asarray(np.geomspace(0.1, 100, 12)[:, None])
    addressing = random_heads(rng, 12, strength=strength)
    held = random_held(rng, 12, kept, num_slots, rng.uniform(size=(12, 1, 1)))
    memory = jnp.asarray(rng.normal(size=(12, num_slots, 6)))
    memory = memory.at[:, 3000:].set(1e-6)  # never written
    directions = jnp.sum(unit_key(memory), axis=-2)
    access = Access("sparse", kept, tolerance=0)
    look = jax.jit(functools.partial(find, access, mask=None))
    found, bound, searched = look(memory, directions, held, addressing)
    exact = ntm_jax.address(memory, dense_weights(held, num_slots), *addressing)
    of_kept = jnp.take_along_axis(exact, found.slots, axis=-1)
    close(jnp.sort(of_kept, axis=-1)[..., ::-1], lax.top_k(exact, kept)[0], rtol=1e-6)
    close(found.rest, 1 - jnp.sum(of_kept, axis=-1))
    new = Held(found.slots, of_kept, found.rest)
    close(found.dropped, apart(dense_weights(new, num_slots), exact), atol=1e-9)
    assert np.all(searched)
    close(bound, found.dropped)


def test_no_weight_of_a_flat_weighting_is_above_its_bound():
    rng, count, num_slots = np.random.default_rng(0), 400, 50
    addressing = random_heads(rng, count)
    held = random_held(rng, count, 4, num_slots, rng.uniform(size=(count, 1, 1)))
    # Slots as similar or as different as they can be, and random ones.
    chosen = rng.choice([-1.0, 1.0], (count, num_slots, 1), p=[0.7, 0.3])
    memory = np.where(
        np.arange(count)[:, None, None] % 2,
        chosen * np.asarray(addressing.key),
        rng.normal(size=(count, num_slots, 6)),
    )
    directions = jnp.sum(unit_key(jnp.asarray(memory)), axis=-2)
    near = reached(Access("sparse", 4), held, addressing, num_slots)
    bound = bounds.flat(near, addressing, directions, num_slots)
    previous = dense_weights(held, num_slots)
    exact = ntm_jax.address(jnp.asarray(memory), previous, *addressing)
    even = ntm_jax.address(jnp.zeros_like(memory), previous, *addressing)
    assert np.all(jnp.max(exact, axis=-1) <= bound.largest + 1e-9)
    moved = apart(exact, even)
    assert np.all(moved <= bound.moved + 1e-9)
    assert np.max(moved / bound.moved) > 0.6  # they are not far too large
    assert np.max(jnp.max(exact, axis=-1) / bound.largest) > 0.6


@pytest.mark.parametrize("kind", ["window", "sparse"])
def test_a_flat_weighting_is_not_searched_and_is_within_its_bound(kind):
    rng, count, num_slots = np.random.default_rng(0), 300, 600
    addressing = random_heads(rng, count)
    of_kept = np.where(rng.uniform(size=(count, 1, 1)) < 0.5, 0.004, 0.9)
    held = random_held(rng, count, 2, num_slots, of_kept, kind)
    addressing = addressing._replace(
        gate=addressing.gate ** jnp.where(of_kept[:, 0] > 0.5, 30, 1)
    )
    memory = jnp.asarray(rng.normal(size=(count, num_slots, 6)))
    directions = jnp.sum(unit_key(memory), axis=-2)
    mask = jnp.arange(count) % 7 > 0
    access = Access(kind, 2)
    found, bound, searched = jax.jit(functools.partial(find, access))(
        memory, directions, held, addressing, mask=mask
    )
    previous = dense_weights(held, num_slots)
    exact = ntm_jax.address(memory, previous, *addressing)
    # The weights as `address` computes them, from the content that was found.
    even = jnp.where(found.content[..., 0, :1] > 0, 1.0, 0.0)
    gated = (1 - addressing.gate)[..., None] * previous
    gated = gated + even * addressing.gate[..., None] / num_slots
    weights = ntm_jax.sharpen(circular_shift(gated, addressing.shift), addressing.gamma)
    weights = jnp.where(searched[:, None, None], exact, weights)
    of_slots = jnp.take_along_axis(weights, found.slots, axis=-1)
    moved = apart(
        dense_weights(Held(found.slots, of_slots, found.rest), num_slots), exact
    )
    assert np.all(moved[mask] <= bound[mask] + 1e-9)
    close(jnp.sum(of_slots, axis=-1) + found.rest, 1, rtol=1e-6)
    is_flat = ~searched & (even[:, 0, 0] > 0)
    best = jnp.sum(lax.top_k(exact, 2)[0], axis=-1)
    assert np.all(best[is_flat] <= access.tolerance)
    assert not np.any(searched[~mask])
    for those in (searched, is_flat, ~searched & ~is_flat & mask):
        assert np.sum(those) > 20


def test_content_that_is_left_out_beside_a_flat_head_is_in_the_bound():
    """With equal cosines, content is even: one head leaves it out, the other not."""
    num_slots, weights = 600, jnp.array([[[1.0], [0.001]]])
    held = Held(jnp.array([[[4], [7]]], jnp.int32), weights, 1 - weights[..., 0])
    addressing = heads.Addressing(
        key=jnp.ones((1, 2, 6)),
        strength=jnp.zeros((1, 2)),
        gate=jnp.array([[0.015, 0.5]]),
        shift=jnp.broadcast_to(jnp.array([0.0, 1.0, 0.0]), (1, 2, 3)),
        gamma=jnp.ones((1, 2)),
    )
    memory = jnp.ones((1, num_slots, 6))
    directions = jnp.sum(unit_key(memory), axis=-2)
    access = Access("sparse", 1)
    new, _ = jax.jit(functools.partial(address, access, mask=None))(
        memory, directions, held, addressing
    )
    exact = ntm_jax.address(memory, dense_weights(held, num_slots), *addressing)
    moved = apart(dense_weights(new.held, num_slots), exact)
    assert not np.any(new.searched)
    assert moved[0, 0] > 0.01
    assert np.all(moved <= new.bound + 1e-9)
