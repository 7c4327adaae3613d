"""Checkpoints of a run: the one module that knows Orbax."""

import shutil
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

PyTree = Any
_KEEP = 2


class Checkpoints:
    """The checkpoints in a folder, each named by its step and always complete.

    Orbax writes under another name and renames at the end, so what a killed run left
    unfinished does not count. The newest few are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint; None if there is none."""
        return max(self._steps(), default=None)

    def save(self, step: int, state: PyTree) -> None:
        """Writes the checkpoint of a step; returns when it is on disk."""
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(self._folder / str(step), state, force=True)
            checkpointer.wait_until_finished()
        old = [self._folder / str(step) for step in sorted(self._steps())[:-_KEEP]]
        for path in [*old, *self._folder.glob("*.orbax-checkpoint-tmp*")]:
            shutil.rmtree(path)

    def restore(self, step: int, template: PyTree) -> PyTree:
        """The state saved at a step.

        Args:
          step: of an existing checkpoint.
          template: arrays, or `jax.ShapeDtypeStruct`s, of the shapes to restore.

        Raises:
          ValueError: if the checkpoint holds something else, or is damaged.
        """
        device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        template = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device),
            template,
        )
        path = self._folder / str(step)
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                return checkpointer.restore(path, template)
        except Exception as error:  # Orbax raises errors of every kind.
            raise ValueError(
                f"workdir: got {path}, which cannot be restored, want a whole "
                "checkpoint of this run; delete that folder to continue from the "
                f"checkpoint before ({type(error).__name__}: {str(error)[:200]})"
            ) from error

    def _steps(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return [
            int(path.name)
            for path in self._folder.iterdir()
            if path.name.isascii()
            and path.name.isdigit()
            and ocp.utils.is_checkpoint_finalized(path)
        ]
