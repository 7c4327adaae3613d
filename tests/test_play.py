"""The page that runs machines, as a person uses it: offline, in Chromium."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.serialization import to_state_dict
from flax.traverse_util import flatten_dict
from machines import (
    MACHINES,
    make_config,
    random_inputs,
    random_params,
    slow_unless,
)
from playwright.sync_api import Page, expect

import ntm_jax
from ntm_jax import tasks
from train import visualize
from train.runs import pretrained
from train.runs.config import TrainConfig
from train.show.play import TASKS, Playable, check, play_page

NAMES = (
    "copy",
    "repeat_copy",
    "repeat_copy_pulses",
    "associative_recall",
    "dynamic_ngrams",
    "priority_sort",
    "reverse_string",
)
# Their sequences take long to compute.
LONG = {"repeat_copy", "repeat_copy_pulses", "dynamic_ngrams", "priority_sort"}
HARMFUL = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """A page of all trained machines; the name of the last one is harmful."""
    runs = [pretrained.load_run(name)[:2] for name in NAMES]
    names = [*NAMES[:-1], HARMFUL]
    path = tmp_path_factory.mktemp("play") / "play.html"
    machines = [Playable(name, *run, {}) for name, run in zip(names, runs)]
    path.write_text(play_page(machines))
    return path


@pytest.fixture(scope="module")
def scripts(browser, path) -> Page:
    """The page again, for tests that call its functions and change nothing."""
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#heads td")
    return page


def choose(opened: Page, name: str) -> None:
    opened.get_by_label("Machine", exact=True).select_option(str(NAMES.index(name)))
    opened.evaluate("async (index) => { await opening(index); }", NAMES.index(name))


def in_float64(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


# --- the machine -------------------------------------------------------------------


@pytest.mark.parametrize("name", slow_unless((), NAMES, rare=LONG))
def test_logits_are_those_of_the_library_on_100_sequences(scripts, name, x64):
    """In float64: in float32 the library is up to 1.4e-4 from it, for the sort."""
    params, config, _ = pretrained.load_run(name)
    machine = config.make_ntm_config()
    batch = config.make_task().sample(jax.random.key(7), 100)
    inputs = jnp.asarray(batch.inputs, jnp.float64)
    _, logits = ntm_jax.unroll(in_float64(params), inputs, config=machine)
    found = scripts.evaluate(
        "async ([index, sequences]) => { const [machine] = await opening(index);"
        " return sequences.map((inputs) => Array.from(trace(machine, inputs).logits"
        ".values)); }",
        [NAMES.index(name), np.swapaxes(batch.inputs, 0, 1).tolist()],
    )
    shape = np.swapaxes(logits, 0, 1).shape
    np.testing.assert_allclose(
        np.reshape(found, shape), np.swapaxes(logits, 0, 1), rtol=0, atol=1e-5
    )


OTHERS = {
    "two_gru_layers": {
        "controller": ntm_jax.gru(3, num_layers=2),
        "initial_carry": "learned",
    },
    "sigmoid": {"controller": ntm_jax.feed_forward(4, activation=jax.nn.sigmoid)},
    "all_at_once": {
        "num_read_heads": 3,
        "num_write_heads": 3,
        "order": "interleaved",
        "previous_weighting": "read",
        "shift_range": 2,
        "head_clip": 2.0,
        "initial_memory": "random",
        "initial_weighting": "learned",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MACHINES, *OTHERS])
def test_everything_inside_is_that_of_the_library(scripts, name, x64):
    config = make_config(**{**MACHINES, **OTHERS}[name])
    params = random_params(config, dtype=jnp.float64)
    inputs = random_inputs(9, dtype=jnp.float64)
    state = ntm_jax.initial_state(params, config)
    trace = ntm_jax.trace(params, inputs, config=config, state=state)
    paths: dict[str, Any] = flatten_dict(to_state_dict(params), sep="/")
    found = scripts.evaluate(
        "([config, params, start, inputs]) => {"
        " for (const path in params) params[path] = Float64Array.from(params[path]);"
        " const slots = start.length / config.slot_size;"
        " const found = trace({config, params, slots, start}, inputs);"
        " return Object.fromEntries(Object.entries(found).map(([name, {values}]) =>"
        " [name, Array.from(values)])); }",
        [
            config.to_dict(),
            {path: np.ravel(leaf).tolist() for path, leaf in paths.items()},
            np.ravel(state.memory).tolist(),
            inputs.tolist(),
        ],
    )
    states = trace.states
    both = {
        name: (getattr(trace.write, name), getattr(trace.read, name))
        for name in trace.write._fields
    }
    both["weights"] = states.write_weights, states.read_weights
    wanted = {name: np.concatenate(arrays, axis=1) for name, arrays in both.items()}
    wanted |= {"logits": trace.outputs, "memory": states.memory, "reads": states.reads}
    wanted |= trace.writing._asdict()
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(
            found[name], np.ravel(values), rtol=1e-9, atol=1e-9, err_msg=name
        )


# --- the tasks ---------------------------------------------------------------------

# Of each task: its fields, the sizes of a sequence, and where its vectors are shown.
DRAWN = {
    "copy": (tasks.Copy(num_bits=3), {"length": 5}),
    "repeat_copy": (tasks.RepeatCopy(num_bits=2), {"length": 3, "repeats": 4}),
    "pulses": (
        tasks.RepeatCopy(num_bits=2, repeat_code="pulses"),
        {"length": 3, "repeats": 4},
    ),
    "associative_recall": (tasks.AssociativeRecall(item_length=2), {"items": 4}),
    "dynamic_ngrams": (tasks.DynamicNGrams(order=3), {"length": 40}),
    "first_order": (tasks.DynamicNGrams(order=1), {"length": 5}),
    "priority_sort": (tasks.PrioritySort(num_bits=3), {"length": 6, "answers": 4}),
    "reverse_string": (tasks.ReverseString(), {"length": 7}),
}


def drawing_of(task: tasks.Task, sizes: dict[str, int], batch) -> dict[str, Any]:
    """What a reader would have drawn to get the first sequence of the batch."""
    inputs = np.asarray(batch.inputs[:, 0])
    drawing: dict[str, Any] = dict(sizes)
    match task:
        case tasks.DynamicNGrams():
            last = np.asarray(batch.targets[-1:, 0])
            vectors = np.concatenate([inputs, last])
        case tasks.ReverseString():
            vectors = inputs[: sizes["length"], 1:2]
        case tasks.AssociativeRecall(num_bits=bits, item_length=length):
            period = length + 1
            shown = inputs[: period * sizes["items"]].reshape(-1, period, bits + 2)
            vectors = shown[:, 1:, :bits].reshape(-1, bits)
            query = inputs[period * sizes["items"] + 1 :][:length, :bits]
            items = vectors.reshape(-1, length, bits)
            (place,) = [i for i, item in enumerate(items) if (item == query).all()]
            drawing["query"] = place + 1
        case tasks.PrioritySort(num_bits=bits):
            vectors = inputs[: sizes["length"], :bits]
            drawing["priorities"] = inputs[: sizes["length"], bits].tolist()
        case tasks.Copy(num_bits=bits) | tasks.RepeatCopy(num_bits=bits):
            vectors = inputs[: sizes["length"], :bits]
        case _:
            raise AssertionError(task)
    return {**drawing, "vectors": vectors.astype(int).tolist()}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_sequences_are_those_of_the_tasks(scripts, name):
    task, sizes = DRAWN[name]
    batch = task.sample(jax.random.key(3), 1, **sizes)
    steps = scripts.evaluate(
        "([name, drawing, fields]) => kinds[name].make(drawing, fields)",
        [
            next(n for n in tasks.names() if type(tasks.get(n)) is type(task)),
            drawing_of(task, sizes, batch),
            dataclasses.asdict(task),
        ],
    )
    inputs = np.asarray([step["input"] for step in steps], np.float32)
    np.testing.assert_allclose(inputs, np.asarray(batch.inputs)[:, 0], rtol=1e-6)
    mask = np.asarray([step["target"] is not None for step in steps], bool)
    np.testing.assert_array_equal(mask, batch.mask[:, 0])
    targets = [step["target"] for step in steps if step["target"]]
    np.testing.assert_array_equal(targets, np.asarray(batch.targets)[mask, 0])


@pytest.mark.slow
def test_the_page_has_a_kind_for_each_task_that_it_takes(scripts):
    assert scripts.evaluate("Object.keys(kinds)") == list(TASKS)


@pytest.mark.slow
def test_the_best_predictions_are_those_of_the_task(scripts):
    task = tasks.DynamicNGrams(order=3)
    batch = task.sample(jax.random.key(3), 1, length=40)
    found = scripts.evaluate(
        "([drawing, fields]) => kinds.dynamic_ngrams.optimum(drawing, fields)",
        [drawing_of(task, {"length": 40}, batch), dataclasses.asdict(task)],
    )
    best = jax.nn.sigmoid(task.optimal_logits(batch))[:, 0]
    np.testing.assert_allclose(
        np.asarray(found)[1:], np.asarray(best)[1:], rtol=0, atol=1e-6
    )


# --- the reader --------------------------------------------------------------------


def number(opened: Page, name: str) -> float:
    """A number of the tables at the step shown."""
    return float(opened.locator(f'[data-name="{name}"]').inner_text())


def cell(opened: Page, column: int, bit: int = 0):
    return opened.locator(f'[data-column="{column}"][data-bit="{bit}"]')


def drawn(opened: Page) -> np.ndarray:
    """The bits, by what the cells say, `[vectors, bits]`."""
    pressed = opened.locator("#cells .cell").evaluate_all(
        "cells => cells.map(cell => [+cell.dataset.column, +cell.dataset.bit,"
        " +(cell.getAttribute('aria-pressed') === 'true')])"
    )
    table = np.asarray(pressed)
    bits = np.empty(table[:, :2].max(axis=0) + 1, int)
    bits[table[:, 0], table[:, 1]] = table[:, 2]
    return bits


def answered(opened: Page) -> np.ndarray:
    """The outputs where an answer is due, as bits."""
    return np.asarray(
        opened.evaluate(
            "Array.from({length: now.steps}, (_, t) => t).filter((t) =>"
            " now.due.values[t]).map((t) => Array.from(at(now.outputs, t), (value) =>"
            " Number(value > 0.5)))"
        )
    )


@pytest.mark.slow
def test_a_flipped_bit_is_copied(opened):
    before = drawn(opened)
    cell(opened, 3, 2).click()
    after = drawn(opened)
    assert after[3, 2] == 1 - before[3, 2]
    assert np.sum(after != before) == 1
    np.testing.assert_array_equal(answered(opened), after)
    assert opened.locator("#result").inner_text() == f"All {after.size} bits right."
    opened.locator("#step").fill("3")
    assert number(opened, "inputs.2") == after[3, 2]
    opened.locator("#step").fill(str(len(after) + 1 + 3))
    assert round(number(opened, "outputs.2")) == number(opened, "targets.2")
    assert number(opened, "targets.2") == after[3, 2]
    cell(opened, 3, 2).click()
    np.testing.assert_array_equal(drawn(opened), before)


@pytest.mark.slow
def test_a_mouse_draws_over_several_cells(opened):
    wanted = drawn(opened)
    wanted[1:4, 4] = 1 - wanted[1, 4]
    cell(opened, 1, 4).hover()
    opened.mouse.down()
    for column in (2, 3, 2, 1):
        cell(opened, column, 4).hover()
    opened.mouse.up()
    np.testing.assert_array_equal(drawn(opened), wanted)
    np.testing.assert_array_equal(answered(opened), wanted)


@pytest.mark.slow
def test_it_works_with_the_keyboard_alone(opened):
    for _ in range(20):
        opened.keyboard.press("Tab")
        if opened.evaluate("document.activeElement.matches('.cell')"):
            break
    before = drawn(opened)
    for key in ("ArrowRight", "ArrowRight", "ArrowUp", "Space"):
        opened.keyboard.press(key)
    assert np.argwhere(drawn(opened) != before).tolist() == [[2, 1]]
    opened.keyboard.press("End")
    opened.keyboard.press("Enter")
    last = len(before) - 1
    assert np.argwhere(drawn(opened) != before).tolist() == [[2, 1], [last, 1]]
    focused = "document.activeElement.getAttribute('aria-label')"
    assert opened.evaluate(focused) == f"vector {last + 1}, bit 2"
    at = opened.locator("#step").input_value()
    assert at == str(2 * len(before))  # not moved by the arrows in the cells
    opened.keyboard.press("Shift+Tab")
    opened.keyboard.press("ArrowLeft")
    assert opened.locator("#step").input_value() == str(2 * len(before) - 1)


@pytest.mark.slow
def test_it_is_made_longer_and_shorter(opened):
    before = drawn(opened)
    opened.get_by_role("button", name="Vectors: one more").click()
    longer = drawn(opened)
    assert len(longer) == len(before) + 1
    np.testing.assert_array_equal(longer[:-1], before)
    np.testing.assert_array_equal(answered(opened), longer)
    field = opened.get_by_role("spinbutton", name="Vectors", exact=True)
    field.fill("40")
    field.press("Enter")
    np.testing.assert_array_equal(answered(opened), drawn(opened))
    assert len(drawn(opened)) == 40  # twice the longest of training
    field.fill("3")
    field.press("Enter")
    np.testing.assert_array_equal(drawn(opened), before[:3])
    for wrong, want in (("0", 1), ("100000", 128), ("", 128)):
        field.fill(wrong)
        field.press("Enter")
        assert field.input_value() == str(want)
        assert len(drawn(opened)) == want


@pytest.mark.slow
def test_random_draws_anew(opened):
    before = drawn(opened)
    opened.get_by_role("button", name="Random").click()
    assert (drawn(opened) != before).any()
    assert drawn(opened).shape == before.shape


@pytest.mark.slow
def test_it_plays_and_covers_what_is_to_come(opened):
    wide = "document.querySelector('#answers .veil').offsetWidth"
    assert opened.evaluate(wide) <= 1
    opened.locator("#step").fill("5")
    assert opened.evaluate(wide) > 100
    opened.get_by_role("button", name="Play").click()
    expect(opened.locator("#step")).to_have_value("24", timeout=60_000)
    opened.get_by_role("button", name="Play").wait_for()  # it stopped
    assert opened.evaluate(wide) <= 1


@pytest.mark.slow
def test_a_typed_string_is_reversed(opened):
    choose(opened, "reverse_string")
    opened.get_by_label("Type 0s and 1s").fill("0010 111x")
    assert drawn(opened)[:, 0].tolist() == [0, 0, 1, 0, 1, 1, 1]
    words = "All 7 bits right. Output 1110100, target 1110100."
    assert opened.locator("#result").inner_text() == words


@pytest.mark.slow
def test_a_priority_moves_a_vector(opened):
    choose(opened, "priority_sort")
    vectors, slider = drawn(opened), opened.get_by_label("Priority of vector 5")
    others = np.delete(opened.evaluate("drawing.priorities"), 4)
    highest = np.delete(np.arange(20), 4)[others.argmax()]
    for priority, first in (("1", 4), ("-1", highest)):
        slider.fill(priority)
        np.testing.assert_array_equal(answered(opened)[0], vectors[first])


@pytest.mark.slow
def test_another_item_is_asked_for(opened):
    choose(opened, "associative_recall")
    items = drawn(opened).reshape(-1, 3, 6)
    for query in (1, 3):
        field = opened.get_by_role("spinbutton", name="Item asked for")
        field.fill(str(query))
        field.press("Enter")
        np.testing.assert_array_equal(answered(opened), items[query])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["repeat_copy", "repeat_copy_pulses"])
def test_it_repeats_as_often_as_asked(opened, name):
    choose(opened, name)
    for repeats in (2, 5):
        field = opened.get_by_role("spinbutton", name="Repeats")
        field.fill(str(repeats))
        field.press("Enter")
        *copies, end = answered(opened)
        bits = drawn(opened)
        np.testing.assert_array_equal(
            np.asarray(copies)[:, :-1], np.tile(bits, (repeats, 1))
        )
        assert end[-1] == 1


@pytest.mark.slow
def test_a_drawing_stays_when_another_machine_is_chosen(opened):
    cell(opened, 0, 0).click()
    before = drawn(opened)
    choose(opened, "dynamic_ngrams")
    assert drawn(opened).shape == (60, 1)
    assert "than those of the best predictor" in opened.locator("#result").inner_text()
    assert number(opened, "optimum.0") >= 0
    choose(opened, "copy")
    np.testing.assert_array_equal(drawn(opened), before)


@pytest.mark.slow
def test_a_name_is_shown_as_text(opened):
    options = (
        opened.get_by_label("Machine", exact=True).locator("option").all_inner_texts()
    )
    assert options[-1] == HARMFUL
    choose(opened, "reverse_string")
    assert opened.locator("img").count() == 0


@pytest.mark.slow
def test_it_fits_a_narrow_screen(opened):
    opened.set_viewport_size({"width": 360, "height": 700})
    for name in NAMES:
        choose(opened, name)
        assert opened.evaluate("document.documentElement.scrollWidth") == 360
    for button in opened.locator("#controls button").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 40  # wide enough for a finger


# --- what the page cannot run ------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "sizes", "message"),
    [
        (
            {"model": "lstm"},
            {},
            "play: got 'it', whose model is lstm, want the machine",
        ),
        (
            {"task": "docs/examples/running_mean.py:RunningMean"},
            {},
            r"play: got 'it', whose task is .*:RunningMean, want one of copy, ",
        ),
        (
            {},
            {"length": 500},
            "length: got a sequence of 1001 steps with length 500, want at most 1000",
        ),
        ({}, {"items": 3}, "items"),
    ],
)
def test_what_the_page_cannot_run_is_an_error(config, sizes, message):
    machine = Playable("it", {}, TrainConfig(**{"task": "copy", **config}), sizes)
    with pytest.raises((TypeError, ValueError), match=message):
        check(machine)


def test_a_large_memory_is_refused():
    with pytest.raises(ValueError, match="num_slots: got 2048, want at most 1024"):
        play_page([], num_slots=2048)


def test_play_needs_html(tmp_path, capsys):
    arguments = ["--pretrained=copy", "--play", f"--out={tmp_path / 'new'}"]
    with pytest.raises(SystemExit):
        visualize.main(arguments)
    assert "play: got it without --html" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_page_too_large_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("train.show.html._MOST_BYTES", 10_000)
    arguments = ["--pretrained=copy", "--html", "--play", f"--out={tmp_path / 'new'}"]
    with pytest.raises(SystemExit):
        visualize.main(arguments)
    assert "html: got a page of 0." in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_the_command_writes_the_page_alone(tmp_path, capsys, browser):
    arguments = ["--pretrained=copy", "--html", "--play", "--length=7", "--seed=3"]
    assert visualize.main([*arguments, f"--out={tmp_path}"]) == 0
    (written,) = tmp_path.iterdir()
    assert written.name == "play.html"
    assert capsys.readouterr().out == f"{written}\n"
    text = written.read_text()
    assert not re.search(r"(src|href)=|https?:|@import|url\(", text)
    opened = browser.new_page()
    opened.goto(written.as_uri())
    opened.wait_for_selector("#heads td")
    assert drawn(opened).shape == (7, 8)
    np.testing.assert_array_equal(answered(opened), drawn(opened))
    opened.close()
