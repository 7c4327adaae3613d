"""The command that draws what a machine does: what it leaves, what it refuses."""

import dataclasses
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from tiny import TINY, claimed, flags, listing, short_of_time  # noqa: F401 (a fixture)

from train import main, visualize
from train.runs import pretrained
from train.runs.folder import RunFolder
from train.show import draw, figures
from train.show.recording import record

BOTH = ("png", "svg")
SHORT = dataclasses.replace(TINY, steps=8, validate_every=4)


@pytest.fixture(scope="module", autouse=True)
def loose_ranks():
    """Flax's cell adds a bias to a batch."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a complete run of two seeds."""
    workdir = tmp_path_factory.mktemp("runs") / "tiny"
    config = dataclasses.replace(SHORT, num_seeds=2)
    assert main.main([f"--workdir={workdir}", *flags(config)]) == 0
    return workdir


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """The folder of a run of two seeds before its first update."""
    workdir = tmp_path_factory.mktemp("runs") / "begun"
    folder = claimed(workdir, dataclasses.replace(SHORT, num_seeds=2))
    folder.save(folder.load())
    return workdir


def files(names: set[str]) -> set[str]:
    """Each in both formats."""
    return {f"{name}.{suffix}" for name in names for suffix in BOTH}


def made_by(arguments: list[str], capsys) -> list[Path]:
    """The files that the command says it wrote, which are there."""
    assert visualize.main(arguments) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert all(path.stat().st_size > 0 for path in paths)
    return paths


@pytest.mark.slow
def test_all_figures_of_a_run(run, capsys):
    made = made_by([f"--workdir={run}", "--length=3"], capsys)
    assert {path.parent for path in made} == {run / "figures"}
    sizes = {f"{name}_3" for name in ("answer", "focus", "vectors", "addressing")}
    wanted = {*sizes, "memory_3", "learning_curve", "learning_compared"}
    films = {"memory_3.gif", "learning.gif"}
    assert {path.name for path in made} == files(wanted) | films
    for path in made:
        if path.suffix == ".svg":
            assert path.read_text().startswith("<?xml")
        else:
            with Image.open(path) as image:
                image.verify()
    with Image.open(run / "figures" / "learning.gif") as film:
        assert getattr(film, "n_frames", 1) == 4


def test_the_same_picture_again_is_the_same_file(tmp_path):
    memory = np.eye(4, 3)
    for name in "ab":
        draw.save({"memory": figures.memory(memory)}, tmp_path / name, BOTH)
    first, second = (
        {path.name: content for path, content in listing(tmp_path / name).items()}
        for name in "ab"
    )
    assert set(first) == files({"memory"})
    assert first == second


@pytest.mark.slow
def test_a_machine_of_its_seed(run, tmp_path):
    flags = visualize.Flags(workdir=run, machine=1)
    (machine,) = visualize.open_all(flags)
    wanted = RunFolder.open(run).restore().params["output"]["kernel"][1]
    np.testing.assert_array_equal(machine.params["output"]["kernel"], wanted)
    assert machine.name == "copy, seed 1"


