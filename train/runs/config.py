"""All that decides what a run computes: flags and their checks."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import flax.linen as nn

import tasks
from ntm_jax import NTMConfig, feed_forward, gru, lstm
from ntm_jax.checks import check_count, check_fields
from ntm_jax.config import (
    Activation,
    InitialCarry,
    InitialHeads,
    InitialMemory,
    InitialRead,
    InitialWeighting,
    Order,
    PreviousWeighting,
    Sharpening,
)
from tasks.repeat_copy import RepeatCode, RepeatCopy
from train.training.model import LSTM, NTM, LSTMStack, Model

_CONTROLLERS: dict[str, Callable[..., nn.Module]] = {
    "lstm": lstm,
    "gru": gru,
    "feed_forward": feed_forward,
}
# Fields of configs that were kept before 0.2, and what they are called now.
RENAMED = {
    "initial_focus": "initial_weighting",
    "previous_focus": "previous_weighting",
}
# Each makes the compiled program longer.
_MOST_LAYERS = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A run, as the flags set it and as its `config.json` keeps it.

    A file that is older than a field lacks it, and is read with the field's default:
    the default of a field that is added must be what was done before there was one.

    Raises:
      TypeError, ValueError: for a field of another kind, by its name.
    """

    task: Literal[
        "copy",
        "repeat_copy",
        "associative_recall",
        "dynamic_ngrams",
        "priority_sort",
        "reverse_string",
    ] = "copy"
    """What to learn."""
    repeat_code: RepeatCode = RepeatCopy.repeat_code
    """How repeat_copy says the number of copies: as one number, or in pulses."""
    model: Literal["ntm", "lstm"] = "ntm"
    """A Neural Turing Machine, or an LSTM alone, of the controller's size."""
    seed: int = 0
    """Of the parameters and of the training sequences."""
    num_seeds: int = 1
    """Machines to train at once, of the seeds from --seed on."""

    steps: int = 6000
    """Updates at most; training ends earlier once the task is solved and polished."""
    falling: float = 0.5
    """Part of these updates, the last, in which the learning rate falls to 0."""
    batch_size: int = 16
    """Sequences in one update."""
    sort_updates: int = 1
    """Updates whose sequences are drawn together and sorted by length; an NTM of order
    read_first then makes no steps after a batch's last answer."""
    curriculum: Literal["none", "uniform", "growing", "look_back"] = "growing"
    """The hardest sequences, all alike, a growing range, or mostly its hardest."""
    curriculum_steps: int = 200
    """Updates after which a curriculum that grows has reached all difficulties."""
    optimizer: Literal["rmsprop", "graves_rmsprop", "adam"] = "rmsprop"
    """RMSProp, its centred form as in Graves 2013 (eqs. 38-45), or Adam."""
    learning_rate: float = 2e-4
    """Step size of the optimizer."""
    momentum: float = 0.9
    """Momentum of RMSProp, first decay rate of Adam."""
    decay: float = 0.95
    """Decay rate of the mean squared gradient."""
    epsilon: float = 1e-8
    """What RMSProp adds to the mean squared gradient."""
    clip: Literal["value", "norm", "none"] = "norm"
    """Clip each component of the gradient, or the norm of all of it."""
    clip_at: float = 1.0
    """What it is clipped to."""
    update_clip: float | None = 1.0
    """Bound on the root mean square of an array's scaled gradient; None for none."""
    carry_noise: float = 0.0
    """Standard deviation of the noise in a recurrent controller's state at each step of
    training: for what is to be counted exactly, and further than in training."""
    steps_per_call: int = 50
    """Updates in one compiled call, after which the run reports."""
    validate_every: int = 100
    """Updates between validations, a multiple of steps_per_call."""
    validation_sequences: int = 1000
    """Sequences in the validation set."""
    polish_steps: int = 500
    """Updates to go on for once the task is solved, with a falling learning rate; a
    multiple of steps_per_call."""
    checkpoint_every: int = 200
    """Updates between checkpoints, a multiple of steps_per_call."""

    num_slots: int = NTMConfig.num_slots
    """N, slots of the memory."""
    slot_size: int = NTMConfig.slot_size
    """M, width of a slot."""
    num_read_heads: int = NTMConfig.num_read_heads
    """Read heads."""
    num_write_heads: int = NTMConfig.num_write_heads
    """Write heads."""
    shift_range: int = NTMConfig.shift_range
    """How far one step may shift a focus, each way."""
    controller: Literal["lstm", "gru", "feed_forward"] = "lstm"
    """The network in the middle of the machine."""
    controller_units: int = 100
    """Units in each of its layers, or in those of an LSTM alone."""
    controller_layers: int = 1
    """How many layers those are."""
    input_scale: float | None = None
    """Of its initial input kernels, times LeCun-normal; unless given, 4, or 2 if
    feed_forward."""
    order: Order = NTMConfig.order
    """Whether reads see the memory before or after the writes of the same step."""
    key_activation: Activation = NTMConfig.key_activation
    """Of the key vector."""
    add_activation: Activation = NTMConfig.add_activation
    """Of the add vector."""
    sharpening: Sharpening = NTMConfig.sharpening
    """Of the focus: learned, or none, for heads that go by content."""
    head_clip: float | None = NTMConfig.head_clip
    """Bound on what heads emit, before it is brought into range."""
    previous_weighting: PreviousWeighting = NTMConfig.previous_weighting
    """Whose last weighting a write head goes on from: its own, or the read head's."""
    initial_memory: InitialMemory = NTMConfig.initial_memory
    """The memory before the first step."""
    initial_weighting: InitialWeighting = NTMConfig.initial_weighting
    """Where heads look before the first step."""
    initial_read: InitialRead = NTMConfig.initial_read
    """What was read before the first step."""
    initial_carry: InitialCarry = NTMConfig.initial_carry
    """The controller's state before the first step."""
    initial_heads: InitialHeads = NTMConfig.initial_heads
    """How heads move that have learned nothing yet."""
    initial_strength: float = NTMConfig.initial_strength
    """Bias of the strength of heads that stay as on a tape, or go by content."""
    head_scale: float = NTMConfig.head_scale
    """Scale of the heads' initial kernels, times Glorot-uniform."""

    def __post_init__(self) -> None:
        check_fields(
            self,
            zero_too=(
                "seed",
                "shift_range",
                "momentum",
                "falling",
                "initial_strength",
                "carry_noise",
            ),
        )
        check_count("seed + num_seeds - 1", self.seed + self.num_seeds - 1, 0)
        check_count("batch_size * sort_updates", self.batch_size * self.sort_updates)
        for name in ("momentum", "decay"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, want less than 1")
        if self.falling > 1:
            raise ValueError(f"falling: got {self.falling}, want at most 1")
        if self.controller_layers > _MOST_LAYERS:
            raise ValueError(
                f"controller_layers: got {self.controller_layers}, want at most "
                f"{_MOST_LAYERS}"
            )
        # All that a run does between two updates, it does between two calls.
        for name in ("validate_every", "checkpoint_every", "polish_steps"):
            if getattr(self, name) % self.steps_per_call:
                raise ValueError(
                    f"{name}: got {getattr(self, name)}, want a multiple of "
                    f"steps_per_call = {self.steps_per_call}"
                )
        if self.carry_noise and (
            self.model != "ntm" or self.controller == "feed_forward"
        ):
            what = "model lstm" if self.model != "ntm" else "controller feed_forward"
            raise ValueError(
                f"carry_noise: got {self.carry_noise}, want 0 with {what}: there is no "
                "recurrent controller"
            )
        self.make_ntm_config()  # checks the machine's own fields
        if self.repeat_code != "scalar" and self.task != "repeat_copy":
            raise ValueError(
                f"repeat_code: got {self.repeat_code!r}, but {self.task} repeats "
                "nothing; want 'scalar', or task repeat_copy"
            )

    def seeds(self) -> range:
        """The seeds of all machines."""
        return range(self.seed, self.seed + self.num_seeds)

    def title(self) -> str:
        """The task and the seeds, for a person."""
        seeds = f"seed {self.seed}"
        if self.num_seeds > 1:
            seeds = f"seeds {self.seed} to {self.seed + self.num_seeds - 1}"
        return f"{task_in_words(self.task)}, {seeds}"

    def for_any_seed(self) -> "TrainConfig":
        """The same for every choice of seeds, so that all share one compilation."""
        return dataclasses.replace(self, seed=0, num_seeds=1)

    def make_task(self) -> tasks.Task:
        """The task, ready to be sampled from."""
        if self.task == "repeat_copy":
            return RepeatCopy(repeat_code=self.repeat_code)
        return tasks.get(self.task)

    def make_model(self) -> Model:
        """What is trained, as wide as the task asks."""
        if self.model == "ntm":
            return NTM(self.make_ntm_config())
        return LSTM(
            LSTMStack(
                units=self.controller_units,
                num_layers=self.controller_layers,
                output_size=self.make_task().output_size,
            )
        )

    def make_controller(self) -> nn.Module:
        """The controller's module."""
        make = _CONTROLLERS[self.controller]
        scale: dict[str, float] = {}
        if self.input_scale is not None:
            scale["input_scale"] = self.input_scale
        return make(self.controller_units, self.controller_layers, **scale)

    def make_ntm_config(self) -> NTMConfig:
        """The machine's config, as wide as the task asks."""
        shared = {field.name for field in dataclasses.fields(NTMConfig)} & {
            field.name for field in dataclasses.fields(self)
        }
        fields = {name: getattr(self, name) for name in shared - {"controller"}}
        return NTMConfig(
            output_size=self.make_task().output_size,
            controller=self.make_controller(),
            **fields,
        )

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, path: Path) -> "TrainConfig":
        """The config kept in that file.

        Raises:
          ValueError: if the file does not hold one.
        """
        try:
            return cls.from_text(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def from_text(cls, text: str) -> "TrainConfig":
        """The config that `to_json` wrote, be it before some of the fields were added.

        Raises:
          ValueError: if the text is not that of one.
        """
        try:
            fields = read_json(text)
            if not isinstance(fields, dict):
                raise ValueError(f"got {type(fields).__name__}, want a JSON object")
            if "task" not in fields:
                raise ValueError("task: got none, want a value")
            for old, new in RENAMED.items():
                if old in fields:
                    fields[new] = fields.pop(old)
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise ValueError(f"not the config of a run: {error}") from None


def task_in_words(task: str) -> str:
    """The name of a task, for a person."""
    return task.replace("_", " ").replace("ngrams", "n-grams")


def read_json(text: str) -> Any:
    """What the text says, or a `ValueError`, be it ever so deeply nested."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("got JSON that is nested too deeply") from None
