"""What a run wrote is checked as it is read: that it is whole, and of one run."""

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import damage
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from damage import CONFIG
from tiny import claimed, evaluate_two, flags, listing

from benchmarks import records
from train import evaluate, learn, main, ship
from train.runs import pretrained
from train.runs.checkpoint import METADATA, Checkpoints
from train.runs.files import hash_of
from train.runs.folder import RunFolder, open_complete
from train.show.learners import recorded_learners

pytestmark = pytest.mark.slow  # they begin by training two runs


@pytest.fixture(scope="module")
def made(tmp_path_factory, quick_compilations):
    """Runs of two seeds, complete and stopped, and shipped; also as 0.1 wrote them."""
    return damage.make(tmp_path_factory.mktemp("made") / "all")[0].folder.parent


@pytest.fixture
def complete(made, tmp_path) -> Path:
    """A complete run, with checkpoints of updates 8 and 12."""
    return shutil.copytree(made / "runs" / "0", tmp_path / "complete")


@pytest.fixture
def stopped(made, tmp_path) -> Path:
    """A run that was stopped after its checkpoint of update 8."""
    return shutil.copytree(made / "stopped" / "0", tmp_path / "stopped")


def refusal(command, arguments, folder: Path, capsys) -> str:
    """What a command says that refuses to run and changes nothing."""
    before = listing(folder)
    with pytest.raises(SystemExit, match="2"):
        command(arguments)
    assert listing(folder) == before
    return capsys.readouterr().err


def refusal_to_go_on(folder: Path, capsys, **changes) -> str:
    config = dataclasses.replace(CONFIG, **changes)
    return refusal(main.main, [f"--workdir={folder}", *flags(config)], folder, capsys)


def test_a_complete_run_without_its_last_checkpoint_is_told(complete, capsys):
    shutil.rmtree(complete / "checkpoints" / "12")
    told = refusal_to_go_on(complete, capsys)
    assert "evaluation.json, which is of update 12, while the newest checkpoint" in told
    asked = [f"--workdir={complete}"]
    assert "evaluation.json, which is of" in refusal(
        ship.main, [*asked, "--overwrite"], complete, capsys
    )
    told = refusal(evaluate.main, asked, complete, capsys)
    assert "evaluation.json, which is not of the machines in the newest" in told
    # As the message says:
    (complete / "evaluation.json").unlink()
    assert claimed(complete, CONFIG).load().step.tolist() == [8]


def test_a_checkpoint_of_another_name_is_told(complete, made, capsys):
    shutil.rmtree(complete / "checkpoints" / "12")
    (complete / "checkpoints" / "8").rename(complete / "checkpoints" / "12")
    told = refusal(evaluate.main, [f"--workdir={complete}"], complete, capsys)
    assert "checkpoints/12, which cannot be restored" in told
    older = complete.parent / "older"
    shutil.copytree(made / "runs_of_0.1" / "0", older)
    shutil.rmtree(older / "checkpoints" / "12")
    (older / "checkpoints" / "8").rename(older / "checkpoints" / "12")
    told = refusal(evaluate.main, [f"--workdir={older}"], older, capsys)
    assert (
        "checkpoints/12, which holds the state after update 8; rename the folder to 8"
        in told
    )


def test_an_evaluation_of_another_run_is_told(complete, made, capsys):
    other = made / "runs" / "1" / "evaluation.json"
    of_other = json.loads(other.read_text().replace('"machine": 1', '"machine": 0'))
    (complete / "evaluation.json").write_text(json.dumps(of_other, indent=2) + "\n")
    told = refusal(ship.main, [f"--workdir={complete}"], complete, capsys)
    assert "evaluation.json, which is damaged: its hash is not that in" in told
    # Even with its hashes.
    shutil.copy(made / "runs" / "1" / "sums.json", complete)
    sums = json.loads((complete / "sums.json").read_text())
    sums["evaluation.json"] = hash_of((complete / other.name).read_bytes())
    (complete / "sums.json").write_text(json.dumps(sums))
    told = refusal(evaluate.main, [f"--workdir={complete}"], complete, capsys)
    assert "evaluation.json, which is not of the machines in the newest" in told


