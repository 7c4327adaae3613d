"""What README and docs show works as it is shown."""

import functools
import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntm_jax
from benchmarks import record, solve, step
from train import cli, evaluate, main, ship, study, visualize

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
    "train.visualize": (visualize.Flags, None),
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
    heads, units, n, m, inputs, outputs = 2, 5, 7, 3, 4, 2
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape) * 0.5)

    lstm = "ntm.controller.lstm"
    size = inputs + heads * m
    weights = {
        f"{lstm}_h_bias": draw(1, 1, units),
        f"{lstm}_c_bias": draw(1, 1, units),
        f"{lstm}.weight_ih_l0": draw(4 * units, size),
        f"{lstm}.weight_hh_l0": draw(4 * units, units),
        f"{lstm}.bias_ih_l0": draw(4 * units),
        f"{lstm}.bias_hh_l0": draw(4 * units),
        "ntm.memory.mem_bias": draw(n, m),
        "ntm.fc.weight": draw(outputs, units + heads * m),
        "ntm.fc.bias": draw(outputs),
    }
    for head in range(2 * heads):
        name = f"ntm.heads.{head}.fc_{('read', 'write')[head % 2]}"
        emitted = (m + 6, 3 * m + 6)[head % 2]
        weights[f"{name}.weight"] = draw(emitted, units)
        weights[f"{name}.bias"] = draw(emitted)
    initial_reads = [draw(1, m) for _ in range(heads)]

    def dense(names):
        # Their shift counts the other way: its three values change places.
        order = jnp.asarray(
            [*range(m + 2), m + 4, m + 3, m + 2, *range(m + 5, 3 * m + 6)]
        )
        kernels = [weights[f"{name}.weight"].T for name in names]
        biases = [weights[f"{name}.bias"] for name in names]
        order = order[: len(biases[0])]
        return {
            "kernel": jnp.stack(kernels, axis=1)[..., order],
            "bias": jnp.stack(biases)[:, order],
        }

    controller = {}
    for k, gate in enumerate("ifgo"):
        rows = slice(k * units, (k + 1) * units)
        controller[f"i{gate}"] = {"kernel": weights[f"{lstm}.weight_ih_l0"][rows].T}
        bias = weights[f"{lstm}.bias_ih_l0"] + weights[f"{lstm}.bias_hh_l0"]
        controller[f"h{gate}"] = {
            "kernel": weights[f"{lstm}.weight_hh_l0"][rows].T,
            "bias": bias[rows],
        }
    params = {
        "controller": controller,
        "read_heads": dense([f"ntm.heads.{2 * i}.fc_read" for i in range(heads)]),
        "write_heads": dense([f"ntm.heads.{2 * i + 1}.fc_write" for i in range(heads)]),
        "output": {
            "kernel": weights["ntm.fc.weight"].T,
            "bias": weights["ntm.fc.bias"],
        },
        "initial": {
            "memory": weights["ntm.memory.mem_bias"],
            "reads": jnp.concatenate(initial_reads),
            # Flax carries (c, h), PyTorch (h, c).
            "carry": (weights[f"{lstm}_c_bias"][0, 0], weights[f"{lstm}_h_bias"][0, 0]),
        },
    }
    config = ntm_jax.NTMConfig(
        output_size=outputs,
        num_slots=n,
        slot_size=m,
        num_read_heads=heads,
        num_write_heads=heads,
        controller=ntm_jax.lstm(units),
        order="interleaved",
        key_activation="identity",
        add_activation="identity",
        initial_memory="learned",
        initial_focus="none",
        initial_read="learned",
        initial_carry="learned",
    )
    xs = draw(6, 2, inputs)
    composed = run(ROOT / "docs" / "compose.md")["outputs"]
    theirs = composed(weights, initial_reads, xs)
    _, logits = jax.jit(functools.partial(ntm_jax.unroll, config=config))(params, xs)
    np.testing.assert_allclose(jax.nn.sigmoid(logits), theirs, rtol=0, atol=1e-12)
