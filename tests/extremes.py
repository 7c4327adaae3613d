"""A search for machines whose gradient from `unroll` is worse than that of a scan.

Machines of every kind, sequences of up to eight steps, numbers of either sign from
1e-30 to 1e18 in the parameters, the state and the inputs. Wherever the gradient that
JAX derives of a scan of `step` is finite, that of `unroll` must be finite too, and as
near to the gradient in float64 as float32 allows. It is no fault, but counted, where
the scan's is finite through its rounding alone: in float64 it has numbers larger than
float32 holds, or the scan's is further from it than its largest number.

`tests/test_extremes.py` makes a quick search. `python -m tests.extremes --help` says
how to make a longer one.
"""

import argparse
import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from machines import INPUT_SIZE, LEARNED, make_config, param_shapes

import ntm_jax
from ntm_jax.arrays import reset_where, select

LARGEST, SMALLEST = 18, -30  # exponents of ten
CONTROLLERS = (
    ntm_jax.lstm(4),
    ntm_jax.lstm(3, 2),
    ntm_jax.gru(4),
    ntm_jax.feed_forward(4),
    ntm_jax.feed_forward(3, 2, nn.relu),
)
ACTIVATIONS = ("identity", "tanh", "sigmoid")


@dataclasses.dataclass(frozen=True)
class Kind:
    """What one compiled program can run: a config, and the shape of a batch."""

    config: ntm_jax.NTMConfig
    length: int
    batch: int
    masked: bool
    resets: bool
    dtype: str = "float32"

    @classmethod
    def draw(cls, seed: int, dtype: str = "float32") -> "Kind":
        """A kind of machine and of batch, determined by the seed."""
        rng = np.random.default_rng(seed)

        def choice(options):
            return options[rng.integers(len(options))]

        learned = {name: kind for name, kind in LEARNED.items() if rng.integers(2)}
        reach = int(rng.integers(0, 3))
        config = make_config(
            controller=choice(CONTROLLERS),
            num_slots=int(rng.integers(2 * reach + 1, 7)),
            slot_size=int(rng.integers(1, 4)),
            num_read_heads=int(rng.integers(1, 4)),
            num_write_heads=int(rng.integers(1, 4)),
            shift_range=reach,
            key_activation=choice(ACTIVATIONS),
            add_activation=choice(ACTIVATIONS),
            sharpening=choice(("learned", "learned", "none")),
            head_clip=choice((None, None, None, 20.0)),
            **learned,
        )
        return cls(
            config,
            length=int(choice((1, 1, 2, 3, 4, 6, 8))),
            batch=int(rng.integers(1, 4)),
            masked=bool(rng.integers(2)),
            resets=bool(rng.integers(2)),
            dtype=dtype,
        )


class Case(NamedTuple):
    """One machine with its sequences, in NumPy."""

    params: Any
    state: Any
    xs: Any
    mask: Any
    reset: Any


def numbers(rng, *shape):
    """Of either sign: zeros, ties, all of one size or of any."""
    size = 10.0 ** rng.choice([SMALLEST, 0, 0, LARGEST, rng.uniform(SMALLEST, LARGEST)])
    some = rng.integers(0, 2, shape)
    match rng.choice(7):
        case 0:
            values = size * np.ones(shape)
        case 1:
            values = size * some
        case 2 | 3 | 4:
            values = size * rng.normal(size=shape)
        case 5:
            values = 10.0 ** rng.uniform(SMALLEST, LARGEST, shape)
        case _:
            values = some * 10.0 ** rng.uniform(SMALLEST, LARGEST, shape)
    values = np.minimum(np.abs(values), 10.0**LARGEST)
    return values * rng.choice([-1, 1], shape)


def usual(rng, *shape):
    """Of the size that a machine in use has."""
    return rng.normal(size=shape) * rng.choice([0.1, 1, 5])


@functools.cache
def _shapes(config: ntm_jax.NTMConfig, batch: int) -> tuple[Any, Any]:
    """Of the parameters and the state."""
    params = param_shapes(config)
    start = functools.partial(
        ntm_jax.initial_state, config=config, batch_shape=(batch,)
    )
    return params, jax.eval_shape(start, params)


