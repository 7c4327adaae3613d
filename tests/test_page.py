"""The page, as a person uses it: opened offline in Chromium, if that is there."""

import base64
import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from train import visualize
from train.runs import pretrained
from train.show.figures import ring
from train.show.page import pack, page
from train.show.recording import Recording, record

LENGTHS = (5, 9)


@pytest.fixture(scope="module")
def recordings(quick_compilations) -> list[Recording]:
    """Of the machine that copies, a short and a longer sequence; one of n-grams."""
    params, config, _ = pretrained.load_run("copy")
    copies = [record(params, config, {"length": length}) for length in LENGTHS]
    params, config, _ = pretrained.load_run("dynamic_ngrams")
    return [*copies, record(params, config, {"length": 12})]


@pytest.fixture(scope="module")
def html(recordings) -> str:
    names = ["copy", "copy", "<b>dynamic</b> n-grams</script>"]
    return page(list(zip(names, recordings)))


@pytest.fixture(scope="module")
def path(html, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(html)
    return path


def number(opened: Page, name: str) -> str:
    return opened.locator(f'[data-name="{name}"]').inner_text()


def step_shown(opened: Page) -> int:
    words = opened.locator("#where").inner_text()
    found = re.match(r"step (\d+) of", words)
    assert found is not None, words
    assert opened.locator("#step").input_value() == found[1]
    return int(found[1])


def check_numbers(opened: Page, recording: Recording) -> None:
    """That all numbers shown are those of the arrays."""
    step, trace = step_shown(opened), recording.trace
    assert trace is not None
    states, writing = trace.states, trace.writing
    slot = int(opened.locator("#slot").input_value())
    wanted = {
        "inputs": recording.inputs[step],
        "outputs": recording.outputs[step],
        "add.0": writing.add[step, 0],
        "erase.0": writing.erase[step, 0],
        "reads.0": states.reads[step, 0],
        "key.0": trace.write.key[step, 0],
        "key.1": trace.read.key[step, 0],
        "slot": states.memory[step, slot],
    }
    if recording.mask[step]:
        wanted["targets"] = recording.targets[step]
    for field in ("gate", "strength", "gamma"):
        wanted[field] = [getattr(trace.write, field)[step, 0]]
        wanted[field] += [getattr(trace.read, field)[step, 0]]
    for i in range(3):
        wanted[f"shift{i}"] = [trace.write.shift[step, 0, i]]
        wanted[f"shift{i}"] += [trace.read.shift[step, 0, i]]
    both = states.write_weights[step, 0], states.read_weights[step, 0]
    wanted["weight"] = [weights.max() for weights in both]
    found = opened.evaluate(
        "Object.fromEntries(Array.from(document.querySelectorAll('[data-name]'),"
        " cell => [cell.dataset.name, cell.textContent]))"
    )
    expected = {
        f"{name}.{i}": f"{value:.3f}".replace("-0.000", "0.000")
        for name, values in wanted.items()
        for i, value in enumerate(np.round(np.asarray(values, np.float64), 3))
    }
    expected |= {f"most.{i}": str(weights.argmax()) for i, weights in enumerate(both)}
    assert found == expected


@pytest.mark.slow
def test_numbers_are_those_of_the_trace_at_every_step(opened, recordings):
    for step in range(len(recordings[0].inputs)):
        assert step_shown(opened) == step
        check_numbers(opened, recordings[0])
        opened.keyboard.press("ArrowRight")


@pytest.mark.slow
def test_arrow_keys_and_buttons_go_one_step(opened):
    for _ in range(3):
        opened.keyboard.press("ArrowRight")
    assert step_shown(opened) == 3
    opened.keyboard.press("ArrowLeft")
    assert step_shown(opened) == 2
    opened.get_by_role("button", name="One step on").click()
    opened.get_by_role("button", name="One step on").press("ArrowRight")
    assert step_shown(opened) == 4
    for _ in range(9):
        opened.get_by_role("button", name="One step back").click()
    assert step_shown(opened) == 0


@pytest.mark.slow
def test_the_slider_moves(opened, recordings):
    slider = opened.get_by_role("slider", name="Time step")
    slider.fill("7")
    assert step_shown(opened) == 7
    check_numbers(opened, recordings[0])
    slider.press("ArrowLeft")
    assert step_shown(opened) == 6
    slider.press("End")
    assert step_shown(opened) == 2 * LENGTHS[0]
    assert slider.get_attribute("aria-valuetext") == "step 10 of 10: answer"


@pytest.mark.slow
def test_it_plays_to_the_end(opened):
    opened.get_by_role("button", name="Play").click()
    expect(opened.locator("#step")).to_have_value("10", timeout=30_000)
    opened.get_by_role("button", name="Play").wait_for()
    opened.keyboard.press("ArrowLeft")
    assert step_shown(opened) == 9


@pytest.mark.slow
def test_another_sequence_is_chosen(opened, recordings):
    choice = opened.get_by_label("Sequence", exact=True)
    assert [
        option.strip() for option in choice.locator("option").all_inner_texts()
    ] == [
        "copy: length 5, sequence 1",
        "copy: length 9, sequence 1",
        "<b>dynamic</b> n-grams</script>: length 12, sequence 1",
    ]
    for index in (1, 2, 0):
        choice.select_option(str(index))
        last = len(recordings[index].inputs) - 1
        expect(opened.locator("#step")).to_have_attribute("max", str(last))
        opened.locator("#step").fill(str(last // 2))
        check_numbers(opened, recordings[index])
        assert opened.locator("#result").inner_text() == recordings[index].result


@pytest.mark.slow
def test_pictures_have_the_colours_of_the_numbers(opened, recordings):
    opened.locator("#step").fill("3")
    # A row for each slot in use, such as those from 125 over 127 and 0 to 12.
    used = re.findall(r"\d+", opened.locator("#used").inner_text())
    first, last, num_slots = map(int, used)
    rows = np.arange(first, last + (num_slots if last < first else 0) + 1) % num_slots
    assert num_slots == 128
    assert len(rows) < 128
    colours = opened.evaluate(
        "Array.from(document.querySelector('#paths canvas').getContext('2d')"
        f".getImageData(0, 0, 11, {len(rows)}).data)"
    )
    image = np.reshape(colours, (len(rows), 11, 4))[::-1]
    weights = recordings[0].trace.states.write_weights[:, 0].T
    greenness = image[..., 1]  # viridis has more green, the higher the value
    np.testing.assert_array_equal(
        rows[greenness.argmax(axis=0)], weights.argmax(axis=0)
    )
    assert (image[..., 3] == 255).all()


@pytest.mark.slow
def test_a_click_on_the_memory_takes_a_slot(opened, recordings):
    opened.locator("#step").fill("4")
    memory = opened.locator("#memory .frame")
    box = memory.bounding_box()
    memory.click(position={"x": box["width"] * 3.5 / 128, "y": box["height"] / 2})
    assert opened.locator("#slot").input_value() == "3"
    check_numbers(opened, recordings[0])
    value = recordings[0].trace.states.memory[4, 3]
    assert re.fullmatch(
        r"slot 3, element \d+: -?\d+\.\d{3}", opened.locator("#pointed").inner_text()
    )
    opened.locator("#slot").fill("2")
    check_numbers(opened, recordings[0])
    assert len(value) == 20


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 400])
def test_it_is_readable_on_a_narrow_screen(opened, width):
    opened.set_viewport_size({"width": width, "height": 700})
    assert opened.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.slow
def test_a_sequence_in_words_has_a_column_for_each_step(browser, tmp_path):
    params, config, _ = pretrained.load_run("poems")
    recording = record(params, config, {})
    path = tmp_path / "page.html"
    path.write_text(page([("poems", recording)]))
    opened = browser.new_page(viewport={"width": 1000, "height": 800})
    opened.goto(path.as_uri())
    opened.wait_for_selector("#in-words td.now")
    words, end = recording.words, len(recording.inputs) - 1
    assert words is not None
    rows = opened.locator("#in-words tr").all()
    of_kinds = (words.inputs, words.targets, words.outputs)
    assert [row.locator("td").all_text_contents() for row in rows] == [*of_kinds]
    wrong = opened.locator("#in-words .wrong")
    assert wrong.count() == sum(words.wrong())
    opened.get_by_role("slider", name="Time step").press("End")
    expect(opened.locator("#in-words .now").last).to_be_in_viewport()
    assert opened.locator("#in-words .now").count() == 3
    opened.locator(f'#in-words td[data-step="{end - 1}"]').first.click()
    assert step_shown(opened) == end - 1
    opened.close()


@pytest.mark.slow
def test_the_page_fetches_nothing_and_holds_what_it_was_given(html, recordings):
    assert not re.search(r"(src|href)=|https?:|@import|url\(", html)
    (script,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL
    )
    data = json.loads(script)
    assert data["sequences"][2]["machine"] == "<b>dynamic</b> n-grams</script>"
    assert "<" not in script
    for sequence, recording in zip(data["sequences"], recordings):
        memory = recording.trace.states.memory
        states = recording.trace.states
        used = ring.visited(states.write_weights, states.read_weights)
        assert sequence["used"] == [used.first, used.length]
        array = sequence["arrays"]["memory"]
        assert array["shape"] == list(memory.shape)
        differences = unpack(array["packed"]).reshape(memory.shape)
        thousandths = np.cumsum(differences, axis=0)
        np.testing.assert_allclose(thousandths / 1000, memory, rtol=0, atol=0.501e-3)


def unpack(text: str) -> np.ndarray:
    """As the page does; flat."""
    return np.frombuffer(gzip.decompress(base64.b64decode(text)), "<i4")


def test_packing_keeps_thousandths():
    values = np.asarray([[0.0, -1.2345, 2e6], [0.0004, 31.5, -2e6], [1, 1, 1]])
    unpacked = np.cumsum(unpack(pack("values", values)).reshape(3, 3), axis=0)
    wrapped = unpacked.astype(np.int32)
    np.testing.assert_array_equal(wrapped, np.round(values * 1000))
    for wrong in (np.nan, np.inf, 1e7):
        with pytest.raises(ValueError, match="memory: got numbers beyond 2e6"):
            pack("memory", np.asarray([[wrong]]))


@pytest.mark.slow
def test_a_page_too_large_is_refused(recordings, monkeypatch):
    monkeypatch.setattr("train.show.html._MOST_BYTES", 10_000)
    with pytest.raises(ValueError, match=r"html: got a page of 0.0 MB, want at"):
        page([("copy", recordings[0])])


@pytest.mark.slow
def test_the_command_writes_the_page_alone(tmp_path, capsys):
    arguments = ["--pretrained=copy", "--length=6", "--html", f"--out={tmp_path}"]
    assert visualize.main(arguments) == 0
    (written,) = tmp_path.iterdir()
    assert capsys.readouterr().out == f"{written}\n"
    assert written.name == "page.html"
    assert written.stat().st_size < 5_000_000
    assert "length 6, sequence 2" in written.read_text()
