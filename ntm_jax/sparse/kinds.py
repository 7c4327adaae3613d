"""A weighting of a few slots, and which of them are kept."""

import dataclasses
from typing import Any, Literal, NamedTuple, Self, get_args

import jax.numpy as jnp
from jax import Array

from ntm_jax.checks import check_choice, check_count
from ntm_jax.sparse.many import FEW, largest, places_among, wrapped

Kind = Literal["window", "sparse"]
_WANTED = "'dense', 'window:W', 'sparse:K' or one of these with ':tolerance'"


@dataclasses.dataclass(frozen=True)
class Access:
    """The slots that a weighting keeps, a value.

    >>> Access.parse("window:9")
    Access(kind='window', size=9, tolerance=0.02)
    >>> str(Access("sparse", 4, tolerance=0.001))
    'sparse:4:0.001'

    Attributes:
      kind: `"window"`: neighbouring slots, with the largest weight in the middle.
        `"sparse"`: the slots of the largest weights, anywhere.
      size: K, how many slots; at most all.
      tolerance: a step does not look at all slots if content moves no more than this
        of any weighting to other slots, or if no K slots can have more than this of
        the weighting. With 0, every step looks at all slots.

    Raises:
      TypeError, ValueError: for a field that is not one of these.
    """

    kind: Kind
    size: int
    tolerance: float = 0.02

    def __post_init__(self) -> None:
        check_choice("access", self.kind, get_args(Kind))
        check_count("access", self.size)
        if not 0 <= self.tolerance < 1:
            raise ValueError(
                f"access: got the tolerance {self.tolerance}, want 0 <= tolerance < 1"
            )

    @classmethod
    def parse(cls, text: Any) -> Self | None:
        """The access that a text names, such as `"window:9"`; None for `"dense"`.

        Raises:
          ValueError: for any other text.
        """
        if text is None or isinstance(text, cls):
            return text
        kind, *numbers = text.split(":") if isinstance(text, str) else ("",)
        if kind == "dense" and not numbers:
            return None
        try:
            size, tolerance = int(numbers[0]), float((*numbers, cls.tolerance)[1])
        except (IndexError, ValueError):
            size, tolerance = 0, 0.0
        if kind not in get_args(Kind) or size < 1 or len(numbers) > 2:
            raise ValueError(f"access: got {text!r}, want {_WANTED}")
        return cls(kind, size, tolerance)  # type: ignore[arg-type]

    def __str__(self) -> str:
        text = f"{self.kind}:{self.size}"
        if self.tolerance == Access.tolerance:
            return text
        return f"{text}:{self.tolerance}"

    def num_kept(self, num_slots: int) -> int:
        """K: no more than there are."""
        return min(self.size, num_slots)

    def keep(self, weights: Array, num_slots: int, slots: Array | None = None) -> Array:
        """The slots to keep, int `[..., K]`, each once; for `"sparse"` in order.

        Args:
          weights: `[..., C]`, of C different slots; less than 0 where there is none.
          num_slots: N.
          slots: which slots these are, int `[..., C]`; all in order if not given.
        """
        size = self.num_kept(num_slots)
        if self.kind == "window":
            places = jnp.argmax(weights, axis=-1, keepdims=True)
        else:
            places = largest(weights, size)
        if slots is None:
            kept = places.astype(jnp.int32)
        else:
            kept = jnp.take_along_axis(slots, places, axis=-1)
        if self.kind == "sparse":
            kept = jnp.sort(kept, axis=-1)
        else:
            around = jnp.arange(size, dtype=jnp.int32) - size // 2
            kept = wrapped(
                kept + around.reshape((1,) * (kept.ndim - 1) + (-1,)), num_slots
            )
        return kept


def sources(slots: Array, reach: int, num_slots: int) -> Array:
    """The slots from which each shift from -R to R leads to `slots`: `[..., K, S]`."""
    shifts = jnp.arange(-reach, reach + 1, dtype=jnp.int32)
    return wrapped(
        slots[..., None] - shifts.reshape((1,) * slots.ndim + (-1,)), num_slots
    )


class Held(NamedTuple):
    """A weighting: K slots, and the rest spread evenly over all other slots.

    Attributes:
      slots: int `[..., K]`, each once: neighbours, or in order.
      weights: `[..., K]`.
      rest: `[...]`, the weight of all other slots together.
    """

    slots: Array
    weights: Array
    rest: Array

    def heads(self, who: slice) -> Self:
        """The weightings of some of H heads."""
        return self._replace(
            slots=self.slots[..., who, :],
            weights=self.weights[..., who, :],
            rest=self.rest[..., who],
        )

    def each(self, num_slots: int) -> Array:
        """The weight of each of the other slots, `[...]`."""
        return self.rest / max(num_slots - self.slots.shape[-1], 1)

    def elsewhere(self, weighting: Array) -> Array:
        """How much of the weighting `[..., N]`, of which this is kept, it moves."""
        even = self.each(weighting.shape[-1])[..., None]
        of_all = jnp.sum(jnp.abs(weighting - even), axis=-1)
        of_kept = jnp.sum(jnp.abs(self.weights - even), axis=-1)
        return jnp.maximum(of_all - of_kept, 0) / 2


def joined(*parts: Held) -> Held:
    """The weightings of all heads."""
    slots, weights, rest = zip(*parts)
    return Held(
        jnp.concatenate(slots, axis=-2),
        jnp.concatenate(weights, axis=-2),
        jnp.concatenate(rest, axis=-1),
    )


def as_fields(reading: Held, writing: Held) -> dict[str, Array]:
    """The weightings of the read heads and of the write heads, as a state has them."""
    return {
        "read_slots": reading.slots,
        "read_weights": reading.weights,
        "read_rest": reading.rest,
        "write_slots": writing.slots,
        "write_weights": writing.weights,
        "write_rest": writing.rest,
    }


def weights_at(places: Array, held: Held, num_slots: int) -> Array:
    """The weights `[..., C]` at `places`.

    >>> held = Held(jnp.array([2, 3]), jnp.array([0.5, 0.25]), jnp.array(0.25))
    >>> weights_at(jnp.array([7, 2]), held, num_slots=4).tolist()
    [0.125, 0.5]
    """
    each = held.each(num_slots)[..., None]
    if held.slots.shape[-1] > FEW:
        of_kept, found = places_among(held.slots, places, num_slots)
        of_kept = jnp.take_along_axis(held.weights, of_kept, axis=-1)
        return jnp.where(found, of_kept, each)
    same = places[..., :, None] == held.slots[..., None, :]
    of_kept = jnp.sum(jnp.where(same, held.weights[..., None, :], 0), axis=-1)
    return jnp.where(jnp.any(same, -1), of_kept, each)


def are_among(places: Array, slots: Array, num_slots: int) -> Array:
    """Which of `[..., C]` are among the slots `[..., K]` that are kept."""
    if slots.shape[-1] > FEW:
        return places_among(slots, places, num_slots)[1]
    return jnp.any(places[..., :, None] == slots[..., None, :], axis=-1)


def is_first(slots: Array) -> Array:
    """Whether a slot of `[..., C]` is the first among these with its number."""
    size = slots.shape[-1]
    same = slots[..., :, None] == slots[..., None, :]
    before = jnp.tril(jnp.ones((size, size), bool), -1)
    return ~jnp.any(same & before.reshape((1,) * (slots.ndim - 1) + before.shape), -1)
