"""What README and docs show works as it is shown."""

import functools
import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from state_dicts import INPUTS, PAIR, pytorch_ntm_dict

import ntm_jax
from benchmarks import record, solve, step
from ntm_jax import interop
from train import cli, evaluate, import_torch, main, ship, study

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def run(page: Path) -> dict:
    """Runs the Python blocks of a page, one after another, in one namespace."""
    names = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page):
    run(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).stat().st_size > 0, target


COMMANDS = {
    "train.main": (main.Flags, {}),
    "train.study": (study.Flags, {"num_seeds": 10}),
    "train.evaluate": (evaluate.Flags, None),
    "train.ship": (ship.Flags, None),
    "train.import_torch": (import_torch.Flags, None),
    "benchmarks.record": (record.Flags, None),
    "benchmarks.step": (step.Flags, None),
    "benchmarks.solve": (solve.Flags, None),
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_flags_that_they_are_shown_with(page):
    shown = [
        re.split(r"; done|&&", line)[0].replace("$seed", "1")
        for block in blocks(page, "sh")
        for line in block.splitlines()
    ]
    for line in shown:
        found = re.search(r"python -m (\w+\.\w+) ?(.*)", line)
        if found and found[1] in COMMANDS:
            flags, changed = COMMANDS[found[1]]
            words = shlex.split(found[2])
            prog = f"python -m {found[1]}"
            if changed is None:
                cli.parse(flags, words, prog=prog)
            else:
                cli.parse_from_preset(flags, words, prog=prog, **changed)


def test_readme_tests_as_ci_does():
    setups = [block for block in blocks(ROOT / "README.md", "sh") if "-m venv" in block]
    train, test = (block.strip() for block in setups)
    assert train.endswith("-m train.main --task=copy")
    assert test in (ROOT / ".ci" / "run").read_text()


def test_readme_shows_the_library_in_fifteen_lines():
    first = blocks(ROOT / "README.md", "python")[0]
    assert len([line for line in first.splitlines() if line.strip()]) <= 15


def test_the_composed_machine_is_a_configuration_of_ours(x64):
    w = pytorch_ntm_dict(PAIR * 2)
    config, params = interop.from_pytorch_ntm(w, dtype=jnp.float64)
    assert config.order == "interleaved"
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2, INPUTS)))
    weights = {name: jnp.asarray(array) for name, array in w.items()}
    initial_reads = [weights[f"ntm.read{i}_bias"] for i in range(2)]
    composed = run(ROOT / "docs" / "compose.md")["outputs"]
    theirs = composed(weights, initial_reads, xs)
    _, logits = jax.jit(functools.partial(ntm_jax.unroll, config=config))(params, xs)
    np.testing.assert_allclose(jax.nn.sigmoid(logits), theirs, rtol=0, atol=1e-12)
