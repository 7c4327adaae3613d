"""What README and docs show works as it is shown."""

import functools
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from sphinx.util.inventory import InventoryFile

import ntm_jax
import ntm_jax.linen
import ntm_jax.nnx
import tasks
from benchmarks import record, solve, step
from train import cli, evaluate, main, ship, study

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page: Path) -> str:
    """Of a page, to name its test by."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def run(page: Path) -> dict:
    """Runs the Python blocks of a page, one after another, in one namespace."""
    names = {}
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_blocks_run(page):
    run(page)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_within_the_repository_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).stat().st_size > 0, target


COMMANDS = {
    "train.main": (main.Flags, {}),
    "train.study": (study.Flags, {"num_seeds": 10}),
    "train.evaluate": (evaluate.Flags, None),
    "train.ship": (ship.Flags, None),
    "benchmarks.record": (record.Flags, None),
    "benchmarks.step": (step.Flags, None),
    "benchmarks.solve": (solve.Flags, None),
}


@pytest.mark.parametrize("page", PAGES, ids=name)
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


class Links(HTMLParser):
    """What a page of the site has, and what it leads to or loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.leads_to: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = {name: value for name, value in attrs if value}
        if "id" in found:
            self.anchors.add(found["id"])
        if tag == "a" and "href" in found:
            self.leads_to.append(found["href"])
        if tag in ("img", "script", "link"):
            self.loads += [found[name] for name in ("src", "href") if name in found]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The folder of the site, which is built without a warning."""
    folder = tmp_path_factory.mktemp("site")
    build = ("sphinx", "-W", "--keep-going", "-q", "-d", str(folder / "cache"))
    done = subprocess.run(
        [sys.executable, "-m", *build, str(ROOT / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_afar(site):
    pages = {page: Links(page.read_text()) for page in sorted(site.rglob("*.html"))}
    for page, links in pages.items():
        for link in [*links.leads_to, *links.loads]:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                assert link in links.leads_to, f"{page.name} loads {link}"
                continue
            path = urllib.parse.unquote(url.path)
            file = (page.parent / path).resolve() if path else page
            assert file.is_file(), f"{page.name}: {link}"
            if url.fragment and file in pages:
                anchors = pages[file].anchors
                assert urllib.parse.unquote(url.fragment) in anchors, (
                    f"{page.name}: {link}"
                )


def test_the_site_documents_every_public_name(site):
    documented = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    found = {name for kind in documented.values() for name in kind}
    wanted = [
        *(f"ntm_jax.{name}" for name in ntm_jax.__all__),
        *(f"tasks.{name}" for name in tasks.__all__),
        *(f"{module.__name__}.NTMCell" for module in (ntm_jax.linen, ntm_jax.nnx)),
    ]
    assert set(wanted) <= found, sorted(set(wanted) - found)


def test_the_citation_is_of_this_version_and_place():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["version"] == ntm_jax.__version__
    assert cited["title"] == project["name"]
    assert cited["license"] == project["license"]
    assert cited["authors"] == project["authors"]
    assert cited["repository-code"] == project["urls"]["Repository"]


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