def test_a_changed_setting_of_a_complete_run_is_told_by_all_that_read_it(complete):
    path = complete / "config.json"
    path.write_text(path.read_text().replace('"epsilon": 1e-08', '"epsilon": 1e-07'))
    run = RunFolder.open(complete)
    for read in (run.evaluation, run.metrics, run.answers, run.restore):
        with pytest.raises(
            ValueError, match=r"epsilon: got 1e-07 in config\.json, but"
        ):
            read()


@pytest.mark.parametrize("number", ["error_per_sequence", "perfect_fraction"])
def test_a_changed_number_of_an_evaluation_is_told(complete, number, capsys):
    path = complete / "evaluation.json"
    entries = json.loads(path.read_text())
    entries[0][number] = 0.125
    path.write_text(json.dumps(entries, indent=2) + "\n")
    assert "evaluation.json, which is damaged" in refusal_to_go_on(complete, capsys)


def test_a_changed_setting_is_told(complete, capsys):
    path = complete / "config.json"
    changed = dataclasses.replace(CONFIG, num_slots=9)
    path.write_text(changed.to_json())
    told = refusal(evaluate.main, [f"--workdir={complete}"], complete, capsys)
    assert "num_slots: got 9 in config.json, but 8 in" in told
    path.write_text(dataclasses.replace(CONFIG, steps=14).to_json())
    told = refusal(evaluate.main, [f"--workdir={complete}"], complete, capsys)
    assert "steps: got [14] in steps_before.json and config.json, but [12] in" in told


def test_more_steps_for_a_damaged_run_change_nothing(complete, capsys):
    (complete / "metrics.jsonl").unlink()
    told = refusal_to_go_on(complete, capsys, steps=20)
    assert "metrics.jsonl: got 0 lines, want the" in told


def removed(path: Path, made: Path) -> None:
    del made
    path.unlink()


def halved(path: Path, made: Path) -> None:
    del made
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[: len(lines) // 3]))


def without_its_start(path: Path, made: Path) -> None:
    del made
    path.write_text("".join(path.read_text().splitlines(keepends=True)[3:]))


def with_a_flipped_bit(path: Path, made: Path) -> None:
    del made
    path.write_bytes(b"z" + path.read_bytes()[1:])


def with_another_number(path: Path, made: Path) -> None:
    del made
    path.write_text(path.read_text().replace(".", ".1", 1))


def of_another_run(path: Path, made: Path) -> None:
    text = (made / "stopped" / "1" / path.name).read_text()
    path.write_text(text.replace('"seed": 1', '"seed": 0'))


@pytest.mark.parametrize("name", ["metrics.jsonl", "answers.jsonl"])
@pytest.mark.parametrize(
    "damaged",
    [
        removed,
        halved,
        without_its_start,
        with_a_flipped_bit,
        with_another_number,
        of_another_run,
    ],
)
def test_a_stopped_run_goes_on_with_whole_journals_only(
    stopped, made, name, damaged, capsys
):
    damaged(stopped / name, made)
    assert f"/{name}" in refusal_to_go_on(stopped, capsys)


@pytest.mark.parametrize(
    "damaged", [removed, halved, without_its_start, with_a_flipped_bit]
)
def test_a_run_of_0_1_goes_on_with_whole_metrics_only(made, damaged, tmp_path, capsys):
    older = shutil.copytree(made / "stopped_of_0.1" / "0", tmp_path / "older")
    assert claimed(older, CONFIG).load().step.tolist() == [8]
    damaged(older / "metrics.jsonl", made)
    assert "/metrics.jsonl" in refusal_to_go_on(older, capsys)


def test_a_line_that_a_kill_cut_short_does_not_count(stopped):
    path = stopped / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 14, "kind": "tr')
    run = RunFolder.open(stopped)
    assert max(entry["step"] for entry in run.metrics()) == 12
    run.start()
    assert max(entry["step"] for entry in run.metrics()) == 8
    run.events.close()


def test_records_of_a_run_of_0_1_are_read(made):
    run, evaluation = open_complete(made / "runs_of_0.1" / "0")
    newer, as_now = open_complete(made / "runs" / "0")
    assert evaluation == as_now
    assert run.metrics() == newer.metrics()
    assert run.answers() == newer.answers()
    jax.tree.map(np.testing.assert_array_equal, run.restore(), newer.restore())


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("jax_enable_x64", True),
        ("jax_default_prng_impl", "rbg"),
        ("jax_threefry_partitionable", False),
        ("jax_default_matmul_precision", "highest"),
        ("jax_random_seed_offset", 1),
    ],
)
def test_other_settings_of_jax_are_told(stopped, setting, value, capsys):
    before = getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        told = refusal_to_go_on(stopped, capsys)
    finally:
        jax.config.update(setting, before)
    path = stopped / "checkpoints" / "8"
    said = (
        f"{setting}: got {value}, but the run has been trained with {before} ({path})"
    )
    assert said in told
    name = setting.upper()
    remedy = f"unset {name}" if before is None else f"set {name}={before}"
    assert told.endswith(f"{remedy}\n")


