"""Commands in several processes on this host, for tests."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from train.runs.folder import RunFolder

ROOT = Path(__file__).parents[1]
# A run that ends in seconds.
SMALL = (
    *("--model=lstm", "--controller_units=8", "--batch_size=4"),
    *("--steps=12", "--steps_per_call=2", "--validate_every=4", "--checkpoint_every=4"),
    "--validation_sequences=4",
)
# Programs that compile quickly, and run slowly.
_QUICK = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": (
        "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    ),
    "JAX_PLATFORMS": "cpu",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}


class Ended(NamedTuple):
    """How a process ended: its status, its output, its errors, after how long."""

    status: int
    output: str
    errors: str
    seconds: float


def free_port() -> int:
    """A port that no process listens at."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def flags_of(count: int) -> list[list[str]]:
    """The flags of each of so many processes."""
    address = f"--coordinator_address=localhost:{free_port()}"
    return [
        [address, f"--num_processes={count}", f"--process_id={i}"] for i in range(count)
    ]


class Many:
    """Processes of one command; all have ended when the block has."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[Sequence[str]],
        *,
        devices: int = 1,
        cwd: Path = ROOT,
        paths: Sequence[Path] = (),
    ) -> None:
        """Starts one process for each list of arguments.

        Args:
          module: of the command.
          arguments: of each process.
          devices: of each process.
          cwd: the folder that each works in.
          paths: of modules, one for each process, if it has some of its own.
        """
        environment = {
            **os.environ,
            **_QUICK,
            "JAX_NUM_CPU_DEVICES": str(devices),
        }
        own_paths = [f"{path}{os.pathsep}{ROOT}" for path in paths]
        self.started = time.monotonic()
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", module, *own],
                cwd=cwd,
                env={**environment, "PYTHONPATH": path},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for own, path in zip(arguments, own_paths or len(arguments) * [str(ROOT)])
        ]

    def __enter__(self) -> "Many":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def end(self, i: int, seconds: float) -> Ended:
        """Waits for the end of one process, at most so many seconds."""
        output, errors = self.processes[i].communicate(timeout=seconds)
        after = time.monotonic() - self.started
        return Ended(self.processes[i].returncode, output, errors, after)

    def all_end(self, seconds: float) -> list[Ended]:
        """Waits for the end of all."""
        return [self.end(i, seconds) for i in range(len(self.processes))]


def run(
    module: str,
    *words: str,
    count: int = 1,
    devices: int = 1,
    seconds: float = 600,
) -> list[Ended]:
    """Runs a command in so many processes; one has no flags of many."""
    own = flags_of(count) if count > 1 else [[]]
    with Many(module, [[*words, *each] for each in own], devices=devices) as many:
        return many.all_end(seconds)


def params(folder: Path) -> list[np.ndarray]:
    """The parameters in a run's newest checkpoint."""
    return jax.tree.leaves(jax.device_get(RunFolder.open(folder).restore().params))


def wait_for(path: Path, seconds: float = 600) -> None:
    """Waits until a file is there."""
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.05)