def draw_case(kind: Kind, seed: int) -> Case:
    """Parameters, state, inputs and flags; a few leaves or all of them extreme."""
    rng = np.random.default_rng(seed)
    share = rng.choice([0.1, 0.3, 1.0])

    def draw(shape):
        return (numbers if rng.uniform() < share else usual)(rng, *shape)

    def focus(shape):
        weights = np.exp(rng.choice([0, 1, 45]) * rng.normal(size=shape))
        return weights / weights.sum(-1, keepdims=True)

    of_params, shapes = _shapes(kind.config, kind.batch)
    params = jax.tree.map(lambda leaf: draw(leaf.shape), of_params)
    state = jax.tree.map(lambda leaf: draw(leaf.shape), shapes).replace(
        read_weights=focus(shapes.read_weights.shape),
        write_weights=focus(shapes.write_weights.shape),
    )
    flags = kind.length, kind.batch
    mask = rng.uniform(size=flags) < rng.choice([0.3, 0.7, 0.9])
    reset = rng.uniform(size=flags) < rng.choice([0.1, 0.4])
    xs = draw((*flags, INPUT_SIZE))
    params, state, xs = jax.tree.map(
        lambda leaf: np.asarray(leaf, jnp.dtype(kind.dtype)), (params, state, xs)
    )
    return Case(
        params,
        state,
        xs,
        mask if kind.masked else None,
        reset if kind.resets else None,
    )


def scan_of_step(params, xs, *, config, state, mask, reset):
    """What `unroll` computes, in the plainest way."""
    initial = ntm_jax.initial_state(params, config, batch_shape=xs.shape[1:-1])

    def body(state, inputs):
        x, mask, reset = inputs
        state = reset_where(reset, initial, state)
        new, y = ntm_jax.step(params, state, x, config=config)
        if mask is None:
            return new, y
        return select(mask, new, state), select(mask, y, jnp.zeros_like(y))

    return jax.lax.scan(body, state, (xs, mask, reset))


@jax.custom_jvp
def coarse_sigmoid(z):
    """The sigmoid and its derivative as far as float32 holds it, whatever the dtype."""
    eps = 2.0**-24
    return jnp.round(jax.nn.sigmoid(z) / eps) * eps


@coarse_sigmoid.defjvp
def _coarse_sigmoid_jvp(primals, tangents):
    gate = coarse_sigmoid(*primals)
    return gate, gate * (1 - gate) * tangents[0]


def with_coarse_gates(kind: Kind) -> Kind:
    """The fast path's LSTM computes gates within eps of 1, not of themselves."""
    if not isinstance(kind.config.controller, nn.OptimizedLSTMCell):
        return kind
    controller = kind.config.controller.clone(gate_fn=coarse_sigmoid)
    config = dataclasses.replace(kind.config, controller=controller)
    return dataclasses.replace(kind, config=config)


def gradients_of(kind: Kind, run, dtype=None):
    """A compiled function from stacked cases to their gradients, one by one."""

    def gradient(case: Case):
        arguments = case.params, case.state, case.xs
        if dtype is not None:
            arguments = jax.tree.map(lambda leaf: leaf.astype(dtype), arguments)
        ended, pull = jax.vjp(
            lambda params, state, xs: run(
                params,
                xs,
                config=kind.config,
                state=state,
                mask=case.mask,
                reset=case.reset,
            ),
            *arguments,
        )
        cotangents = jax.tree.map(
            lambda leaf: jnp.linspace(-1, 2, leaf.size, dtype=leaf.dtype).reshape(
                leaf.shape
            ),
            ended,
        )
        return pull(cotangents)

    return jax.jit(lambda cases: jax.lax.map(gradient, cases))


class Findings(NamedTuple):
    """Of many seeds."""

    wrong: dict[int, str]  # what is wrong with the gradient from `unroll`
    chance: dict[int, str]  # that it is not finite, where JAX's is so by its rounding
    num_finite: int  # for how many JAX's gradient of a scan is finite


