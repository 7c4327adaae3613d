"""Poems: the task, what writes them, how they are shown and measured."""

import dataclasses
import hashlib
import json
import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.image import imread
from tiny import TINY, flags, short_of_time, undrawn  # noqa: F401

import tasks
from benchmarks import poems as benchmark
from benchmarks.ngrams import NGram
from benchmarks.rhymes import weights_on_ends
from tasks import poems
from train import evaluate, main, visualize, write
from train.runs import pretrained
from train.runs.config import TrainConfig
from train.runs.folder import RunFolder
from train.show import fonts, writing
from train.show.figures import films
from train.training.model import Embedded, Model
from train.training.population import member
from train.training.sampling import choose
from train.training.state import init_states

pytestmark = pytest.mark.usefixtures("quick_compilations")
SMALL = dataclasses.replace(
    TINY,
    task="poems",
    curriculum="none",
    tied_embedding=True,
    embedding_size=6,
    batch_size=4,
    steps=8,
)
EVERY = poems.poems
HAS_FONT = fonts.can_show("春江花月")
needs_font = pytest.mark.skipif(not HAS_FONT, reason="there is no font for Chinese")


@pytest.fixture(scope="module")
def machine():
    """A machine that is not trained, but whose logits differ."""
    params = member(init_states(SMALL).params, 0)
    return jax.tree.map(lambda leaf: 3 * leaf, params)


# --- the task ------------------------------------------------------------------------


def test_the_split_and_the_vocabulary_are_always_these():
    sizes = {split: len(poems.texts(split)) for split in tasks.SPLITS}
    assert sizes == {"train": 46016, "validation": 2593, "evaluation": 2550}
    every = [text for split in tasks.SPLITS for text in poems.texts(split)]
    of_splits = [set(poems.texts(split)) for split in tasks.SPLITS]
    assert len(set.union(*of_splits)) == sum(map(len, of_splits))
    assert len(every) == 51_159
    digest = hashlib.sha256("\n".join(poems.texts("evaluation")).encode())
    assert digest.hexdigest() == EVALUATION
    vocabulary = poems.characters()
    assert len(set(vocabulary)) == 3000
    assert hashlib.sha256("".join(vocabulary).encode()).hexdigest() == VOCABULARY
    in_training = "".join(poems.texts("train"))
    first, last = (in_training.count(each) for each in (vocabulary[0], vocabulary[-1]))
    assert first > 20_000 > 100 > last > 20


EVALUATION = "b92244396d4643c65bc1ce36aa6b2d177b1b5962b0ecb33627aa5e19945685ac"
VOCABULARY = "73ff6f553450a62707d964d782a1e1a0c7942aefb9a192b4eb44e29e3de1ee7e"


def slow_example(lines, asked):
    """Inputs as triples of words, targets as words, and where they are due."""
    inputs = [("", f"{len(lines)} lines", f"{len(lines[0])} characters in a line")]
    for line, place in sorted(asked):
        inputs.append((lines[line - 1][place - 1], f"line {line}", f"place {place}"))
    targets, due = [""] * len(inputs), [False] * len(inputs)
    last = "write"
    for number, line in enumerate(lines, 1):
        end = "//" if number == len(lines) else "/"
        for character in [*line, end]:
            inputs.append((last, "", ""))
            targets.append(character)
            due.append(True)
            last = character
    return inputs, targets, due


@pytest.mark.parametrize("form", poems.FORMS, ids=str)
def test_an_example_tells_what_is_asked_and_then_the_poem(form):
    names = poems.Poems().input_names
    assert len(names) == len(set(names)) == poems.Poems().input_size
    poem = poems.poems("validation", form)[3]
    lines = [[names[each] for each in line] for line in poem.characters]
    asked = [poems.Place(1, 1), poems.Place(3, 5)]
    inputs, targets, due = poems.example(poem, asked)
    slow_inputs, slow_targets, slow_due = slow_example(lines, asked)
    said = [
        tuple("" if names[token] == "nothing" else names[token] for token in step)
        for step in inputs
    ]
    assert said == slow_inputs
    assert due.tolist() == slow_due
    assert [names[each] for each in targets[due]] == [
        target for target, is_due in zip(slow_targets, slow_due) if is_due
    ]


