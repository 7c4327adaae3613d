"""What a run can be asked for, in groups: task, machine, optimizer, schedule and run.

`TrainConfig` has all these fields. The groups are the sections of `--help`, where every
line of a field's docstring is shown as it stands here: one sentence or one value.
"""

import dataclasses
from typing import Annotated, Literal

import tyro

from ntm_jax import NTMConfig, tasks
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

from .own_fields import Fields

# The name of an optimizer that `train.fit` was given.
OWN = "own"
_TASK = f"""The task; its preset sets the defaults of the other flags.
- {", ".join(tasks.names())}: ours.
- path/to/file.py:MyTask, package.module:MyTask: a class of your own."""
_MODEL = """The network to train.
- ntm: a Neural Turing Machine.
- lstm, gru: an LSTM or a GRU alone, with --controller_units and --controller_layers.
- stack_rnn, tape_rnn: networks with a stack or a tape; --help with one shows its flags.
- path/to/file.py:MyCell, package.module:MyCell: a class of your own.
A class is a recurrent cell of Flax, of Linen or NNX, or derives from train.Model.
The other flags of this section are those of the machine, if they do not say more."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What the machine learns."""

    task: Annotated[str, tyro.conf.arg(help=_TASK)] = "copy"
    task_fields: Annotated[Fields, tyro.conf.Suppress] = Fields()  # noqa: RUF009
    """Fields of the task that differ from its defaults.
    On the command line they are flags: --task.num_bits=4."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """The network: its memory, its heads, its controller and its initial state."""

    model: Annotated[str, tyro.conf.arg(help=_MODEL)] = "ntm"
    model_fields: Annotated[Fields, tyro.conf.Suppress] = Fields()  # noqa: RUF009
    """Fields of the model that differ from its defaults.
    On the command line they are flags: --model.units=64."""
    init_from: str | None = None
    """Trained parameters to start from, as far as their paths and shapes fit.
    - NAME: a trained machine that comes with the package, such as copy.
    - FILE.safetensors: a file of a machine.
    - FOLDER: a run, such as runs/copy or ./mine; its first machine.
    All other parameters are initialised."""
    embedding_size: int = 32
    """Numbers in the learned vector of a token, for tasks whose inputs are tokens."""
    tied_embedding: tyro.conf.FlagConversionOff[bool] = False
    """Whether the output layer is the embedding of the tokens that are the categories.
    For tasks whose first tokens are their categories, such as the characters of poems.
    The model outputs a vector; its products with the embeddings are the logits."""
    controller: Literal["lstm", "gru", "feed_forward"] = "lstm"
    """The controller.
    - lstm, gru: recurrent, with a state of its own.
    - feed_forward: without a state; the memory is all that it remembers."""
    controller_units: int = 100
    """Units in each layer of the controller, or of the LSTM or GRU alone."""
    controller_layers: int = 1
    """Layers of the controller, or of the LSTM or GRU alone."""
    num_slots: int = NTMConfig.num_slots
    """Slots of the memory (N)."""
    slot_size: int = NTMConfig.slot_size
    """Numbers in a slot (M)."""
    num_read_heads: int = NTMConfig.num_read_heads
    """Read heads."""
    num_write_heads: int = NTMConfig.num_write_heads
    """Write heads."""
    shift_range: int = NTMConfig.shift_range
    """Slots by which a head can shift in one step, in each direction."""
    order: Order = NTMConfig.order
    """What the read heads see in a step.
    - read_first: the memory before the writes of this step, as in the paper.
    - write_first: the memory after them.
    - interleaved: read head 1, write head 1, read head 2, ... take turns."""
    key_activation: Activation = NTMConfig.key_activation
    """Activation of the key vectors."""
    add_activation: Activation = NTMConfig.add_activation
    """Activation of the add vectors."""
    sharpening: Sharpening = NTMConfig.sharpening
    """Sharpening of the weightings.
    - learned: heads emit gamma, as in the paper.
    - none: gamma is 1; heads that find slots by content then stay stable for long."""
    head_clip: float | None = NTMConfig.head_clip
    """Bound on the raw outputs of the heads (such as 20); None sets no bound."""
    previous_weighting: PreviousWeighting = NTMConfig.previous_weighting
    """The last weighting that a write head mixes with its content weighting.
    - own: its own, as in the paper.
    - read: that of the read head with the same number."""
    initial_memory: InitialMemory = NTMConfig.initial_memory
    """The memory before the first step.
    - constant: 1e-6 everywhere.
    - random: random numbers, the same in every run.
    - learned: parameters."""
    initial_weighting: InitialWeighting = NTMConfig.initial_weighting
    """The weighting of every head before the first step.
    - first_slot: all on slot 0.
    - uniform: the same on all slots.
    - learned: parameters.
    - none: all zero, so that the first weighting comes from content alone."""
    initial_read: InitialRead = NTMConfig.initial_read
    """The read vectors before the first step: zeros, or learned parameters."""
    initial_carry: InitialCarry = NTMConfig.initial_carry
    """The state of the controller before the first step.
    - cell: the cell's own, which is zeros.
    - learned: parameters."""
    initial_heads: InitialHeads = NTMConfig.initial_heads
    """How untrained heads move.
    - tape: the first write head moves one slot a step; the others stay.
    - stack: the same, and the first read head moves with it.
    - lookup: the same, but the read heads go to the slots most similar to their keys.
    - content: heads go to the slots most similar to their keys; this needs slots that
    differ (--initial_memory) and an --initial_strength such as 8.
    - neutral: no preference."""
    initial_strength: float = NTMConfig.initial_strength
    """Initial bias of the strength beta: larger values make heads notice content.
    It has no effect on neutral heads."""
    head_scale: float = NTMConfig.head_scale
    """Multiplies the Glorot-uniform initialisation of the heads."""
    input_scale: float | None = None
    """Multiplies the LeCun-normal initialisation of the controller's input weights.
    None uses 4, or 2 for feed_forward."""
    access: str = "dense"
    """The slots that a weighting keeps. With few, a step takes the same time for any
    number of slots.
    - dense: all slots.
    - window:W: W neighbouring slots, such as window:9.
    - sparse:K: the K slots of the largest weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """How a gradient becomes an update."""

    learn: str | None = None
    """Regular expression for the parameters that learn; None lets all learn.
    It is looked for in their paths: output, heads|output, ^controller/, bias$.
    The others keep their initial values, to the last bit."""
    optimizer: Literal["rmsprop", "graves_rmsprop", "adam", "own"] = "rmsprop"
    """The optimizer.
    - rmsprop: RMSProp with momentum.
    - graves_rmsprop: its centred form (Graves 2013, eqs. 38-45), which the paper uses.
    - adam: Adam.
    - own: the one given to train.fit in Python; the command line cannot give it."""
    learning_rate: float = 2e-4
    """Step size of the optimizer."""
    momentum: float = 0.9
    """Momentum of RMSProp; the first decay rate of Adam."""
    decay: float = 0.95
    """Decay rate of the mean squared gradient."""
    epsilon: float = 1e-8
    """Added to the mean squared gradient; a larger value damps late updates."""
    clip: Literal["value", "norm", "none"] = "norm"
    """How the gradient is clipped.
    - value: each component to [-clip_at, clip_at].
    - norm: the whole gradient to a norm of clip_at.
    - none: not at all."""
    clip_at: float = 1.0
    """The bound for --clip."""
    update_clip: float | None = 1.0
    """Bound on the update of each array, relative to the learning rate.
    RMSProp and Adam divide each entry of the gradient by its recent typical size.
    This flag bounds the root mean square of the result over each array.
    None sets no bound.
    Without a bound, one large gradient after many small ones can undo the training."""
    carry_noise: float = 0.0
    """Standard deviation of noise in the controller's recurrent state during training.
    It helps a controller to count exactly, even to larger numbers than in training."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleSettings:
    """How long training takes, and how hard its sequences are."""

    steps: int = 6000
    """Updates at most; training ends earlier once the task is solved and polished."""
    lr_decay_fraction: float = 0.5
    """Fraction of the updates, at the end, over which the learning rate decays to 0."""
    polish_steps: int = 500
    """Updates after the task is solved, while the learning rate decays to 0.
    If --lr_decay_fraction gives a lower learning rate, that lower one is used.
    A multiple of steps_per_call."""
    restart_after: int | None = None
    """Updates without a better validation, after which a seed restarts; None is never.
    It restarts with other initial parameters and its whole schedule, if as many updates
    are left; --steps bounds all of them together. Better is an error 5 % lower or more.
    A seed does not restart once its error was below 2 % of its highest.
    This flag has no effect with --init_from, whose parameters would be the same."""
    batch_size: int = 16
    """Sequences in one update."""
    sort_updates: int = 1
    """Number of updates whose sequences are drawn at once and sorted by length.
    Each batch then has less padding.
    With --order=read_first, padding that is common to the batch costs no time."""
    curriculum: Literal["none", "uniform", "growing", "look_back"] = "growing"
    """How hard the training sequences are, within the task's own range.
    - none: always the hardest.
    - uniform: all difficulties from the start.
    - growing: from easy ones up to the whole range.
    - look_back: like growing, but nine of ten sequences have the hardest difficulty so
    far, and the others any difficulty up to it."""
    curriculum_steps: int = 200
    """Updates until growing or look_back covers the whole range."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Seeds, validation and checkpoints."""

    seed: int = 0
    """Seed of the parameters and of the training sequences."""
    num_seeds: int = 1
    """Machines to train at once, with the seeds --seed, --seed + 1 and so on."""
    steps_per_call: int = 50
    """Updates in one compiled call; the run reports after each."""
    watch_every: int = 1
    """Updates between two looks inside the machine, at its health and its answer to one
    sequence, each of which takes about as long as half an update. A look comes after a
    call, so that they are as far apart as calls at least."""
    validate_every: int = 100
    """Updates between validations, a multiple of steps_per_call."""
    validation_sequences: int = 1000
    """Sequences in the validation set."""
    evaluation_sequences: int = 1000
    """Sequences of each size in the evaluation at the end of the run."""
    checkpoint_every: int = 200
    """Updates between checkpoints, a multiple of steps_per_call."""


GROUPS: dict[str, type] = {
    "task": TaskSettings,
    "machine": MachineSettings,
    "optimizer": OptimizerSettings,
    "schedule": ScheduleSettings,
    "run": RunSettings,
}