WRONG = ("x", None, [], {}, True, -1, 10**30, float("inf"))


@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize(
    "field", ["machine", "step", "solved_at", "num_sequences", "length"]
)
def test_a_field_of_an_evaluation_of_another_kind(made, field, value, tmp_path):
    run = shutil.copytree(made / "runs_of_0.1" / "0", tmp_path / "run")
    entries = json.loads((run / "evaluation.json").read_text())
    entries[1][field] = value
    (run / "evaluation.json").write_text(json.dumps(entries))
    if (field, value) == ("solved_at", None):
        open_complete(run)
        return
    with pytest.raises(
        ValueError, match=rf"evaluation\.json, which is damaged: \[1\]\.{field}: got "
    ):
        open_complete(run)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("metrics.jsonl", "seconds", float("inf")),
        ("metrics.jsonl", "seconds", -1),
        ("metrics.jsonl", "step", "2"),
        ("metrics.jsonl", "kind", []),
        ("metrics.jsonl", "kind", "trained"),
        ("metrics.jsonl", "loss_bits", None),
        ("metrics.jsonl", "loss_bits", 10**400 // 7),
        ("metrics.jsonl", "seed", True),
        ("answers.jsonl", "step", None),
        ("answers.jsonl", "outputs", "x"),
        ("answers.jsonl", "outputs", [[0.5], [0.5, 0.5]]),
        ("answers.jsonl", "outputs", [[0.5] * 8] * 3),
        ("answers.jsonl", "outputs", [[None] * 8] * 41),
    ],
)
def test_a_field_of_a_journal_of_another_kind(made, name, field, value, tmp_path):
    run = shutil.copytree(made / "runs_of_0.1" / "0", tmp_path / "run")
    lines = (run / name).read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), field: value})
    (run / name).write_text("\n".join(lines) + "\n")
    read = getattr(RunFolder.open(run), Path(name).stem)
    with pytest.raises(ValueError, match=rf"{name}, line 3: {field}: got "):
        read()
    lines[2] = json.dumps({"step": 2})
    (run / name).write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=rf"{name}, line 3: \w+: got none"):
        read()


@pytest.mark.parametrize(
    "text", ["3", "[null]", "[6, 4]", "[-1]", '{"a": 1}', "[4", ""]
)
def test_steps_before_of_another_kind(stopped, text):
    (stopped / "steps_before.json").write_text(text)
    with pytest.raises(ValueError, match=r"steps_before\.json, which is damaged: "):
        RunFolder.open(stopped).steps_before()


