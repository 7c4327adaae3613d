"""`NTMConfig`: its fields, their checks and their old names."""

import dataclasses

import jax
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