def test_training_has_one_form_a_batch_and_asks_for_places_in_lines():
    task, forms, firsts, counts = poems.Poems(), set(), [], set()
    for start in (0, 4, 8, 12):
        batch = next(task.stream(0, 16, start=start))
        tasks.fit.check_batch(task, batch, 16)
        tasks.fit.check_values(task, batch)
        answers = batch.mask.sum(axis=0)
        (form,) = {tuple(step) for step in batch.inputs[0, :, 1:].tolist()}
        forms.add(form)
        assert len(set(answers.tolist())) == 1
        for inputs, mask in zip(batch.inputs.transpose(1, 0, 2), batch.mask.T):
            told = inputs[1 : mask.argmax()]
            lines, places = told[:, 1] - poems._LINE, told[:, 2] - poems._PLACE
            assert len(set(lines.tolist())) == len(told)  # at most one in a line
            assert (lines >= 0).all()
            assert (places >= 0).all()
            counts.add(len(told))
            firsts.append(bool((places == 0).all()))
    assert len(forms) > 1
    assert 0.5 < np.mean(firsts) < 0.95
    assert min(counts) <= 1
    assert max(counts) == 8
    assert len(counts) > 4
    stream = task.stream(0, 16)
    _, _, third = next(stream), next(stream), next(stream)
    again = next(task.stream(0, 16, start=2))
    jax.tree.map(np.testing.assert_array_equal, again, third)


def test_words_are_what_a_person_reads():
    task, number = poems.Poems(), poems.numbers()
    inputs = poems.prompt(poems.Form(4, 7), {poems.Place(2, 3): number["鄉"]})
    after = poems.written(jnp.array([number["月"], poems.LINE_END]))
    assert task.input_words(np.concatenate([inputs, after])) == [
        "4\n×\n7",
        "鄉\n2\n3",
        ":",
        "月",
        "/",
    ]
    ends = [poems.UNKNOWN, poems.LINE_END, poems.POEM_END]
    assert task.answer_words(np.array([number["月"], *ends])) == ["月", "□", "/", "//"]


# --- models --------------------------------------------------------------------------


def test_the_vectors_of_a_step_are_added_and_the_output_is_tied(x64):
    model = Embedded(Doubled(), size=3, tied=4)
    params = model.init(jax.random.key(0), 6)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    params["output_bias"] = jnp.arange(4.0)
    tokens = np.array([[[1, 5, 5]], [[0, 2, 4]]])
    table = np.asarray(params["embedding"])
    vectors = np.array([[table[list(step)].sum(axis=0)] for (step,) in tokens.tolist()])
    wanted = 2 * vectors @ table[:4].T + np.arange(4.0)
    found = model.logits(params, jnp.asarray(tokens))
    np.testing.assert_allclose(found, wanted, rtol=1e-6)

    def loss(table):
        logits = model.logits({**params, "embedding": table}, jnp.asarray(tokens))
        return jnp.sum(jnp.sin(logits))

    table = params["embedding"]
    step = jax.random.normal(jax.random.key(1), table.shape, jnp.float64)
    small = 1e-6
    slope = (loss(table + small * step) - loss(table - small * step)) / (2 * small)
    assert jnp.vdot(jax.grad(loss)(table), step) == pytest.approx(
        float(slope), rel=1e-5
    )


@dataclasses.dataclass(frozen=True)
class Doubled(Model):
    """A model without parameters."""

    def init(self, key, input_size):
        return {}

    def logits(self, params, inputs, mask=None):
        return 2 * inputs


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lstm", "gru", "ntm", "stack_rnn"])
def test_steps_give_the_logits_of_a_sequence(model):
    config = TrainConfig(task="poems", model=model, tied_embedding=True)
    made = config.make_model()
    params = member(init_states(config).params, 0)
    batch = next(poems.Poems().stream(0, 2))
    inputs = jnp.asarray(batch.inputs)[:9]
    carry = made.start(params, jax.ShapeDtypeStruct(inputs.shape, inputs.dtype))
    step = jax.jit(made.step)
    for x, wanted in zip(inputs, made.logits(params, inputs)):
        carry, logits = step(params, carry, x)
        np.testing.assert_allclose(logits, wanted, atol=1e-5)


# --- writing -------------------------------------------------------------------------


def test_a_category_is_drawn_as_probable_as_it_is():
    logits = jnp.log(jnp.array([0.1, 0.6, 0.3]))
    keys = jax.random.split(jax.random.key(0), 4000)
    many = jnp.broadcast_to(logits, (4000, 3))

    def shares(temperature, top_k=None):
        drawn = choose(keys, many, jnp.float32(temperature), top_k)
        return np.bincount(drawn, minlength=3) / 4000

    np.testing.assert_allclose(shares(1.0), [0.1, 0.6, 0.3], atol=0.03)
    squares = np.array([0.01, 0.36, 0.09]) / 0.46
    np.testing.assert_allclose(shares(0.5), squares, atol=0.03)
    np.testing.assert_allclose(shares(1.0, 2), [0, 2 / 3, 1 / 3], atol=0.03)
    assert shares(0.0).tolist() == shares(1.0, 1).tolist() == [0, 1, 0]
    assert shares(1.0, 7).tolist() == shares(1.0).tolist()


