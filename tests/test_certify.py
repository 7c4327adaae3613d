"""Certificates: the check accepts what is proven, and nothing else."""

import dataclasses

import jax
import numpy as np
import pytest
from machines import slow_unless

import ntm_jax
from benchmarks.certify import certificate, check, machine, plan, steady, timeline
from benchmarks.certify.__main__ import CERTIFICATES
from benchmarks.certify.__main__ import main as prove
from benchmarks.certify.certificate import Weighting
from benchmarks.certify.search import NotFoundError, Search
from benchmarks.certify.step import UnprovenError
from ntm_jax import heads, tasks

PLAN = plan.reverse_string()
REVERSE = CERTIFICATES / "reverse_string.json"
COPY = CERTIFICATES / "copy.json"  # has many cells


@pytest.fixture(scope="module")
def trained():
    return ntm_jax.pretrained("reverse_string")


@pytest.fixture(scope="module")
def weights(trained):
    return machine.of(*trained)


@pytest.fixture(scope="module")
def proven():
    return certificate.load(REVERSE)


@pytest.fixture(scope="module")
def invariant(proven):
    """That of the fewest slots, which include those of the machine's config."""
    return proven.invariants[0]


def test_the_check_accepts_what_is_proven(proven, weights):
    proof = check.check(proven._replace(invariants=proven.invariants[:2]), weights)
    assert proof.cells == 18
    assert proof.margin > 12
    assert proof.longest == 256


@pytest.mark.parametrize(
    "path",
    slow_unless((), sorted(CERTIFICATES.glob("*.json")), rare={COPY}),
    ids=lambda path: path.stem,
)
def test_every_certificate_is_accepted(path, capsys):
    check.main([f"--certificate={path}"])
    assert "proven for" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "index"),
    [
        ("inner", (3, 0)),
        ("inner_bias", (0,)),
        ("outer", (0, 0)),
        ("outer_bias", (0,)),
        ("read_to_logits", (0, 0)),
    ],
)
def test_other_weights_are_rejected(proven, weights, part, index):
    changed = getattr(weights, part).copy()
    changed[index] = np.nextafter(changed[index], 9)
    with pytest.raises(check.UnprovenError, match="weights"):
        check.check(proven, weights._replace(**{part: changed}))


# The largest weights of each, of which those to the logits move no invariant.
@pytest.mark.parametrize("part", ["inner", "inner_bias", "outer", "outer_bias"])
def test_an_invariant_does_not_hold_for_weights_changed_by_one_per_cent(
    invariant, weights, part
):
    values = getattr(weights, part)
    largest = np.argsort(-np.abs(values), axis=None)[:4]
    rejected = 0
    for place in largest:
        changed = values.copy()
        changed.flat[place] *= 1.01
        try:
            check.check_invariant(invariant, weights._replace(**{part: changed}), PLAN)
        except UnprovenError:
            rejected += 1
    assert rejected >= 1


def test_a_certificate_for_less_is_rejected(proven, weights):
    with pytest.raises(UnprovenError, match="invariants"):
        check.check(proven._replace(invariants=()), weights)
    with pytest.raises(UnprovenError, match="gap"):
        check.check(proven._replace(invariants=proven.invariants[::2]), weights)


def without(mapping, name):
    return {each: value for each, value in mapping.items() if each != name}


@pytest.mark.parametrize("part", ["read", "write", "contents"])
@pytest.mark.parametrize("stage", sorted(PLAN.names))
def test_no_stage_may_be_missing(invariant, weights, part, stage):
    changed = invariant._replace(**{part: without(getattr(invariant, part), stage)})
    with pytest.raises(UnprovenError, match=f"{part}: got no stage '{stage}'"):
        check.check_invariant(changed, weights, PLAN)


@pytest.mark.parametrize("stage", sorted(PLAN.names))
def test_no_box_may_be_missing_or_narrower(invariant, weights, stage):
    centre, radius = invariant.contents[stage]
    fewer = certificate.Contents(centre[1:], radius[1:])
    narrower = certificate.Contents(centre, radius * 0.95)
    for contents, words in ((fewer, "got shape"), (narrower, "outside its box")):
        changed = {**invariant.contents, stage: contents}
        with pytest.raises(UnprovenError, match=words):
            check.check_invariant(invariant._replace(contents=changed), weights, PLAN)


@pytest.mark.parametrize("kind", ["read", "write"])
@pytest.mark.parametrize("field", Weighting._fields)
@pytest.mark.parametrize("stage", sorted(PLAN.names))
def test_no_weighting_may_be_narrower(invariant, weights, kind, field, stage):
    weightings = getattr(invariant, kind)
    bound = getattr(weightings[stage], field) * 0.9
    changed = {**weightings, stage: weightings[stage]._replace(**{field: bound})}
    with pytest.raises(UnprovenError, match=f"{kind} weighting"):
        check.check_invariant(invariant._replace(**{kind: changed}), weights, PLAN)


