"""`NTMConfig`: its fields, their checks and their old names."""

import dataclasses
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntm_jax


def test_the_default_controller_is_an_lstm():
    assert ntm_jax.NTMConfig(output_size=8).controller == ntm_jax.lstm(100)


def test_equal_choices_make_equal_configs():
    first, second = (ntm_jax.NTMConfig(output_size=8) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != ntm_jax.NTMConfig(output_size=8, order="interleaved")
    assert len({first, second}) == 1


def test_is_frozen():
    config = ntm_jax.NTMConfig(output_size=8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.num_slots = 5  # type: ignore[misc]


def test_takes_keywords_only():
    with pytest.raises(TypeError, match="positional"):
        ntm_jax.NTMConfig(8)  # type: ignore[call-arg]


def test_a_changed_copy_is_checked_too():
    config = ntm_jax.NTMConfig(output_size=8)
    assert dataclasses.replace(config, num_slots=3).num_slots == 3
    with pytest.raises(ValueError, match="num_slots: got 0"):
        dataclasses.replace(config, num_slots=0)


def test_is_a_static_argument():
    @jax.jit
    def closed_over():
        return config.num_slots

    config = ntm_jax.NTMConfig(output_size=8)
    by_name = jax.jit(lambda config: config.num_slots, static_argnames="config")
    assert closed_over() == by_name(config=config) == 128


@pytest.mark.parametrize("head_clip", [20, 0.5, None])
def test_head_clip_is_any_positive_number_or_none(head_clip):
    config = ntm_jax.NTMConfig(output_size=8, head_clip=head_clip)
    assert config.head_clip == head_clip


def test_the_shifts_may_reach_every_slot_once():
    config = ntm_jax.NTMConfig(output_size=1, num_slots=5, shift_range=2)
    assert config.shift_range == 2


def test_previous_weighting_read_requires_a_read_head_for_each_write_head():
    for heads in ((1, 1), (3, 2)):
        reads, writes = heads
        ntm_jax.NTMConfig(
            output_size=1,
            num_read_heads=reads,
            num_write_heads=writes,
            previous_weighting="read",
        )
    with pytest.raises(
        ValueError,
        match="num_read_heads, num_write_heads: got 'read', 1 and 2, want a read head",
    ):
        ntm_jax.NTMConfig(output_size=1, num_write_heads=2, previous_weighting="read")
    with pytest.raises(
        ValueError, match="previous_weighting: got 'write', want one of"
    ):
        ntm_jax.NTMConfig(output_size=1, previous_weighting="write")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("initial_focus", "initial_weighting", "uniform"),
        ("previous_focus", "previous_weighting", "read"),
    ],
)
def test_a_field_by_its_old_name_warns_and_works(old, new, value):
    with pytest.warns(DeprecationWarning, match=f"{old} is now called {new}"):
        config = ntm_jax.NTMConfig(output_size=1, **{old: value})
    assert config == ntm_jax.NTMConfig(output_size=1, **{new: value})
    with pytest.raises(TypeError, match=f"{old}: got both {old} and {new}"):
        ntm_jax.NTMConfig(output_size=1, **{old: value, new: value})


WRITTEN = {
    "lstm": ntm_jax.lstm(8, 2, input_scale=1.0),
    "gru": ntm_jax.gru(np.int64(8)),  # type: ignore[arg-type]
    "feed_forward": ntm_jax.feed_forward(8, 2, nn.relu),
    "sine": ntm_jax.feed_forward(8, activation=jnp.sin),
}


@pytest.mark.parametrize("controller", WRITTEN.values(), ids=WRITTEN)
def test_a_config_is_written_to_json_and_read(controller):
    config = ntm_jax.NTMConfig(
        output_size=np.int32(3),  # type: ignore[arg-type]
        controller=controller,
        head_clip=np.float64(20),
        initial_memory="random",
    )
    text = json.dumps(config.to_dict())
    assert ntm_jax.NTMConfig.from_dict(json.loads(text)) == config


def test_a_written_config_is_easy_to_read():
    written = ntm_jax.NTMConfig(output_size=8, controller=WRITTEN["lstm"]).to_dict()
    assert list(written) == [f.name for f in dataclasses.fields(ntm_jax.NTMConfig)]
    assert written["controller"] == {
        "kind": "lstm",
        "units": 8,
        "num_layers": 2,
        "input_scale": 1.0,
    }


def test_an_older_file_is_read_with_defaults_and_old_names():
    fields = {"output_size": 8, "initial_focus": "uniform"}
    config = ntm_jax.NTMConfig.from_dict(fields)
    assert config == ntm_jax.NTMConfig(output_size=8, initial_weighting="uniform")
    assert fields == {"output_size": 8, "initial_focus": "uniform"}


@pytest.mark.parametrize(
    "controller",
    [
        nn.GRUCell(8),
        nn.OptimizedLSTMCell(8),
        ntm_jax.lstm(8).clone(gate_fn=nn.tanh),
        ntm_jax.feed_forward(8, activation=lambda x: x),
        nn.Dense(8),
    ],
)
def test_a_controller_that_is_not_plain_data_is_given_again(controller):
    config = ntm_jax.NTMConfig(output_size=8, num_slots=7, controller=controller)
    with pytest.raises(
        ValueError, match=r"controller: got \w+, want one that .*Pickle"
    ):
        config.to_dict()
    fields = dataclasses.replace(config, controller=ntm_jax.lstm()).to_dict()
    fields["controller"] = controller
    assert ntm_jax.NTMConfig.from_dict(fields) == config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "fields: got list, want a dict"),
        ({}, "output_size: got none, want a value"),
        ({"output_size": 0}, "output_size: got 0"),
        (
            {"output_size": 8, "slots": 3},
            "fields: got 'slots', want one of output_size",
        ),
        (
            dataclasses.asdict(ntm_jax.NTMConfig(output_size=8)),
            "controller: got dict, .* write configs with config.to_dict",
        ),
        (
            {"output_size": 8, "controller": {"kind": "rnn"}},
            r"controller\['kind'\]: got 'rnn', want one of lstm, gru, feed_forward",
        ),
        (
            {"output_size": 8, "controller": {"kind": "gru", "size": 8}},
            "controller: got 'size', want one of kind, units",
        ),
        (
            {"output_size": 8, "controller": {"kind": "gru", "units": "8"}},
            "units: got '8'",
        ),
        (
            {
                "output_size": 8,
                "controller": {"kind": "feed_forward", "activation": "exec"},
            },
            r"controller\['activation'\]: got 'exec', want the name of a function",
        ),
    ],
)
def test_a_dict_that_is_no_config_is_refused(fields, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ntm_jax.NTMConfig.from_dict(fields)
