"""What is trained beside the machine: the LSTM of the paper."""

import dataclasses
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TINY, flags, short_of_time  # noqa: F401 (a fixture)

import tasks
from benchmarks import records
from tasks.registry import name_in_words
from train import cli, main
from train.models.layers import Layers
from train.runs import pretrained
from train.runs.config import TrainConfig
from train.runs.presets import PRESETS, command, preset

ALONE = dataclasses.replace(
    TINY, model="lstm", controller_layers=2, steps=4, validate_every=4
)


@pytest.fixture(autouse=True)
def loose_ranks():
    """Flax's cell adds a bias to a batch."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.slow
def test_the_lstm_is_cells_on_top_of_each_other():
    model = ALONE.make_model()
    params = model.init(jax.random.key(0), 9)
    keys = iter(jax.random.split(jax.random.key(1), 5))
    inputs = jax.random.normal(next(keys), (5, 3, 9))
    for name in params:
        if name.startswith("initial"):
            params[name] = jax.random.normal(next(keys), (1, 8))
    logits = model.logits(params, inputs)
    carries = [
        tuple(jnp.tile(params[f"initial_{part}_{i}"], (3, 1)) for part in "ch")
        for i in range(2)
    ]
    for x, got in zip(inputs, logits):
        hidden = []
        for i in range(2):
            cell = nn.OptimizedLSTMCell(8)
            seen = jnp.concatenate([x, *hidden[-1:]], axis=-1)
            own = {"params": params[f"OptimizedLSTMCell_{i}"]}
            carries[i], h = cell.apply(own, carries[i], seen)
            hidden.append(h)
        out = jnp.concatenate(hidden, axis=-1)
        want = out @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_an_lstm_has_no_slots():
    with pytest.raises(ValueError, match="num_slots: got 9, but an LSTM has no memory"):
        ALONE.make_model(num_slots=9)


@pytest.mark.slow
def test_an_lstm_trains_by_the_same_command(tmp_path):
    assert main.main([f"--workdir={tmp_path / 'run'}", *flags(ALONE)]) == 0
    figures = {path.name for path in (tmp_path / "run" / "figures").iterdir()}
    assert figures == {"learning_curve.png", "answer_20.png", "answer_120.png"}


def count(config: TrainConfig) -> int:
    """Parameters of what a config trains."""
    shapes = jax.eval_shape(
        lambda: config.make_model().init(
            jax.random.key(0), config.make_task().input_size
        )
    )
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("task", "channels", "parameters"),
    [
        ("copy", (10, 9), 1_352_969),
        ("repeat_copy", (8, 7), 5_312_007),
        ("associative_recall", (8, 6), 1_344_518),
        ("dynamic_ngrams", (1, 1), 331_905),
    ],
)
def test_the_lstm_of_the_paper_has_as_many_parameters(task, channels, parameters):
    """Table 3. Its copy tasks must have had other channels than the text says."""
    config = preset("paper", task, model="lstm")
    model = config.make_model()
    assert isinstance(model, Layers)
    module = dataclasses.replace(model.module, output_size=channels[1])
    shapes = jax.eval_shape(lambda: Layers(module).init(jax.random.key(0), channels[0]))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == parameters
    if task in ("associative_recall", "dynamic_ngrams"):
        assert count(config) == parameters


# Those of the paper.
TASKS = [
    "copy",
    "repeat_copy",
    "associative_recall",
    "dynamic_ngrams",
    "priority_sort",
]


def lstm_size(inputs: int, units: int) -> int:
    return 4 * units * (inputs + units + 1)


def dense_size(inputs: int, outputs: int) -> int:
    return outputs * (inputs + 1)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["lstm", "feed_forward"])
def test_the_machines_of_the_papers_sizes(task, kind):
    """Counted from the equations: what each part takes and gives (tables 1 and 2)."""
    heads, layers, units = {
        ("copy", "lstm"): (1, 1, 100),
        ("repeat_copy", "lstm"): (1, 1, 100),
        ("associative_recall", "lstm"): (1, 1, 100),
        ("dynamic_ngrams", "lstm"): (1, 1, 100),
        ("priority_sort", "lstm"): (5, 2, 100),
        ("copy", "feed_forward"): (1, 1, 100),
        ("repeat_copy", "feed_forward"): (1, 1, 100),
        ("associative_recall", "feed_forward"): (4, 1, 256),
        ("dynamic_ngrams", "feed_forward"): (1, 1, 100),
        ("priority_sort", "feed_forward"): (8, 1, 512),
    }[task, kind]
    made = tasks.get(task)
    slot, shifts = 20, 3
    layer_size = dense_size if kind == "feed_forward" else lstm_size
    inputs = made.input_size + heads * slot
    controller = sum(
        layer_size(units if layer else inputs, units) for layer in range(layers)
    )
    addressing = slot + 1 + 1 + shifts + 1
    emitted = heads * (2 * addressing + 2 * slot)
    output = dense_size(units + heads * slot, made.output_size)
    expected = controller + dense_size(units, emitted) + output
    assert count(preset("paper", task, controller=kind)) == expected


@pytest.mark.parametrize("task", TASKS)
def test_the_page_of_results_tells_the_sizes(task):
    page = (Path(__file__).parent.parent / "docs" / "RESULTS.md").read_text()
    section = page.split("## Parameters")[1].split("\n## ")[0]
    name = name_in_words(task)
    alone, machines = (
        line.split("|")[2:-1]
        for line in section.splitlines()
        if line.startswith(f"| {name} |")
    )
    sizes = [
        preset("paper", task, model="lstm"),
        preset("paper", task, controller="feed_forward"),
        preset("paper", task),
    ]
    told = [alone[2].split("(")[0], machines[1], machines[3]]
    assert [f"{count(config):,}" for config in sizes] == [size.strip() for size in told]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        (name, task)
        for name in PRESETS
        for task in (TASKS if name == "paper" else tasks.names())
    ],
)
@pytest.mark.parametrize("model", ["ntm", "lstm"])
def test_a_command_asks_for_its_config(name, task, model):
    config = preset(name, task, model)
    asked = command(config).split()
    assert asked_for(command(config)) == config
    assert ("--model=lstm" in asked) == (model == "lstm")
    if name == "default":
        assert len(asked) == 5 + (model == "lstm")


def test_a_task_may_have_a_controller_of_its_own():
    config = preset("default", "reverse_string")
    assert config.controller == "feed_forward"
    assert asked_for("python -m train.main --task=reverse_string") == config
    other = preset("default", "reverse_string", controller="lstm")
    # The restarts are for the controller of its own.
    assert other == dataclasses.replace(config, controller="lstm", restart_after=None)
    assert asked_for(command(other)) == other


@pytest.mark.parametrize(
    ("flags", "noise"),
    [
        ("", 0.05),
        ("--controller=feed_forward", 0.0),
        ("--model=lstm", 0.0),
        ("--preset=paper", 0.0),
        ("--carry_noise=0.01 --steps=500", 0.01),
    ],
)
def test_repeats_in_pulses_are_counted_under_noise_where_there_is_a_carry(flags, noise):
    config = asked_for(
        f"python -m train.main --task=repeat_copy --repeat_code=pulses {flags}"
    )
    assert config.task_fields == {"repeat_code": "pulses"}
    assert config.carry_noise == noise
    assert asked_for(command(config)) == config


@pytest.mark.parametrize("task", sorted({*tasks.names()} - {*TASKS}))
def test_what_the_paper_does_not_have_is_refused(task):
    with pytest.raises(ValueError, match=f"preset: got 'paper', which has no {task}"):
        preset("paper", task)
    alone = preset("default", task, model="lstm")  # as large as the benchmark's
    assert (alone.controller_layers, alone.controller_units) == (1, 256)


@pytest.mark.parametrize("own", records.load(), ids=lambda own: own["command"][-50:])
def test_a_recorded_command_asks_for_its_config(own):
    line = own["command"]
    if line.startswith("for seed in"):
        seed = str(own["config"]["seed"])
        line = line.split("do ")[1].split("; done")[0].replace("$seed", seed)
    assert asked_for(line.split(" && ")[-1]) == records.config_of(own)


@pytest.mark.parametrize("name", pretrained.names())
def test_the_command_of_a_shipped_machine_asks_for_its_config(name):
    _, config, made = pretrained.load_run(name)
    last = made["command"].split(" && ")[-1]
    assert asked_for(last).for_any_seed() == config.for_any_seed()


def asked_for(command: str) -> TrainConfig:
    """The config that a command line asks for."""
    program = "python -m train.main "
    assert command.startswith(program)
    words = command.removeprefix(program).split()
    return cli.parse_from_preset(main.Flags, words, prog="train.main").config