def test_what_is_written_follows_from_the_logits_of_what_was_written(machine):
    form = poems.Form(4, 5)
    told = {poems.Place(1, 1): 5, poems.Place(3, 2): 7}
    (first, second) = writing.write(
        machine, SMALL, [writing.Wanted(form, told)] * 2, temperature=0.0
    )
    assert first == second
    steps = poems.prompt(form, told).tolist()
    model, chosen, bits = SMALL.make_model(), [], 0.0
    logits_of = jax.jit(model.logits)
    total = len(steps) + form.num_answers - 1
    for _ in first.categories:
        padded = np.array(steps + [steps[0]] * (total - len(steps)), np.int32)
        logits = np.asarray(logits_of(machine, padded[:, None]))[len(steps) - 1, 0]
        chosen.append(int(logits.argmax()))
        bits += (np.log(np.exp(logits).sum()) - logits.max()) / math.log(2)
        steps.append(_after(chosen[-1]))
    assert chosen == list(first.categories)
    assert first.bits == pytest.approx(bits, rel=1e-4)


def _after(category):
    names = poems.Poems().input_names
    return [category, names.index("nothing"), names.index("nothing")]


@pytest.mark.slow
def test_a_seed_writes_the_same_and_another_another(machine):
    wanted = [writing.Wanted(poems.Form(4, 5), {})] * 3
    once, again, other = (
        writing.write(machine, SMALL, wanted, seed=seed) for seed in (0, 0, 1)
    )
    assert once == again
    texts = ["/".join(poem.texts()) for poem in (*once, *other)]
    assert len(set(texts)) == 6


def poem_of(text):
    numbers = {"/": poems.LINE_END, ".": poems.POEM_END}
    categories = tuple(numbers.get(each, ord(each) - ord("a")) for each in text)
    places = {poems.Place(1, 1): 0, poems.Place(2, 2): 3}
    return writing.Written(writing.Wanted(poems.Form(2, 2), places), categories, 0.0)


@pytest.mark.parametrize(
    ("text", "lines", "obeyed", "has_form"),
    [
        ("ab/cd.", [[0, 1], [2, 3]], [True, True], True),
        ("ab/c.", [[0, 1], [2]], [True, False], False),
        ("abb/cd", [[0, 1, 1], [2, 3]], [True, True], False),
        ("ba/dd/", [[1, 0], [3, 3]], [False, True], False),
        ("/abcde", [[], [0, 1, 2, 3, 4]], [False, False], False),
        (".", [[]], [False, False], False),
    ],
)
def test_lines_and_places_are_those_that_were_written(text, lines, obeyed, has_form):
    poem = poem_of(text)
    assert (poem.lines() or [[]]) == lines
    assert poem.obeyed() == obeyed
    assert poem.has_form() is has_form


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--acrostic=春x江", "acrostic: got 'x', want one of the 3,000"),
        ("--acrostic=春江花月夜春江花月", "acrostic: got 9 characters, want at most 8"),
        (
            "--acrostic=春江花月夜 --form=4x7",
            "want at most 4, one for each line of 4x7",
        ),
        ("--at 5,1=春 --form=4x7", "at: got line 5, place 1, want a place in 4x7"),
        ("--at 1,6=春 --form=4x5", "at: got line 1, place 6, want a place in 4x5"),
        ("--at 0,1=春", "at: got line 0, place 1"),
        ("--at 1,1=春 1,1=江", "at: got 江 for line 1, place 1, where 春 is asked"),
        ("--acrostic=春 --at 1,1=江", "at: got 江 for line 1, place 1, where 春"),
        ("--at 1,2", "at: got '1,2', want a line, a place"),
        ("--at 1,2=春江", "at: got '1,2=春江', want a line"),
        ("--form=3x7", "form: got '3x7', want one of 4x5, 4x7, 8x5, 8x7"),
        ("--temperature=-1", "temperature: got -1.0, want a number from 0 on"),
        ("--temperature=nan", "temperature: got nan"),
        ("--top_k=0", "top_k: got 0"),
        ("--num_poems=0", "num_poems: got 0"),
        ("--seed=-1", "seed: got -1"),
        ("--figure=poem.txt", "figure: got poem.txt, want a .png"),
        ("--figure=nowhere/poem.png", "want a file in a folder that exists"),
        ("", "workdir, pretrained: got none"),
        pytest.param(
            "--pretrained=copy",
            "task: got copy, want a machine that was trained on",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_cannot_be_written_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        write.main(arguments.split())
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("acrostic", "at", "form"),
    [
        ("", (), "4x7"),
        ("春江花月", (), "4x7"),
        ("春江花月夜", (), "8x7"),
        ("春", ("6,2=月",), "8x7"),
    ],
)
def test_a_form_is_as_long_as_what_is_asked_for(acrostic, at, form):
    wanted = write.wanted_of(write.Flags(acrostic=acrostic, at=at))
    assert str(wanted.form) == form
    assert len(wanted.told) == len(acrostic) + len(at)