def test_a_damaged_config_in_a_checkpoint_names_the_checkpoint(stopped):
    path = stopped / "checkpoints" / "8" / METADATA
    told = json.loads(path.read_text())
    told["custom_metadata"]["config"]["momentum"] = "x"
    path.write_text(json.dumps(told))
    with pytest.raises(
        ValueError, match=r"checkpoints/8, which is damaged: .*momentum: got 'x'"
    ):
        RunFolder.open(stopped).load()


@pytest.mark.parametrize("name", ["metrics.jsonl", "answers.jsonl"])
def test_what_is_told_of_a_checkpoint_in_another_file_s_place(stopped, name, capsys):
    one, other = stopped / "checkpoints" / "8" / METADATA, stopped / name
    text = one.read_text()
    one.write_text(other.read_text())
    other.write_text(text)
    assert "checkpoints/8" in refusal_to_go_on(stopped, capsys)


def test_what_is_told_of_a_checkpoint_removed(stopped, capsys):
    (stopped / "checkpoints" / "8" / METADATA).unlink()
    assert "checkpoints/8" in refusal_to_go_on(stopped, capsys)


def test_a_field_that_is_there_twice_is_told(complete):
    path = complete / "config.json"
    path.write_text(path.read_text().replace('"decay"', '"momentum"'))
    with pytest.raises(ValueError, match=r"config\.json: .*momentum: got it twice"):
        RunFolder.open(complete)


RECORD = Path(records.FOLDER / "copy_ntm_lstm.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", 3),
        ("task", "repeat_copy"),
        ("learner", None),
        ("machines", {}),
        ("machines", [3]),
        ("machines", [{"seed": 0}]),
        ("trials", [{"errors": "x"}]),
        ("trials", [{"errors": [0], "perfect_fractions": [1], "loss_bits": []}]),
        ("seconds", float("inf")),
        ("config", []),
        ("steps_before", "x"),
    ],
)
def test_a_field_of_a_record_of_another_kind(field, value, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**json.loads(RECORD.read_text()), field: value}))
    with pytest.raises(ValueError, match=rf"record\.json.*not a record: {field}"):
        records.read(path)


@pytest.mark.parametrize("text", ["", "[", "3", "{}", '{"task": "copy"}'])
def test_a_learner_that_is_no_record_is_named(text, tmp_path):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(ValueError, match=r"records: got .*mine\.json, not a record"):
        recorded_learners(tmp_path, "copy")
    record = json.loads(RECORD.read_text())
    record["machines"][0]["errors"].pop()
    (tmp_path / "mine.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"machines\[0\]: got \d+ validated_after and"):
        recorded_learners(tmp_path, "copy")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (ValueError("PERMISSION_DENIED: Error opening file"), "PERMISSION_DENIED"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_what_cannot_be_read_now_is_not_called_damaged(
    stopped, error, told, monkeypatch
):
    def restore(*_):
        if isinstance(error, ValueError):
            raise error
        raise RuntimeError("restore") from error

    monkeypatch.setattr(ocp.StandardCheckpointer, "restore", restore)
    with pytest.raises(ValueError, match="8, which cannot be read now") as caught:
        RunFolder.open(stopped).restore()
    assert told in str(caught.value)
    assert "delete" not in str(caught.value)


def test_a_checkpoint_of_another_user_is_not_called_damaged(stopped, monkeypatch):
    # This may run as a user who may read everything.
    opened = Path.open

    def refuse(path, *arguments, **options):
        if "checkpoints" in path.parts:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"checkpoints/8/.*, which cannot be read: P"):
        RunFolder.open(stopped).restore()


def test_a_path_that_is_not_utf_8_is_not_called_damaged(stopped, made):
    odd = stopped.with_name(os.fsdecode(b"odd \xff"))
    stopped.rename(odd)
    with pytest.raises(ValueError, match="which this locale does not spell in UTF-8"):
        RunFolder.open(odd).restore()
    file = odd / "machine.safetensors"
    shutil.copy(made / "shipped" / "0.safetensors", file)
    with pytest.raises(ValueError, match="which this locale does not spell in UTF-8"):
        pretrained.load(file)


def test_a_machine_of_another_user_is_not_called_damaged(made, tmp_path, monkeypatch):
    file = shutil.copy(made / "shipped" / "0.safetensors", tmp_path)

    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        ValueError, match=r"cannot be read: .*Permission denied"
    ) as told:
        pretrained.load(file)
    assert "not a trained machine" not in str(told.value)