@pytest.mark.rare
def test_machines_that_ship_have_a_folder_each(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(visualize, "_FORMATS", ("png",))
    names = ["associative_recall", "priority_sort"]
    arguments = ["--pretrained", *names, f"--out={tmp_path}", "--num_slots=64"]
    made = made_by(arguments, capsys)
    assert {path.parent.name for path in made} == set(names)
    found = {path.name for path in made}
    assert {"locations_6.png", "locations_20_16.png", "learning_compared.png"} <= found


@pytest.mark.rare
def test_predictions_are_drawn_where_there_are_best_ones(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(visualize, "_FORMATS", ("png",))
    arguments = ["--pretrained=dynamic_ngrams", "--length=20", f"--out={tmp_path}"]
    found = {path.name for path in made_by(arguments, capsys)}
    assert "prediction_20.png" in found


@pytest.mark.rare
def test_an_lstm_alone_has_no_memory_to_draw(run, tmp_path, capsys):
    alone = dataclasses.replace(SHORT, model="lstm", steps=4)
    workdir = tmp_path / "lstm"
    assert main.main([f"--workdir={workdir}", *flags(alone)]) == 0
    capsys.readouterr()
    arguments = [f"--workdir={workdir}", "--length=3", f"--beside={run}"]
    found = {path.name for path in made_by(arguments, capsys)}
    wanted = files({"answer_3", "learning_curve", "learning_compared"})
    assert found == {*wanted, "learning.gif"}
    with pytest.raises(SystemExit, match="2"):
        visualize.main([*arguments, "--num_slots=9"])
    assert "num_slots: got 9, but an LSTM has no memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "workdir, pretrained: got none, want one of them"),
        ("--pretrained=copy --workdir={run}", "workdir, pretrained: got both"),
        ("--pretrained=magic", "pretrained: got 'magic', want one of"),
        ("--pretrained copy copy", "pretrained: got 'copy' twice, want each once"),
        (
            "--pretrained=copy --machine=0",
            "machine: got 0, but each pretrained",
        ),
        (
            "--workdir={run} --machine=7",
            "machine: got 7, want one of the run's, 0 to 1",
        ),
        ("--pretrained=copy --length=0", "length: got 0, want an integer >= 1"),
        ("--pretrained=copy --items=3", "items: got 3, but Copy only has length"),
        ("--pretrained=copy --length=200", "num_slots: got 128, want at least 200"),
        ("--pretrained=copy --num_slots=2", "num_slots: got 2, want at least 20"),
        ("--pretrained=copy --seed=-1", "seed: got -1, want an integer >= 0"),
        ("--workdir={run}/nothing", "want the folder of a run"),
        ("--pretrained=associative_recall --beside={run}", "beside: got a run of copy"),
        ("--pretrained=copy --beside={run}/nothing", "beside: got {run}/nothing, want"),
        ("--pretrained=copy --out={run}/config.json", "is a file, want a folder"),
        ("--pretrained=copy --out={run}/config.json/a", "is a file, want a folder"),
        ("--pretrained=copy --length=9000 --num_slots=9000", "would take 14 GB, want"),
        ("--pretrained=copy --html --beside={run}", "beside: got {run}, but a page"),
        ("--pretrained=copy --html --num_slots=64", "num_slots: got 64, want at least"),
        ("--pretrained copy magic --html", "pretrained: got 'magic', want one of"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    begun, arguments, message, tmp_path, capsys
):
    words = arguments.format(run=begun).split()
    if "--out" not in arguments:
        words.append(f"--out={tmp_path / 'out'}")
    before = listing(begun)
    with pytest.raises(SystemExit, match="2"):
        visualize.main(words)
    told = capsys.readouterr().err
    assert message.format(run=begun) in " ".join(told.split())
    assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
    assert listing(begun) == before


@pytest.mark.slow
def test_a_run_without_a_validation_yet_is_named(run, tmp_path, capsys):
    young = tmp_path / "young"
    shutil.copytree(run, young)
    (young / "metrics.jsonl").write_text("")
    shutil.rmtree(young / "checkpoints")
    with pytest.raises(SystemExit, match="2"):
        visualize.main(["--pretrained=copy", "--length=3", f"--beside={young}"])
    told = " ".join(capsys.readouterr().err.split())
    assert f"beside: got {young}, which has no validation yet" in told


@pytest.mark.slow
def test_a_recording_is_of_the_sequence_that_is_evaluated():
    params, config, _ = pretrained.load_run("copy")
    first = record(params, config, {"length": 4})
    again = record(params, config, {"length": 4}, num_slots=32)
    other = record(params, config, {"length": 4}, index=1)
    untraced = record(params, config, {"length": 4}, traced=False)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert (first.inputs != other.inputs).any()
    assert untraced.trace is None
    np.testing.assert_allclose(untraced.outputs, first.outputs, atol=1e-6)
    assert first.trace is not None
    assert again.trace is not None
    assert again.trace.states.memory.shape == (9, 32, 20)
    np.testing.assert_allclose(
        first.outputs, jax.nn.sigmoid(first.trace.outputs), rtol=1e-6
    )
    assert first.wrong == 0
    assert first.result == "0 wrong of 32 bits"


@pytest.mark.slow
def test_every_figure_is_named_after_its_sequence():
    params, config, _ = pretrained.load_run("priority_sort")
    recording = record(params, config, {"length": 3, "answers": 2})
    drawn = draw.named(draw.all_of(recording), recording)
    assert set(drawn) == {
        f"{name}_3_2"
        for name in (
            "answer",
            "focus",
            "vectors",
            "addressing",
            "memory",
            "locations",
        )
    }
