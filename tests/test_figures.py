"""The figures: what they show is what the arrays hold, to scale and with labels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from machines import make_config, random_inputs, random_params
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import ntm_jax
import tasks
from train.show import figures
from train.show.figures import films, locations, ring, style
from train.show.phases import Phase, phases

STEPS = 7
PHASES = [Phase("input", 0, 3), Phase("delimiter", 3, 4), Phase("answer", 4, STEPS)]


@pytest.fixture(scope="module")
def seen(quick_compilations):
    """The trace of a machine of three write and two read heads, and its input."""
    config = make_config(num_read_heads=2, num_write_heads=3)
    params, xs = random_params(config), random_inputs(STEPS)
    trace = jax.jit(functools.partial(ntm_jax.trace, config=config))(params, xs)
    return trace, xs


def axes_by_label(figure: Figure) -> dict:
    """Those of an image or of curves, by the words on their vertical axis."""
    return {
        axes.get_ylabel().replace("\n", " "): axes
        for axes in figure.axes
        if axes.get_ylabel()
    }


def shown(axes) -> np.ndarray:
    """The values of an image, `[T, rows]`."""
    (image,) = axes.images
    assert image.origin == "lower"
    return np.asarray(image.get_array()).T


def check_over_time(figure: Figure, names: set[str]) -> dict:
    """That all panels have one time axis, which has a name; returns them."""
    found = axes_by_label(figure)
    assert names <= set(found)
    for name in names:
        assert found[name].get_xlim() == (-0.5, STEPS - 0.5)
    assert sum(axes.get_xlabel() == "time step" for axes in figure.axes) == 1
    figure.draw_without_rendering()
    return found


@pytest.mark.parametrize("marked", [[], PHASES], ids=["plain", "phases"])
def test_focus_shows_every_head_on_the_true_scale(seen, marked):
    trace, xs = seen
    figure = figures.focus(trace, xs, marked)
    heads = {
        f"{kind} head {i + 1} slot": weights[:, i]
        for kind, weights in (
            ("write", trace.states.write_weights),
            ("read", trace.states.read_weights),
        )
        for i in range(weights.shape[1])
    }
    assert len(heads) == 5
    found = check_over_time(figure, {"input channel", "output channel", *heads})
    for name, weights in heads.items():
        stretch = ring.visited(*heads.values())
        np.testing.assert_array_equal(shown(found[name]), stretch.part(weights))
        (image,) = found[name].images
        assert image.get_clim() == (0, 1)
        lowest = stretch.first - 0.5
        assert found[name].get_ylim() == (lowest, lowest + stretch.length)
        # The lines between the phases.
        assert len(found[name].lines) == max(len(marked) - 1, 0)
    np.testing.assert_allclose(
        shown(found["output channel"]), jax.nn.sigmoid(trace.outputs), rtol=1e-6
    )
    np.testing.assert_array_equal(shown(found["input channel"]), xs)
    bars = {axes.get_ylabel() for axes in figure.axes}
    assert {"weight", "value", "input"} <= bars
    assert ("phase" in bars) == bool(marked)


def one_hot(slots: list[int], count: int) -> np.ndarray:
    return np.eye(count)[slots]


@pytest.mark.parametrize(
    ("visits", "first", "count"),
    [
        ([3, 4, 5], 2, 5),
        ([0, 1], -1, 4),  # the slot below the first is the last
        ([31, 0, 30], 29, 5),
        ([0, 31, 30, 12], 29, 17),
        ([7], 6, 3),
        ([0, 15], -1, 18),
        ([0, 10, 20], -1, 23),
        ([0, 8, 16, 24], 0, 32),  # little would be left out
        (list(range(0, 32, 2)), 0, 32),
    ],
)
def test_what_is_shown_are_the_slots_that_a_head_comes_to(visits, first, count):
    weights = one_hot(visits, 32)
    stretch = ring.visited(weights[:1], weights)
    numbers = stretch.part(np.arange(32))
    assert numbers.tolist() == [(first + i) % 32 for i in range(count)]
    assert set(visits) <= set(numbers.tolist())
    drawn = stretch.place(np.asarray(visits))
    assert (drawn % 32).tolist() == visits
    assert ((stretch.first <= drawn) & (drawn < stretch.first + count)).all()


def test_slots_have_their_numbers_also_over_the_end_of_the_ring(seen):
    weights = one_hot([2, 1, 0, 31, 30, 29, 28], 32)[:, None]
    figure = figures.focus(like(seen[0], weights, weights))
    axes = axes_by_label(figure)["write head 1 slot"]
    figure.draw_without_rendering()
    low, high = axes.get_ylim()
    assert (low, high) == (-5.5, 3.5)
    labels = {
        round(label.get_position()[1]): label.get_text()
        for label in axes.get_yticklabels()
        if low < label.get_position()[1] < high
    }
    assert len(labels) > 1
    assert labels == {place: str(place % 32) for place in labels}
    assert min(labels) < 0


@pytest.mark.parametrize("channels", [1, 2])
def test_few_channels_have_whole_numbers(channels):
    panel = style.Panel("input", np.zeros((STEPS, channels)), style.BITS)
    figure = style.over_time([panel], "title")
    figure.draw_without_rendering()
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low < tick < high]
    assert ticks == list(range(channels))


def test_a_constant_sharpening_of_one_is_seen(seen):
    trace = seen[0]
    flat = [
        each._replace(gamma=np.ones_like(each.gamma))
        for each in (trace.write, trace.read)
    ]
    figure = figures.addressing(trace.replace(write=flat[0], read=flat[1]))
    low, high = axes_by_label(figure)["sharpening γ"].get_ylim()
    assert low < 1 < 1.5 < high


def test_focus_needs_no_input(seen):
    found = axes_by_label(figures.focus(seen[0]))
    assert "input channel" not in found
    assert "read head 2 slot" in found


def test_vectors_shows_adds_reads_and_erases_of_every_head(seen):
    trace, _ = seen
    wanted = {
        **{f"write head {i + 1} adds": trace.writing.add[:, i] for i in range(3)},
        **{f"write head {i + 1} erases": trace.writing.erase[:, i] for i in range(3)},
        **{f"read head {i + 1} reads": trace.states.reads[:, i] for i in range(2)},
    }
    found = check_over_time(figures.vectors(trace, PHASES), set(wanted))
    for name, values in wanted.items():
        np.testing.assert_array_equal(shown(found[name]), values)
        low, high = found[name].images[0].get_clim()
        if name.endswith("erases"):
            assert (low, high) == (0, 1)
        else:
            assert low == -high
            assert high >= np.abs(values).max()


def test_addressing_shows_how_every_head_moves(seen):
    trace, _ = seen
    figure = figures.addressing(trace, PHASES)
    found = check_over_time(figure, {"gate g", "strength β", "sharpening γ"})
    for name, field in (
        ("gate g", "gate"),
        ("strength β", "strength"),
        ("sharpening γ", "gamma"),
    ):
        lines = found[name].lines[:5]
        values = np.stack([line.get_ydata() for line in lines], axis=1)
        both = [getattr(trace.write, field), getattr(trace.read, field)]
        np.testing.assert_array_equal(values, np.concatenate(both, axis=1))
    assert found["gate g"].get_ylim() == (-0.05, 1.05)
    shift = found["read head 2 shift"]
    np.testing.assert_array_equal(shown(shift), trace.read.shift[:, 1])
    assert [label.get_text() for label in shift.get_yticklabels()] == ["-1", "0", "+1"]
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [
        *(f"write head {i + 1}" for i in range(3)),
        *(f"read head {i + 1}" for i in range(2)),
    ]


def test_memory_shows_elements_against_slots(seen):
    memory = np.asarray(seen[0].states.memory[-1])
    axes = figures.memory(memory, "At the end").axes[0]
    np.testing.assert_array_equal(shown(axes), memory)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("slot", "element")
    low, high = axes.images[0].get_clim()
    assert low == -high == -np.abs(memory).max()


def test_a_trace_with_batch_axes_is_refused(seen):
    batch = jax.tree.map(lambda leaf: leaf[:, None], seen[0])
    for draw in (figures.focus, figures.vectors, figures.addressing):
        with pytest.raises(
            ValueError, match=r"trace: got outputs of shape \[7, 1, 2\]"
        ):
            draw(batch)


def test_the_answer_and_its_error():
    inputs, targets = np.zeros((STEPS, 3)), np.ones((STEPS, 2))
    outputs = np.linspace(0, 1, STEPS * 2).reshape(STEPS, 2)
    mask = np.arange(STEPS) >= 4
    figure = figures.answer(inputs, targets, outputs, mask, 1, PHASES)
    wanted = {f"{name} channel" for name in ("input", "target", "output", "error")}
    found = check_over_time(figure, wanted)
    error = shown(found["error channel"])
    np.testing.assert_allclose(error[4:], 1 - outputs[4:])
    assert np.isnan(np.ma.filled(error[:4], np.nan)).all()
    for name in wanted:
        assert found[name].images[0].get_clim() == (0, 1)
    assert "1 wrong of 6 bits" in figure.axes[0].get_title(loc="left")


def test_other_inputs_than_bits_have_a_scale_of_their_own():
    inputs = np.full((STEPS, 1), -1.5)
    figure = style.over_time(
        [style.Panel("input", inputs, style.scale_of_inputs(inputs))], "title"
    )
    assert figure.axes[0].images[0].get_clim() == (-1.5, 1.5)


def test_a_focus_on_one_of_many_slots_is_seen():
    weights = np.zeros((2000, 4096))
    weights[:, 1234] = 1
    figure = style.over_time(
        [style.Panel("slot", weights, style.WEIGHTS, pooled=True)], "title"
    )
    axes = figure.axes[0]
    assert axes.get_ylim() == (-0.5, 4095.5)
    assert axes.get_xlim() == (-0.5, 1999.5)
    values = shown(axes)
    assert values.shape[0] <= 900
    assert values.shape[1] <= 300
    assert (values.sum(axis=1) == 1).all()


@pytest.mark.parametrize(
    ("task", "difficulty", "wanted"),
    [
        ("copy", {"length": 3}, [("input", 3), ("delimiter", 1), ("answer", 3)]),
        (
            "repeat_copy",
            {"length": 2, "repeats": 3},
            [("input", 2), ("delimiter", 1), ("answer", 7)],
        ),
        (
            "associative_recall",
            {"items": 2},
            [*[("delimiter", 1), ("input", 3)] * 3, ("delimiter", 1), ("answer", 3)],
        ),
        ("dynamic_ngrams", {"length": 9}, [("input", 4), ("answer", 4)]),
        (
            "priority_sort",
            {"length": 4, "answers": 2},
            [("input", 4), ("delimiter", 1), ("answer", 2)],
        ),
    ],
)
def test_phases_of_the_tasks(task, difficulty, wanted):
    task = tasks.get(task)
    batch = task.sample(jax.random.key(0), 1, **difficulty)
    inputs, mask = np.asarray(batch.inputs[:, 0]), np.asarray(batch.mask[:, 0])
    assert len(task.input_names) == task.input_size
    found = phases(inputs, mask, task.input_names)
    assert [(phase.name, phase.end - phase.first) for phase in found] == wanted
    assert [phase.first for phase in found[1:]] == [phase.end for phase in found[:-1]]


def like(trace, write_weights, read_weights):
    """A trace with these weightings `[T, heads, N]`."""
    states = trace.states.replace(
        memory=jnp.zeros((len(write_weights), np.shape(write_weights)[-1], 1)),
        write_weights=jnp.asarray(write_weights),
        read_weights=jnp.asarray(read_weights),
    )
    outputs = jnp.zeros((len(write_weights), 1))
    return trace.replace(states=states, outputs=outputs)


@pytest.mark.parametrize(("count", "marked"), [(3, 2), (6000, 0)])
def test_lines_between_phases_unless_there_are_too_many(count, marked):
    many = [Phase("input", step, step + 1) for step in range(count)]
    _, (axes,) = style.time_axes([1], "", many)
    style.mark(axes, many)
    assert len(axes.lines) == marked


def test_locations_of_a_machine_that_sorts_by_place(seen):
    priorities = np.asarray([0.5, -1.0, 0.0, 1.0])
    places = [2, 0, 1, 3]  # higher, the higher the priority
    nowhere = np.zeros((3, 4))
    writes = np.concatenate([np.eye(4)[places], nowhere])[:, None]
    reads = np.concatenate([np.zeros((4, 4)), np.eye(4)[[3, 2, 1]]])[:, None]
    figure = figures.sort_locations(like(seen[0], writes, reads), priorities, 2)
    figure.draw_without_rendering()
    write, read, dots = (axes for axes in figure.axes if axes.get_title())
    np.testing.assert_array_equal(shown(write), np.eye(4)[[3, 2, 1, 0]])
    np.testing.assert_array_equal(shown(read), np.eye(4)[[3, 2, 1]])
    (line,) = dots.lines
    np.testing.assert_array_equal(line.get_xdata(), priorities)
    np.testing.assert_array_equal(line.get_ydata(), places)
    assert dots.get_xlabel() == "priority"
    assert dots.get_ylim() == (-0.5, 3.5)
    for axes in (write, read):
        assert axes.get_ylabel() == "slot"
        assert axes.images[0].get_clim() == (0, 1)


def test_locations_of_items_that_are_recalled(seen):
    task = tasks.AssociativeRecall(num_bits=4, item_length=2)
    batch = task.sample(jax.random.key(3), 1, items=5)
    inputs, mask = np.asarray(batch.inputs[:, 0]), np.asarray(batch.mask[:, 0])
    steps = locations.recall_steps(inputs, task.item_length)
    np.testing.assert_array_equal(np.flatnonzero(mask), np.r_[steps["answer"]])
    np.testing.assert_array_equal(
        inputs[steps["answer item"], :4], batch.targets[steps["answer"], 0]
    )
    np.testing.assert_array_equal(inputs[steps["queried item"]], inputs[steps["query"]])
    slots = 32
    writes = np.eye(slots)[np.arange(len(inputs))][:, None]
    reads = np.zeros_like(writes)
    reads[steps["answer"]] = writes[steps["answer item"]]
    figure = figures.recall_locations(
        like(seen[0], writes, reads), inputs, task.item_length
    )
    figure.draw_without_rendering()
    write, read = (axes for axes in figure.axes if axes.get_title())
    stretch = ring.visited(writes, reads[steps["query"].start :])
    assert stretch.length < slots
    np.testing.assert_array_equal(shown(write), stretch.part(writes[:, 0]))
    np.testing.assert_array_equal(shown(read), stretch.part(reads[:, 0]))
    first = steps["answer item"].start
    for axes, step in ((write, first), (read, steps["answer"].start)):
        _, box = axes.patches
        assert isinstance(box, Rectangle)
        assert (box.get_x(), box.get_width()) == (step - 0.5, 2)
        assert box.get_y() < first < first + 1 < box.get_y() + box.get_height()


def test_predictions_stand_beside_the_best_ones():
    mask = np.arange(6) >= 2
    targets = np.asarray([0.0, 1, 1, 0, 1, 1])
    outputs, optimum = np.full(6, 0.5), np.full(6, 0.25)
    figure = figures.prediction(targets, outputs, optimum, mask)
    figure.draw_without_rendering()
    above, below = figure.axes
    best, own, bits = above.lines
    np.testing.assert_array_equal(best.get_ydata(), optimum[2:])
    np.testing.assert_array_equal(own.get_ydata(), outputs[2:])
    np.testing.assert_array_equal(bits.get_ydata(), targets[2:])
    np.testing.assert_array_equal(own.get_xdata(), [2, 3, 4, 5])
    (costs,) = below.lines
    above_best = np.asarray(costs.get_ydata())
    np.testing.assert_allclose(above_best, [-1, 1 + np.log2(0.75), -1, -1], rtol=1e-6)
    assert above.get_ylim() == (-0.05, 1.05)
    assert "2.42 bits below the optimum" in above.get_title(loc="left")


def frames_of(path) -> int:
    with Image.open(path) as film:
        assert film.format == "GIF"
        assert film.info["loop"] == 0
        return getattr(film, "n_frames", 1)


@pytest.mark.slow
def test_films_have_a_frame_for_every_step(seen, tmp_path):
    trace, xs = seen
    figures.memory_film(tmp_path / "memory.gif", trace, xs, PHASES)
    assert frames_of(tmp_path / "memory.gif") == STEPS
    targets, mask = np.ones((STEPS, 2)), np.arange(STEPS) >= 4
    answers = [(f"after {i}", np.full((STEPS, 2), i / 3)) for i in range(4)]
    figures.learning_film(tmp_path / "learning.gif", answers, targets, mask, PHASES)
    assert frames_of(tmp_path / "learning.gif") == 4


def test_a_long_film_ends_with_the_last_step():
    for count in (1, 79, 80, 81, 200, 2001):
        chosen = films.frames(count)
        assert chosen[-1] == count - 1
        assert len(chosen) <= 80


def test_curves_of_several_learners():
    curve = np.asarray([1.0, 2.0]), np.asarray([4.0, 0.0])
    figure = figures.compared_curves(
        "Learning", "wrong bits", [("one", [curve]), ("two", [curve, curve])]
    )
    (axes,) = figure.axes
    assert axes.get_xlabel() == "sequences seen (thousands)"
    assert axes.get_ylabel() == "wrong bits per sequence"
    _, labels = axes.get_legend_handles_labels()
    assert labels == ["one (1 seed)", "two (2 seeds)"]


def test_a_single_validation_is_a_point():
    point = np.asarray([1.0]), np.asarray([4.0])
    figure = figures.compared_curves("Learning", "wrong bits", [("one", [point])])
    *_, median = figure.axes[0].lines
    assert median.get_marker() == "o"