def test_a_wrong_answer_is_rejected(invariant, weights):
    other = dataclasses.replace(PLAN, targets=-PLAN.targets)
    with pytest.raises(UnprovenError, match="wrong side of 0"):
        check.check_invariant(invariant, weights, other)


def test_machines_of_another_kind_are_refused():
    for name, field in (("copy", "controller"), ("associative_recall", "controller")):
        with pytest.raises(ValueError, match=f"config.{field}: got"):
            machine.of(*ntm_jax.pretrained(name))


def test_a_machine_that_is_not_contracting_is_not_proven(weights):
    gammas = weights.outer_bias.copy()
    gammas[[25, 51]] = -5.0  # of both heads: γ is near 1
    changed = weights._replace(outer_bias=gammas)
    with pytest.raises(NotFoundError, match="without end"):
        Search(changed, PLAN, (128, 128), 0.001).run()


@pytest.mark.slow
def test_the_command_finds_the_certificate_again(tmp_path, capsys):
    out = tmp_path / "again.json"
    prove(["--slots", "128", "256", f"--out={out}"])
    assert "every sequence of up to 128 symbols" in capsys.readouterr().out
    assert certificate.load(out).weights == certificate.load(REVERSE).weights
    with pytest.raises(SystemExit):
        prove(["--machine=copy", f"--out={out}"])
    assert "config.controller" in capsys.readouterr().err


def test_heads_are_made_steadier(tmp_path):
    params, config = ntm_jax.pretrained("copy")
    path, out = tmp_path / "copy.safetensors", tmp_path / "steady.safetensors"
    ntm_jax.save(path, params, config)
    steady.main([f"--machine={path}", f"--out={out}", "--gate=2", "--gamma=3"])
    changed, _ = ntm_jax.load(out)
    for name in ("read_heads", "write_heads"):
        sizes = config.slot_size, config.shift_range
        old, new = (
            heads.addressing(p[name]["bias"], *sizes) for p in (params, changed)
        )
        np.testing.assert_array_equal(old.key, new.key)
        np.testing.assert_array_equal(old.shift, new.shift)
        assert np.all(new.gate < old.gate)
        assert np.all(new.gamma > old.gamma + 1)


def test_a_file_that_is_no_certificate(tmp_path):
    path = tmp_path / "some.json"
    for text in ("{", "[]", "{}", '{"invariants": [{}]}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="not a certificate"):
            certificate.load(path)


def batch_of(task, length):
    """Inputs, targets and mask of one sequence of exactly that length."""
    batch = tasks.get(task).sample(jax.random.key(length), 1, length=(length, length))
    parts = batch.inputs, batch.targets, batch.mask
    return [np.asarray(part[:, 0]) for part in parts]


@pytest.mark.parametrize("task", sorted(plan.PLANS))
@pytest.mark.parametrize("length", [1, 3])
def test_a_plan_is_that_of_its_task(task, length):
    the_plan = plan.PLANS[task]()
    inputs, targets, mask = batch_of(task, length)
    stages = [the_plan.stage(name) for name in the_plan.schedule(length)]
    assert len(stages) == len(inputs)
    assert [stage.answers is not None for stage in stages] == mask.tolist()
    symbols = []
    for stage, x in zip(stages, inputs):
        (which,) = np.flatnonzero((stage.inputs == x).all(1))
        symbols += [which] if stage.keeps else []
    due = [symbols[the_plan.answer(length, i)] for i in range(length)]
    np.testing.assert_array_equal(the_plan.targets[due] > 0, targets[mask] > 0.5)


@pytest.mark.parametrize("task", sorted(plan.PLANS))
def test_a_plan_is_right_for_every_length(task):
    the_plan = plan.PLANS[task]()
    for num_slots in (16, 33, 64):
        longest = the_plan.longest(num_slots)
        assert longest == (num_slots - (task == "copy")) // 2
        for length in range(1, longest + 1):
            timeline.Timeline(the_plan, length, num_slots).follow()
        with pytest.raises(ValueError, match="plan: "):
            timeline.Timeline(the_plan, longest + 2, num_slots).follow()


def test_a_plan_that_reads_elsewhere_is_wrong():
    *others, answer = PLAN.stages
    moved = dataclasses.replace(answer, read_move=1)
    other = dataclasses.replace(PLAN, stages=(*others, moved))
    with pytest.raises(ValueError, match="is not written by 'store'"):
        timeline.check(other, 16, 16)
