"""Which slots a step keeps, and whether it has to look at all slots to find them.

It does not if content moves no weighting by more than the tolerance, nor if the
weighting is so flat that no K slots have more than the tolerance: it does not matter
then which are kept, and content counts as the same at all slots.
"""

import jax.numpy as jnp
from jax import Array, lax

from ntm_jax.arrays import select
from ntm_jax.heads import Addressing
from ntm_jax.sparse import bounds
from ntm_jax.sparse.kinds import Access, Held
from ntm_jax.sparse.reach import reached
from ntm_jax.sparse.search import Found, everywhere, nearby


def find(
    access: Access,
    memory: Array,
    directions: Array,
    held: Held,
    addressing: Addressing,
    mask: Array | None,
) -> tuple[Found, Array, Array]:
    """The slots of H heads. The arguments are those of `address`. No gradients.

    Returns:
      What was found; `bound`, `[..., H]`; and whether the step looked at all slots,
      bool `[...]`.
    """
    memory, directions, held, addressing = lax.stop_gradient(
        (memory, directions, held, addressing)
    )
    num_slots, batch = memory.shape[-2], memory.shape[:-2]
    none = jnp.zeros_like(addressing.gate)
    if held.slots.shape[-1] == num_slots:
        # All slots are kept: nothing is to be found.
        direction = jnp.zeros_like(addressing.key)
        found = Found(held.slots, none, none, none, direction)
        return found, none, jnp.ones(batch, bool)
    near = reached(access, held, addressing, num_slots)
    moved = bounds.moved_by_content(
        near.weights, addressing.strength, addressing.gate, addressing.gamma, num_slots
    )
    matters = moved > access.tolerance
    if mask is not None:
        matters = matters & mask[..., None]

    def without_content() -> tuple[Found, Array, Array]:
        found = nearby(access, near, addressing, none, num_slots)
        return found, moved + found.dropped, jnp.zeros(batch, bool)

    def with_content() -> tuple[Found, Array, Array]:
        flat = bounds.flat(near, addressing, directions, num_slots)
        is_flat = held.slots.shape[-1] * flat.largest <= access.tolerance
        needed = jnp.any(matters & ~is_flat, axis=-1)
        share = jnp.where(matters, 1 / num_slots, 0).astype(moved.dtype)
        even = nearby(access, near, addressing, share, num_slots)
        found = lax.cond(
            jnp.any(needed),
            lambda: everywhere(access, memory, near, addressing),
            lambda: even,
        )
        found = select(needed, found, even)
        # Where content is left out, it does not count as even.
        of_flat = jnp.where(matters, jnp.minimum(moved, flat.moved), moved)
        of_content = jnp.where(needed[..., None], 0, of_flat)
        return found, of_content + found.dropped, needed

    found, bound, searched = lax.cond(jnp.any(matters), with_content, without_content)
    return found, jnp.minimum(bound, 1), searched