# --- what is kept and shown ----------------------------------------------------------


def test_of_many_categories_a_run_keeps_the_likeliest():
    many, few = tasks.Categories(257), tasks.Categories(256)
    predictions = np.random.default_rng(0).random((5, 257))
    kept = many.kept(predictions)
    assert kept.tolist() == predictions.argmax(axis=1).tolist()
    assert many.kept_shape == ()
    back = many.as_they_were(kept)
    assert back.shape == (5, 257)
    assert (back.argmax(axis=1) == kept).all()
    assert (back.sum(axis=1) == 1).all()
    assert many.kept_fault(np.array([0, 257])) == "got 257, want from 0 to 256"
    assert many.kept_fault(np.array([0.5])) == "got 0.5, want integers"
    assert many.kept_fault(kept) is None
    for other in (few, tasks.Bits(300), tasks.Reals(300)):
        same = predictions[:, : other.size]
        assert other.kept(same) is other.as_they_were(same) is same
        assert other.kept_shape == (other.size,)
        assert other.kept_fault(same) is None


def test_characters_without_a_font_are_one_error(monkeypatch):
    assert fonts.families_for("abc\n/") == ["DejaVu Sans"]
    monkeypatch.setattr(fonts, "_FAMILIES", ())
    with pytest.raises(ValueError, match="got none with the characters 春, want one"):
        fonts.families_for("a春")
    assert not fonts.can_show("春")


@pytest.mark.slow
@needs_font
def test_a_figure_shows_the_heads_beside_the_characters(machine):
    form = poems.Form(4, 5)
    wanted = writing.Wanted(form, {poems.Place(2, 1): 9})
    (poem,) = writing.write(machine, SMALL, [wanted], seed=3)
    figure = writing.figure_of(machine, SMALL, poem)
    inputs, writes = (
        [text.get_text() for text in axes.texts] for axes in figure.axes[1:3]
    )
    assert inputs[:3] == ["4\n×\n5", f"{poems.in_words(9)}\n2\n1", ":"]
    assert writes[2:] == [poems.in_words(each) for each in poem.categories]
    assert inputs[3:] == writes[2:-1]
    marked = [text.get_text() for text in figure.axes[2].texts if text.get_bbox_patch()]
    assert marked == ["".join(line[:1]) for line in poem.texts()[1:2]]
    (shown,) = figure.axes[3].images
    assert np.asarray(shown.get_array()).shape[1] == len(inputs)


# --- the benchmark -------------------------------------------------------------------


@pytest.mark.slow
def test_the_trained_machine_looks_at_the_ends_of_lines_that_rhyme():
    params, config, _ = pretrained.load_run("poems")
    of_form = poems.poems("evaluation", poems.Form(4, 7))[:20]
    weights = weights_on_ends(params, config, of_form)
    assert weights.shape == (3, 3)
    assert weights[0, 0] > 0.1  # the second line rhymes with the first
    assert weights[1, :2].sum() < 0.05  # the third with none
    assert weights[2, :2].sum() > 0.3
    assert weights[2, 2] < 0.1


