"""What a step costs, for any number of slots, of a machine that finds by content."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp

import ntm_jax
from ntm_jax.sparse.start import from_dense
from train.runs.pretrained import load_run

# Steps that look at all of this many slots take a second or two.
_SLOTS_IN_ALL = 1 << 26


def steps(num_slots: int, access: str) -> dict[str, Any]:
    """Microseconds of a step of the shipped machine that stores items, on one core.

    Its memory holds random numbers, so that content differs at all slots.
    """
    params, machine = ntm_jax.pretrained("associative_recall")
    num_steps = max(min(_SLOTS_IN_ALL // num_slots, 4000), 50)
    task = load_run("associative_recall")[1].make_task()
    xs = task.sample(jax.random.key(0), 1, items=num_steps).inputs[:num_steps]
    dense = ntm_jax.initial_state(
        params, machine, num_slots=num_slots, batch_shape=(1,)
    )
    noise = jax.random.normal(jax.random.key(1), dense.memory.shape)
    state: Any = dense.replace(memory=noise)
    kept = ntm_jax.Access.parse(access)
    if kept is not None:
        state = from_dense(state, kept)
    run = jax.jit(functools.partial(ntm_jax.unroll, params, config=machine))
    # Not the first steps, before which all weight is on one slot.
    start = jax.block_until_ready(run(xs, state=state))[0]
    end, taken = start, []
    for _ in range(3):
        began = time.process_time()
        end = jax.block_until_ready(run(xs, state=start))[0]
        taken.append(time.process_time() - began)
    searches = num_steps
    if kept is not None:
        searches = int(jnp.max(end.searches - start.searches))
    return {
        "cpu_microseconds": round(1e6 * min(taken) / num_steps, 1),
        "searches": round(searches / num_steps, 4),
    }