def compare(kind: Kind, seeds, exactly: bool = True) -> Findings:
    """Looks at the gradient of each seed's case."""
    cases = [draw_case(kind, seed) for seed in seeds]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *cases)
    ours, theirs = (
        jax.device_get(gradients_of(kind, run)(stacked))
        for run in (ntm_jax.unroll, scan_of_step)
    )
    yardsticks = []
    if exactly:
        rng = np.random.default_rng(0)

        def perturb(leaf):
            """Rounds anew: how much that changes is what float32 leaves open."""
            if leaf.dtype == bool:
                return leaf
            eps = float(jnp.finfo(leaf.dtype).eps)
            signs = rng.choice([-1, 1], leaf.shape)
            return np.asarray(leaf, np.float64) * (1 + eps * signs)

        with jax.enable_x64(True):
            yardsticks = [
                jax.device_get(gradients_of(kind, scan_of_step, jnp.float64)(cases))
                for kind, cases in (
                    (kind, stacked),
                    (with_coarse_gates(kind), jax.tree.map(perturb, stacked)),
                )
            ]
    right = _are_finite(theirs)
    wrong, chance = {}, {}
    in_float64 = gradients_of(kind, scan_of_step, jnp.float64)
    for i in np.flatnonzero(right & ~_are_finite(ours)):
        with jax.enable_x64(True):
            exact = in_float64(jax.tree.map(lambda leaf: leaf[None], cases[i]))
        largest = float(jnp.finfo(kind.dtype).max)
        kept = _not_by_chance(_nth(ours, i), _nth(theirs, i), _nth(exact, 0), largest)
        reason = f"{kept or 'what JAX computes by chance alone'} is not finite"
        (wrong if kept else chance)[seeds[i]] = reason
    for i in np.flatnonzero(right & _are_finite(ours)) if exactly else ():
        reason = _fault(*(_nth(tree, i) for tree in (ours, theirs, *yardsticks)))
        if reason:
            wrong[seeds[i]] = reason
    return Findings(wrong, chance, int(right.sum()))


def _nth(tree, i):
    return [
        (jax.tree_util.keystr(path), np.asarray(leaf[i], np.float64))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def _are_finite(gradients):
    """Whether each is finite throughout, bool `[S]`."""
    return np.all(
        [
            np.isfinite(leaf.reshape(len(leaf), -1)).all(-1)
            for leaf in jax.tree.leaves(gradients)
        ],
        axis=0,
    )


def _not_by_chance(ours, theirs, exact, largest) -> str | None:
    """A leaf that is not finite, where JAX's is, and by more than its rounding."""
    for (name, own), (_, jaxs), (_, true) in zip(ours, theirs, exact):
        size = np.max(np.abs(true), initial=0)
        right = size <= largest and np.max(np.abs(jaxs - true), initial=0) <= size
        if right and not np.isfinite(own).all():
            return name
    return None


def _fault(ours, theirs, exact, nearby) -> str | None:
    """Why a gradient is wrong, or None: beside JAX's, that in float64, and one near."""
    for (name, own), (_, jaxs), (_, true), (_, near) in zip(
        ours, theirs, exact, nearby
    ):
        if not (np.isfinite(true) & np.isfinite(near)).all():
            continue
        largest = np.max(np.abs(true), initial=0)
        allowed = (
            1e-2 * largest
            + 100 * np.max(np.abs(jaxs - true), initial=0)
            + 100 * np.max(np.abs(near - true), initial=0)
            + 1e-30
        )
        if (error := np.max(np.abs(own - true), initial=0)) > allowed:
            return f"{name} is off by {error:.1e}, {allowed:.1e} allowed"
    return None


def main(arguments: list[str] | None = None) -> int:
    """Searches; prints what it finds; returns 1 if that is something."""
    parser = argparse.ArgumentParser(prog="python -m tests.extremes")
    parser.add_argument("--kinds", type=int, default=10, help="how many programs")
    parser.add_argument("--count", type=int, default=200, help="machines a program")
    parser.add_argument("--first", type=int, default=0, help="seed of the first kind")
    parser.add_argument("--exactly", action="store_true", help="compare with float64")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    flags = parser.parse_args(arguments)
    totals = np.zeros(4, int)
    for seed in range(flags.first, flags.first + flags.kinds):
        kind = Kind.draw(seed, flags.dtype)
        found = compare(kind, range(flags.count), flags.exactly)
        counts = (
            flags.count,
            found.num_finite,
            len(found.wrong),
            len(found.chance),
        )
        print(f"{seed}: {_in_words(counts)}", flush=True)
        for case, reason in (found.wrong | found.chance).items():
            print(f"  {case}: {reason}", flush=True)
        if found.wrong:
            print(f"  {kind}", flush=True)
        totals += counts
        jax.clear_caches()
    print(f"together: {_in_words(totals)}")
    return int(totals[2] > 0)


def _in_words(counts) -> str:
    calls, finite, wrong, chance = counts
    return f"{finite} of {calls} finite, {wrong} wrong, {chance} finite by chance"


if __name__ == "__main__":
    sys.exit(main())
