"""The evaluation of a run on disk, and the hashes that say what it belongs to."""

import json
from collections import Counter
from pathlib import Path

from ..training.state import NEVER, TrainState
from . import schema
from .config import TrainConfig
from .entries import evaluated
from .files import hash_of, read_json, write_whole
from .schema import Record

# The hashes of the evaluation and of the checkpoint that it is of.
_SUMS = {"evaluation.json": schema.text, "checkpoint": schema.or_none(schema.text)}
_UPDATE = schema.or_none(schema.count)
_OTHER = "is not of the machines in the newest checkpoint and config.json"


class EvaluationFile:
    """`evaluation.json` in a run's folder, and `sums.json`, which 0.1 lacks."""

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        self.path = folder / "evaluation.json"
        self._sums = folder / "sums.json"
        self._config = config

    def write(self, evaluation: list[Record], checkpoint: str | None) -> None:
        """Writes the evaluation of the checkpoint with that hash."""
        text = json.dumps(evaluation, indent=2) + "\n"
        sums = {self.path.name: hash_of(text.encode()), "checkpoint": checkpoint}
        write_whole(self._sums, json.dumps(sums, indent=2) + "\n")
        write_whole(self.path, text)

    def of_run(self, newest: int | None, checkpoint: str | None) -> list[Record] | None:
        """The whole evaluation of a run; None if there is none.

        Args:
          newest: the step of the newest checkpoint, None without one.
          checkpoint: its hash, if it has one.

        Raises:
          ValueError: if the file holds something else, or is of another checkpoint.
        """
        if (evaluation := self._read()) is None:
            return None
        task = self._config.make_task()
        wanted = [
            (seed, *(trial[name] for name in task.difficulty))
            for seed in self._config.seeds()
            for trial in task.trials()
        ]
        found = [
            (entry["machine"], *(entry[name] for name in task.difficulty))
            for entry in evaluation
        ]
        if Counter(found) != Counter(wanted):
            raise self._wrong(
                "is damaged, or has other machines than config.json, or other trials "
                "than this version"
            )
        step = max(entry["step"] for entry in evaluation)
        if newest not in (None, step):
            raise self._wrong(
                f"is of update {step}, while the newest checkpoint is of {newest}"
            )
        self._check_hash(checkpoint)
        return evaluation

    def check_of(self, states: TrainState, checkpoint: str | None) -> None:
        """Raises a `ValueError` if there is an evaluation, but of other states.

        Args:
          states: `[S, ...]`, restored from the newest checkpoint.
          checkpoint: its hash, if it has one.
        """
        if (evaluation := self._read()) is None:
            return
        self._check_hash(checkpoint)
        of_now = {
            (
                seed,
                *(
                    None if at == NEVER else int(at)
                    for at in (
                        states.step[i],
                        states.solved_at[i],
                        states.diverged_at[i],
                    )
                ),
            )
            for i, seed in enumerate(self._config.seeds())
        }
        names = ("machine", "step", "solved_at", "diverged_at")
        found = {tuple(entry[name] for name in names) for entry in evaluation}
        if found != of_now:
            raise self._wrong(_OTHER)

    def _check_hash(self, checkpoint: str | None) -> None:
        sums = self._read_sums()
        evaluated = sums and sums["checkpoint"]
        if evaluated and checkpoint and evaluated != checkpoint:
            raise self._wrong(f"{_OTHER}: its hash in {self._sums.name} differs")

    def _read(self) -> list[Record] | None:
        """What is in the file; None if there is none."""
        if not self.path.exists():
            return None
        content = self.path.read_bytes()
        sizes = dict.fromkeys(self._config.make_task().difficulty, schema.count)
        try:
            evaluation = read_json(content)
            fields = {**evaluated(self._config), "diverged_at": _UPDATE, **sizes}
            schema.check_records("", evaluation, fields)
            if not evaluation:
                raise ValueError("got an empty list, want entries")
        except (TypeError, ValueError) as error:
            raise self._wrong(f"is damaged: {error}") from None
        sums = self._read_sums()
        if sums and sums[self.path.name] != hash_of(content):
            raise self._wrong(f"is damaged: its hash is not that in {self._sums}")
        return evaluation

    def _read_sums(self) -> Record | None:
        """The hashes; None for a run of 0.1."""
        if not self._sums.exists():
            return None
        try:
            sums = read_json(self._sums.read_bytes())
            schema.check_record("", sums, _SUMS)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"workdir: got {self._sums}, which is damaged: {error}; delete it and "
                f"{self.path.name}, and the same command evaluates the run again"
            ) from None
        return sums

    def _wrong(self, why: str) -> ValueError:
        return ValueError(
            f"workdir: got {self.path}, which {why}; delete it, and the command that "
            "made the run evaluates it again"
        )