def test_an_n_gram_costs_what_witten_and_bell_say():
    texts = [[0, 1, 0, 1, 2], [0, 2]]
    unigram, bigram = NGram(1, texts), NGram(2, texts)
    of_one = {0: 3 / 7, 1: 2 / 7, 2: 2 / 7}
    np.testing.assert_allclose(
        unigram.bits([0, 1, 2]), [-math.log2(of_one[each]) for each in (0, 1, 2)]
    )
    # After 0: 1 twice, 2 once. After 1: 0 once, 2 once. At the start: 0 twice.
    after = {0: {1: 2, 2: 1}, 1: {0: 1, 2: 1}, -1: {0: 2}}
    wanted = []
    for before, each in [(-1, 1), (1, 2), (2, 0)]:
        counts = after.get(before, {})
        kinds, total = len(counts), sum(counts.values())
        if not counts:
            wanted.append(of_one[each])
            continue
        back = kinds / (kinds + total)
        wanted.append((1 - back) * counts.get(each, 0) / total + back * of_one[each])
    np.testing.assert_allclose(bigram.bits([1, 2, 0]), -np.log2(wanted))
    text = bigram.text(random.Random(0), last=2, most=9)
    assert text[0] == 0
    assert text[-1] == 2 or len(text) == 9


def test_acrostics_ask_for_the_first_of_every_line():
    kinds = benchmark.acrostics(20, seed=0)
    of_test = {
        (poem.form, tuple(poem.characters[:, 0].tolist()))
        for poem in poems.poems("evaluation")
    }
    for name, wanted in kinds.items():
        assert len(wanted) == 20
        for each in wanted:
            assert [*each.told] == [(i, 1) for i in range(1, each.form.lines + 1)]
            assert poems.UNKNOWN not in each.told.values()
        among = [(each.form, tuple(each.told.values())) in of_test for each in wanted]
        assert all(among) if name == "own" else not any(among)


# --- by command ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_machine_is_trained_stopped_evaluated_shown_and_writes(
    tmp_path, capsys, monkeypatch
):
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    given = flags(dataclasses.replace(SMALL, steps=TrainConfig().steps))
    # Optax adds integers to floats in its Adam, which the tests do not allow.
    settings = [*given, "--optimizer=rmsprop", "--watch_every=1"]
    assert main.main([f"--workdir={whole}", *settings, "--steps=8"]) == 0
    for steps in (4, 8):
        assert main.main([f"--workdir={workdir}", *settings, f"--steps={steps}"]) == 0
    run, unbroken = RunFolder.open(workdir), RunFolder.open(whole)
    assert run.answers() == unbroken.answers()
    jax.tree.map(
        np.testing.assert_array_equal,
        run.restore().params,
        unbroken.restore().params,
    )
    for answer in run.answers():
        assert np.asarray(answer["outputs"]).ndim == 1
    capsys.readouterr()
    assert evaluate.main([f"--workdir={workdir}", "--num_sequences=3"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["num_sequences"] == 3

    asked = [f"--workdir={workdir}", "--acrostic=春江", "--num_poems=2"]
    assert write.main(asked) == 0
    printed = capsys.readouterr().out
    assert write.main([*asked, "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed.strip("\n").split("\n\n") == [
        "\n".join(poem["lines"]).strip("\n") for poem in objects
    ]
    for poem in objects:
        assert poem["form"] == "4x7"
        assert poem["bits"] > 0
        assert poem["asked"] == [
            {"line": 1, "place": 1, "character": "春"},
            {"line": 2, "place": 1, "character": "江"},
        ]
    out = tmp_path / "measured"
    measured = [f"--workdir={workdir}", "--num_acrostics=8", f"--out={out}"]
    with monkeypatch.context() as patch:  # few poems, the same in every part
        patch.setattr(poems, "poems", lambda *_: EVERY("train")[:40])
        assert benchmark.main(measured) == 0
    (record,) = out.glob("*.json")
    told = json.loads(record.read_text())
    assert told["obeyed"]["random"]["poems"] == 8
    cost = told["cost"]["told_nothing"]["bits_per_answer"]
    assert cost == pytest.approx(math.log2(poems.NUM_CATEGORIES), abs=2)
    assert record.with_suffix(".md").read_text().count("| 8x7 |") == 5
    if HAS_FONT:
        path = tmp_path / "poem.png"
        assert write.main([*asked, f"--figure={path}"]) == 0
        assert imread(path).std() > 0
        monkeypatch.setattr(films, "_MOST_FRAMES", 3)
        assert visualize.main([f"--workdir={workdir}"]) == 0
        assert (run.figures / "learning.gif").is_file()
        assert visualize.main([f"--workdir={workdir}", "--html"]) == 0
        page = (run.figures / "page.html").read_text()
        assert '"words":{"inputs":["' in page


@pytest.mark.parametrize("task", ["copy", "reverse_string"])
def test_an_embedding_is_tied_to_categories_that_are_tokens_only(task):
    with pytest.raises(ValueError, match="tied_embedding: got True with Vectors"):
        TrainConfig(task=task, tied_embedding=True)
