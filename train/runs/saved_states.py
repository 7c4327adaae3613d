"""The states of a run on disk: its checkpoints, and what each tells about the run.

A checkpoint of a run with an optimizer of its own holds the optimizer's arrays as a
list, so that the parameters can be read without it.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import optax

from ..training.devices import spread
from ..training.optimizer import unpacked
from ..training.state import TrainState, init_states, mesh_of, without_arrays
from . import belongs, steps_before
from .checkpoint import SHA256, Checkpoints
from .config import TrainConfig
from .schema import Record


class Saved(NamedTuple):
    """A checkpoint of a run.

    Attributes:
      step: the update after which it was written.
      path: its folder.
      about: what it tells about the run; None for one of 0.1.
    """

    step: int
    path: Path
    about: Record | None

    @property
    def sha256(self) -> str | None:
        """The hash of its arrays, if it has one."""
        return self.about[SHA256] if self.about else None

    def mark_of(self, journal: str) -> Record | None:
        """What a journal held when the checkpoint was written, if that is known."""
        return self.about["journals"][journal] or None if self.about else None


class SavedStates:
    """The states in the folder of a run."""

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        self._folder = folder
        self._config = config
        self._checkpoints = Checkpoints(folder / "checkpoints", belongs.ABOUT)

    def newest(self) -> Saved | None:
        """The newest checkpoint; None if there is none.

        Raises:
          ValueError: if it is not of the run whose config is in the folder.
        """
        step = self._checkpoints.latest_step()
        return None if step is None else self.at(step)

    def at(self, step: int) -> Saved:
        """The checkpoint of that step.

        Raises:
          ValueError: if it cannot be read, or is not of the run whose config is in the
            folder.
        """
        path, about = self._checkpoints.path(step), self._checkpoints.about(step)
        if about is not None:
            # The config of this object may have more steps.
            config = TrainConfig.from_json(self._folder / "config.json")
            belongs.check_made_by(path, about, config, self._steps_before(config))
        return Saved(step, path, about)

    def check_settings(self) -> None:
        """Raises a `ValueError` if JAX now computes other numbers than the run's."""
        newest = self.newest()
        if newest is not None and newest.about:
            belongs.check_settings(newest.path, newest.about)

    def save(self, states: TrainState, journals: dict[str, Record]) -> None:
        """Writes a checkpoint, named by the update of the furthest seed.

        Args:
          states: `[S, ...]`.
          journals: what each holds now, by the name of its file.
        """
        steps = self._steps_before(self._config)
        about = belongs.about(self._config, steps, journals)
        if self._config.has_own_optimizer():
            states = states.replace(opt_state=jax.tree.leaves(states.opt_state))
        step = int(without_arrays(states).step.max())
        self._checkpoints.save(step, states, about)

    def restore(
        self, saved: Saved, optimizer: optax.GradientTransformation | None
    ) -> TrainState:
        """The states of a checkpoint, on the devices of the run.

        Args:
          saved: that checkpoint.
          optimizer: that of a run with one of its own. Without it, `opt_state` is the
            list of its arrays.

        Raises:
          ValueError: if the checkpoint is damaged, or of another optimizer.
        """
        states = self._checkpoints.restore(saved.step, self._shapes(saved))
        if (step := int(states.step.max())) != saved.step:
            raise ValueError(
                f"workdir: got {saved.path}, which holds the state after update "
                f"{step}; rename the folder to {step}"
            )
        if self._config.has_own_optimizer() and optimizer is not None:
            wanted = jax.eval_shape(lambda: init_states(self._config, optimizer))
            opt_state = unpacked(states.opt_state, wanted.opt_state, saved.path)
            states = states.replace(opt_state=opt_state)
        return spread(states, mesh_of(self._config))

    def _shapes(self, saved: Saved) -> TrainState:
        """The shapes of the states in a checkpoint."""
        if not self._config.has_own_optimizer():
            return jax.eval_shape(lambda: init_states(self._config))
        shapes = jax.eval_shape(lambda: init_states(self._config, optax.identity()))
        arrays = self._checkpoints.shapes(saved.step)
        return shapes.replace(opt_state=arrays.get("opt_state") or [])

    def _steps_before(self, config: TrainConfig) -> list[int]:
        return steps_before.read(self._folder / steps_before.NAME, config)
