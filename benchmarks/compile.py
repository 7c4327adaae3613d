"""Compiles a step, a sequence and its gradient for a device that need not be here.

    python -m benchmarks.compile --target=h100
    python -m benchmarks.compile --target=v5e --batch_size=16 --length=41

Three networks: the machine by `ntm_jax.unroll`, the same by a scan over
`jax.checkpoint(ntm_jax.step)`, and Flax's LSTM of 100 units without a memory. For a TPU
also the machine by `implementation="pallas"`. A row of the table is one program.
"Kernels a step" are those that the device starts in loops over time, forwards and
backwards, divided by the number of steps. Those outside of loops are counted once;
those of Pallas, which have the loop within, are among them. Loops are known if the
compiler knows how often they run; a GPU asks the host after each step of another.
Bytes and operations are those that XLA counts; where it has no count there is a dash.

The last line is one JSON object.
"""

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array
from rich.table import Table

import ntm_jax
from benchmarks import step as benchmark
from benchmarks import targets
from benchmarks.hlo import Program
from ntm_jax.checks import check_count
from train import cli

PyTree = Any
_COLUMNS = {
    "network": "network",
    "program": "program",
    "compiled in s": "seconds",
    "kernels a step: forwards": "kernels_forwards",
    "backwards": "kernels_backwards",
    "outside of loops": "kernels_outside",
    "of Pallas": "kernels_pallas",
    "loops known": "loops_known",
    "unknown": "loops_unknown",
    "MiB": "mib",
    "Mflop": "mflop",
    "MB accessed": "mb_accessed",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Compiles for a device that need not be here, and counts what it would do."""

    target: Literal["h100", "v5e", "cpu"] = "cpu"
    """The device: an NVIDIA H100, a TPU v5e, or this computer's CPU."""
    batch_size: int = 256
    """Sequences in a batch (B)."""
    length: int = 41
    """Steps of a sequence (T)."""
    num_slots: int = 128
    """Slots of the memory (N)."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.compile")
    with cli.readable_errors():
        for name in ("batch_size", "length", "num_slots"):
            check_count(name, getattr(flags, name))
        targets.prepare(flags.target)
        rows = [*measured(flags)]
        table = Table(*_COLUMNS)
        for row in rows:
            shown = (row[name] for name in _COLUMNS.values())
            table.add_row(*("–" if value is None else str(value) for value in shown))
        cli.make_console().print(table)
        told = {**dataclasses.asdict(flags), "jax": jax.__version__}
        print(json.dumps({**told, "programs": rows}))
    return 0


def measured(flags: Flags) -> Iterator[dict[str, Any]]:
    """One row for each program."""
    where = jax.sharding.SingleDeviceSharding(targets.device(flags.target))

    def there(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)

    for network, name, function, arguments in programs(flags):
        arguments = jax.tree.map(there, arguments)
        started = time.perf_counter()
        with targets.lowering(flags.target):
            lowered = jax.jit(function).trace(*arguments).lower()
        compiled = lowered.compile()
        seconds = time.perf_counter() - started
        # A single step has no loop over time.
        length = 1 if name == "step" else flags.length
        yield {"network": network, "program": name, "seconds": round(seconds, 1)} | (
            counted(compiled, length)
        )


def counted(compiled: jax.stages.Compiled, length: int) -> dict[str, Any]:
    """What a compiled program of so many steps would do."""
    text = compiled.as_text() or ""
    program = Program(text)
    counts = program.counts()
    costs: Any = compiled.cost_analysis() or {}

    def of_a_step(number: int | None) -> float | None:
        return None if number is None else round(number / length, 1)

    def in_millions(name: str) -> float | None:
        return round(costs[name] / 1e6, 2) if name in costs else None

    return {
        "kernels_forwards": of_a_step(counts.forwards),
        "kernels_backwards": of_a_step(counts.backwards),
        "kernels_outside": program.kernels(),
        "kernels_pallas": text.count('custom_call_target="tpu_custom_call"'),
        "loops_known": counts.loops_known,
        "loops_unknown": counts.loops_unknown,
        "mib": round(benchmark.peak(compiled) / 2**20, 1),
        "mflop": in_millions("flops"),
        "mb_accessed": in_millions("bytes accessed"),
    }


def programs(flags: Flags) -> Iterator[tuple[str, str, Callable[..., Any], PyTree]]:
    """Network, program, function and arguments (of which only the shapes matter)."""
    xs = jax.ShapeDtypeStruct(
        (flags.length, flags.batch_size, benchmark.INPUTS), jnp.float32
    )
    machine, params = benchmark.machine(flags.num_slots)
    lstm, lstm_params = benchmark.lstm(flags.batch_size)
    of_network = {
        "unroll": (machine, params),
        "scan of checkpoint(step)": (checkpointed(flags.num_slots), params),
        "Flax's LSTM": (lstm, lstm_params),
    }
    if flags.target == "v5e":
        of_network["pallas"] = benchmark.machine(flags.num_slots, "pallas")
    for network, (loss, own) in of_network.items():
        yield network, "gradient", jax.value_and_grad(loss), (own, xs)
        yield network, "forward", loss, (own, xs)
    config = benchmark.config(flags.num_slots)
    state = jax.eval_shape(
        lambda: ntm_jax.initial_state(params, config, batch_shape=(flags.batch_size,))
    )
    one = functools.partial(ntm_jax.step, config=config)
    yield (
        "step",
        "step",
        one,
        (params, state, jax.ShapeDtypeStruct(xs.shape[1:], xs.dtype)),
    )


def checkpointed(num_slots: int) -> Callable[[PyTree, Array], Array]:
    """The loss of the default machine, by a scan that saves the states alone."""
    config = benchmark.config(num_slots)

    def loss(params: PyTree, xs: Array) -> Array:
        start = ntm_jax.initial_state(params, config, batch_shape=xs.shape[1:-1])
        step = jax.checkpoint(functools.partial(ntm_jax.step, config=config))
        _, ys = jax.lax.scan(lambda state, x: step(params, state, x), start, xs)
        return jnp.mean(ys**2)

    return loss


if __name__ == "__main__":
    sys.exit(main())