def test_a_missing_part_of_a_checkpoint_is_damage(stopped):
    (stopped / "checkpoints" / "8" / "_METADATA").unlink()
    with pytest.raises(ValueError, match="checkpoints/8, which cannot be restored"):
        RunFolder.open(stopped).restore()


def test_names_that_are_no_steps_are_no_checkpoints(stopped):
    folder = stopped / "checkpoints"
    for name in ("0000", "0099", "٩٩", "9" * 200 + "x"):
        shutil.copytree(folder / "8", folder / name)
    (folder / "99").write_text("a file")
    (folder / "100").symlink_to(folder / "nowhere")
    assert Checkpoints(folder).latest_step() == 8
    assert RunFolder.open(stopped).restore().step.tolist() == [8]


def test_a_changed_number_of_a_checkpoint_is_told(stopped):
    path = stopped / "checkpoints" / "8"
    # So large that it holds the numbers, not the names.
    data = max(
        (path / "ocdbt.process_0" / "d").iterdir(), key=lambda p: p.stat().st_size
    )
    for place in range(200, data.stat().st_size, 997):
        content = bytearray(data.read_bytes())
        content[place] ^= 1
        data.write_bytes(content)
    for copy in (path / "d").iterdir():
        if copy.stat().st_size == data.stat().st_size:
            shutil.copy(data, copy)
    with pytest.raises(ValueError, match="checkpoints/8, which cannot be restored"):
        RunFolder.open(stopped).restore()


@pytest.fixture(scope="module")
def shipped(made):
    return made / "shipped" / "0.safetensors"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("step", value) for value in ("x", None, -1, 1.5, True, [])),
        ("seed", "told"),
        ("seed", 1),
        ("seconds", float("inf")),
        ("sequences", 3),
        ("command", 3),
        ("versions", "0.1"),
        ("evaluation", [{"solved_at": None}]),
        ("evaluation", 3),
    ],
)
def test_what_a_shipped_file_says_is_checked(shipped, field, value, tmp_path, capsys):
    path = tmp_path / "machine.safetensors"
    arrays, metadata = damage.contents(shipped)
    metadata["made"] = json.dumps({**json.loads(metadata["made"]), field: value})
    del metadata["sha256"]
    damage.save_file(arrays, path, metadata)
    arguments = [f"--pretrained={path}", "--num_sequences=2", "--length=3"]
    told = refusal(evaluate.main, arguments, tmp_path, capsys)
    assert f"machine.safetensors: not a trained machine: made.{field}" in told


@pytest.mark.parametrize("part", ["config", "made", "arrays"])
def test_a_change_of_a_shipped_file_is_told(shipped, part, tmp_path):
    path = tmp_path / "machine.safetensors"
    arrays, metadata = damage.contents(shipped)
    if part == "arrays":
        arrays["output/bias"] = arrays["output/bias"] + np.float32(1)
    else:
        metadata[part] = metadata[part].replace("rmsprop", "adam").replace("0.1", "0.9")
    damage.save_file(arrays, path, metadata)
    with pytest.raises(ValueError, match="sha256: got other content than that which"):
        pretrained.load(path)


def test_all_that_ships_has_its_hash():
    for name in pretrained.names():
        _, metadata = damage.contents(pretrained.find(name))
        assert len(metadata["sha256"]) == 64
        pretrained.load_run(name)


def test_dozens_of_damaged_files(made, monkeypatch):
    monkeypatch.setattr(learn, "evaluate", evaluate_two)
    ends, bad = damage.survey(damage.wholes_in(made), count=36, seed=0)
    assert not bad, "\n".join(bad)
    assert ends["told"] > 20
