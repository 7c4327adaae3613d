"""Checkpoints of a run: the one module that knows Orbax."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

PyTree = Any
_KEEP = 2


class Checkpoints:
    """The checkpoints in a folder, each named by its step and written as a whole.

    One that a killed run left unfinished does not count. The newest few are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint; None where there is none."""
        if not self._folder.is_dir():
            return None
        with self._open(read_only=True) as manager:
            return manager.latest_step()

    def save(self, step: int, state: PyTree) -> None:
        """Writes the checkpoint of a step, and returns when it is safe."""
        with self._open(read_only=False) as manager:
            manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, step: int, template: PyTree) -> PyTree:
        """The state saved at a step.

        Args:
          step: of an existing checkpoint.
          template: arrays, or `jax.ShapeDtypeStruct`s, of the shapes to restore.

        Raises:
          ValueError: if the checkpoint holds something else.
        """
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        template = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
            template,
        )
        with self._open(read_only=True) as manager:
            return manager.restore(step, args=ocp.args.StandardRestore(template))

    @contextlib.contextmanager
    def _open(self, read_only: bool) -> Iterator[ocp.CheckpointManager]:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=_KEEP, enable_async_checkpointing=False, read_only=read_only
        )
        with ocp.CheckpointManager(self._folder, options=options) as manager:
            yield manager
