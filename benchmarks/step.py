"""Measures a step of the machine, as a ratio to a step of Flax's LSTM.

    python -m benchmarks.step
    python -m benchmarks.step --batch_size=16 --length=41 --num_slots=128

A row of the table is one size: B sequences of T steps with a memory of N slots. Both
networks have the same inputs and 100 units, and both compute a loss and its gradient.
The LSTM is a `lax.scan` over `flax.linen.OptimizedLSTMCell` with JAX's own derivative,
without a memory or an output layer. The two take turns, and a number is the median over
the turns. On a CPU the time is core time, summed over all cores, which other programs
disturb least; on other devices it is wall-clock time.

The last line is one JSON object.
"""

import dataclasses
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from rich.table import Table

import ntm_jax
from ntm_jax.checks import check_count
from ntm_jax.sequence import Implementation
from train import cli

PyTree = Any
Step = Callable[[PyTree, Array], Any]
# B, T and N of the rows that are measured by default.
SIZES = (
    *((batch, 41, 128) for batch in (1, 16, 64, 256)),
    (16, 200, 128),
    *((16, 41, slots) for slots in (512, 2048, 8192)),
)
_COLUMNS = {
    "B": "batch_size",
    "T": "length",
    "N": "num_slots",
    "ratio": "ratio_to_lstm",
    "from": "ratio_lowest",
    "to": "ratio_highest",
    "ms": "ntm_ms",
    "µs / T N": "us_per_step_and_slot",
    "MiB": "ntm_peak_mib",
    "compiled in s": "ntm_compile_s",
}
INPUTS, _UNITS, _OUTPUTS = 9, 100, 8
# A turn repeats the call for about that many seconds.
_TURN = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flags:
    """Measures the time of a loss and gradient: of a machine and of Flax's LSTM.

    Without flags it measures several sizes. If you pass --batch_size, --length or
    --num_slots, it measures one size; those you leave out are 16, 41 and 128.
    """

    batch_size: int | None = None
    """Sequences in a batch (B)."""
    length: int | None = None
    """Steps of a sequence (T)."""
    num_slots: int | None = None
    """Slots of the memory (N)."""
    turns: int = 11
    """Measurements of each network, taken alternately; the result is the median."""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    flags = cli.parse(Flags, arguments, prog="python -m benchmarks.step")
    with cli.readable_errors():
        check_count("turns", flags.turns)
        asked = flags.batch_size, flags.length, flags.num_slots
        sizes = SIZES
        if any(size is not None for size in asked):
            sizes = (
                tuple(
                    usual if size is None else size
                    for size, usual in zip(asked, (16, 41, 128))
                ),
            )
        for size in sizes:
            for name, value in zip(("batch_size", "length", "num_slots"), size):
                check_count(name, value)
        cells = [measure(*size, turns=flags.turns) for size in sizes]
        console = cli.make_console()
        console.print(table(cells, _COLUMNS))
        told = {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
        print(json.dumps(told | (cells[0] if len(cells) == 1 else {"cells": cells})))
    return 0


def measure(batch_size: int, length: int, num_slots: int, turns: int) -> dict[str, Any]:
    """One size: times, their ratio, memory and compilation time."""
    xs = jax.random.bernoulli(jax.random.key(0), shape=(length, batch_size, INPUTS))
    xs = xs.astype(jnp.float32)
    compiled, told = {}, {}
    for name, (loss, params) in {
        "lstm": lstm(batch_size),
        "ntm": machine(num_slots),
    }.items():
        started = time.perf_counter()
        step = jax.jit(jax.value_and_grad(loss)).lower(params, xs).compile()
        told[f"{name}_compile_s"] = round(time.perf_counter() - started, 2)
        told[f"{name}_peak_mib"] = round(peak(step) / 2**20, 1)
        compiled[name] = functools.partial(step, params, xs)
    times = take_turns(compiled, turns)
    medians = {name: statistics.median(each) for name, each in times.items()}
    ratios = [ntm / alone for ntm, alone in zip(times["ntm"], times["lstm"])]
    return {
        "batch_size": batch_size,
        "length": length,
        "num_slots": num_slots,
        "ratio_to_lstm": round(medians["ntm"] / medians["lstm"], 2),
        "ratio_lowest": round(min(ratios), 2),
        "ratio_highest": round(max(ratios), 2),
        **{f"{name}_ms": round(1e3 * took, 3) for name, took in medians.items()},
        "us_per_step_and_slot": round(1e6 * medians["ntm"] / length / num_slots, 4),
        **told,
    }


def config(num_slots: int) -> ntm_jax.NTMConfig:
    """That of the default machine."""
    return ntm_jax.NTMConfig(
        output_size=_OUTPUTS, num_slots=num_slots, controller=ntm_jax.lstm(_UNITS)
    )


def machine(
    num_slots: int, implementation: Implementation = "auto"
) -> tuple[Step, PyTree]:
    """The loss of a default machine, and its parameters."""
    config_ = config(num_slots)

    def loss(params: PyTree, xs: Array) -> Array:
        _, ys = ntm_jax.unroll(
            params, xs, config=config_, implementation=implementation
        )
        return jnp.mean(ys**2)

    return loss, ntm_jax.init(jax.random.key(0), config_, INPUTS)


def lstm(batch_size: int) -> tuple[Step, PyTree]:
    """The same for a scan over Flax's LSTM."""
    cell = nn.OptimizedLSTMCell(_UNITS)
    start = cell.initialize_carry(jax.random.key(0), (batch_size, INPUTS))

    def loss(params: PyTree, xs: Array) -> Array:
        step = functools.partial(cell.apply, params)
        hidden: Any = jax.lax.scan(step, start, xs)[1]
        return jnp.mean(hidden**2)

    x = jnp.zeros((batch_size, INPUTS))
    return loss, cell.init(jax.random.key(0), start, x)


def take_turns(
    calls: dict[str, Callable[[], Any]], turns: int
) -> dict[str, list[float]]:
    """Seconds of one call in every turn, for each of the calls."""
    repeats = {name: repeats_for(call) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            times[name].append(seconds(call, repeats[name]))
    return times


def repeats_for(call: Callable[[], Any]) -> int:
    """The number of calls in a turn, measured after a warm-up."""
    seconds(call, 1)
    return max(1, round(_TURN / max(seconds(call, 1), 1e-6)))


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Seconds of one call: core time on a CPU, wall-clock time elsewhere."""
    on_cpu = jax.default_backend() == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    started = clock()
    for _ in range(repeats):
        jax.block_until_ready(call())
    return (clock() - started) / repeats


def peak(step: Any) -> int:
    """The most bytes that a compiled function holds, with arguments and results."""
    memory = step.memory_analysis()
    return (
        memory.temp_size_in_bytes
        + memory.argument_size_in_bytes
        + memory.output_size_in_bytes
    )


def table(cells: list[dict[str, Any]], columns: dict[str, str]) -> Table:
    """The cells as a table, with a row for each and the values named in `columns`."""
    made = Table(*columns)
    for cell in cells:
        made.add_row(*(str(cell[name]) for name in columns.values()))
    return made


if __name__ == "__main__":
    sys.exit(main())
