"""What README and docs show works as it is shown."""

import functools
import inspect
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
from machines import slow_unless
from sphinx.util.inventory import InventoryFile
from state_dicts import INPUTS, PAIR, pytorch_ntm_dict

import ntm_jax
import ntm_jax.linen
import ntm_jax.nnx
import tasks
from benchmarks import compile as compiling
from benchmarks import (
    peers,
    poems,
    record,
    rhymes,
    scaling,
    solve,
    step,
    waits,
    windows,
)
from benchmarks.certify import __main__ as certify
from benchmarks.certify import check, steady
from benchmarks.chomsky import __main__ as chomsky
from ntm_jax import interop
from train import (
    cli,
    evaluate,
    import_torch,
    main,
    serve,
    ship,
    study,
    visualize,
    write,
)
from train.flags import with_value
from train.runs.commands import COMMANDS as INSTALLED

pytestmark = pytest.mark.usefixtures("quick_compilations")
ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def name(page: Path) -> str:
    """Of a page, to name its test by."""
    return str(page.relative_to(ROOT))


# They train with Adam, of which Optax's mixes dtypes itself.
MIXING = ("fine_tune",)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@functools.cache
def run(page: Path) -> dict:
    """Runs the Python blocks of a page, one after another, in one namespace."""
    names = {}
    promotion = "standard" if page.stem in MIXING else "strict"
    with jax.numpy_dtype_promotion(promotion):
        for block in blocks(page, "python"):
            exec(compile(block, str(page), "exec"), names)
    return names


# The other pages have no blocks or take long.
QUICK_PAGES = [
    ROOT / "docs" / f"{name}.md" for name in ("design", "your_data", "your_task")
]
# These pages have programs that take long to compile.
LONG_PAGES = [
    ROOT / "docs" / f"{name}.md"
    for name in ("chomsky", "devices", "hosts", "long", "memory", "speed")
]


@pytest.mark.parametrize("page", slow_unless(QUICK_PAGES, PAGES, LONG_PAGES), ids=name)
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
    "train.serve": (serve.Flags, None),
    "train.ship": (ship.Flags, None),
    "train.import_torch": (import_torch.Flags, None),
    "train.visualize": (visualize.Flags, None),
    "train.write": (write.Flags, None),
    "benchmarks.certify": (certify.Flags, None),
    "benchmarks.certify.check": (check.Flags, None),
    "benchmarks.certify.steady": (steady.Flags, None),
    "benchmarks.chomsky": (chomsky.Flags, None),
    "benchmarks.compile": (compiling.Flags, None),
    "benchmarks.poems": (poems.Flags, None),
    "benchmarks.record": (record.Flags, None),
    "benchmarks.rhymes": (rhymes.Flags, None),
    "benchmarks.step": (step.Flags, None),
    "benchmarks.peers": (peers.Flags, None),
    "benchmarks.scaling": (scaling.Flags, None),
    "benchmarks.solve": (solve.Flags, None),
    "benchmarks.waits": (waits.Flags, None),
    "benchmarks.windows": (windows.Flags, None),
}


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """The modules of ours that a page shows how to run, and with which words."""
    text = page.read_text()
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", prose)]
    told = "\n".join(lines)
    for installed, (module, _) in INSTALLED.items():
        told = re.sub(rf"ntm-jax {installed}\b", f"python -m train.{module}", told)
    found = re.findall(r"python -m ((?:train|benchmarks)(?:\.\w+)+)([^;&\n]*)", told)
    return [
        (module, shlex.split(words.replace("$seed", "1"))) for module, words in found
    ]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_have_the_flags_that_they_are_shown_with(page):
    for module, words in commands(page):
        if module == "benchmarks.results":  # a command without flags
            assert words == []
            continue
        flags, changed = COMMANDS[module]
        prog, words = f"python -m {module}", with_value(words, "--serve", 8088)
        if changed is None:
            cli.parse(flags, words, prog=prog)
        else:
            cli.parse_from_preset(flags, words, prog=prog, **changed)


def test_commands_are_found_in_blocks_and_in_the_text():
    shown = commands(ROOT / "README.md")
    assert ("train.main", ["--task=copy"]) in shown
    assert ("train.main", []) in shown  # of the text
    assert ("train.main", ["--task=copy"]) in commands(ROOT / "docs" / "install.md")
    in_a_loop = commands(ROOT / "docs" / "RESULTS.md")
    assert any("--seed=1" in words for _, words in in_a_loop)


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_site_documents_every_public_name(site):
    documented = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    found = {name for kind in documented.values() for name in kind}
    wanted = [
        *(f"ntm_jax.{name}" for name in ntm_jax.__all__),
        *(
            f"tasks.{name}"
            for name in tasks.__all__
            if not inspect.ismodule(getattr(tasks, name))
        ),
        *(f"{module.__name__}.NTMCell" for module in (ntm_jax.linen, ntm_jax.nnx)),
        "ntm_jax.interop.from_pytorch_ntm",
        "ntm_jax.interop.from_clemkoa",
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
    """CI runs the same commands, without the need to activate the environment."""
    set_up = [block for block in blocks(ROOT / "README.md", "sh") if "pip in" in block]
    train, test = (block.strip() for block in set_up)
    assert train.endswith("python -m train.main --task=copy")
    assert test.endswith("python -m tests")
    (environment,) = [
        block.strip()
        for block in blocks(ROOT / "README.md", "sh")
        if "-m venv" in block
    ]
    create, activate = environment.split(" && ")
    assert activate == "source .venv/bin/activate"
    in_ci = (ROOT / ".ci" / "run").read_text().replace(".venv/bin/", "")
    assert f"{create} && {test}" in in_ci


def test_readme_leads_to_the_repository_from_where_it_stands_alone():
    """As on PyPI, which has the text but none of the files."""
    here = (ROOT / "README.md").read_text()
    there = subprocess.run(
        [sys.executable, "-m", "hatch_fancy_pypi_readme"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    code = re.compile(r"```.*?```", re.DOTALL)
    assert code.findall(there) == code.findall(here)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    repository = project["urls"]["Repository"]
    for picture, target in re.findall(r"(!?)\[[^\]]*\]\(([^)\s]+)\)", there):
        way = "raw" if picture else "blob"
        own = target.removeprefix(f"{repository}/{way}/main/")
        assert target.startswith(("https:", "#")), target
        assert (
            target.startswith("#")
            or own == target
            or (ROOT / own.partition("#")[0]).is_file()
        )
    assert f"]({repository}/raw/main/docs/images/" in there


def test_readme_begins_with_a_film_that_is_soon_there():
    (film, *_) = re.findall(r"!\[.*\]\((.*\.gif)\)", (ROOT / "README.md").read_text())
    assert (ROOT / film).stat().st_size < 1_000_000


def test_readme_shows_the_library_in_fifteen_lines():
    first = blocks(ROOT / "README.md", "python")[0]
    assert len([line for line in first.splitlines() if line.strip()]) <= 15


def assert_finite_and_not_zero(gradients):
    for leaf in jax.tree.leaves(gradients):
        assert np.isfinite(leaf).all()
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients))


@pytest.mark.slow
class TestHosts:
    """Each host gives what `unroll` gives, and its gradients reach the machine."""

    close = staticmethod(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    )

    @pytest.fixture
    def page(self):
        return run(ROOT / "docs" / "hosts.md")

    def expected(self, page, params, **options):
        unroll = jax.jit(functools.partial(ntm_jax.unroll, config=page["config"]))
        return unroll(params, page["xs"], **options)[1]

    def test_plain_linen_and_nnx(self, page):
        wanted = self.expected(page, page["params"])
        self.close(page["answers"], wanted @ page["model_params"]["readout"])
        self.close(page["linen_ys"], wanted)
        self.close(page["nnx_ys"], wanted)
        flagged = self.expected(page, page["params"], reset=page["starts"])
        self.close(page["module_ys"], flagged)
        # The heads' last numbers (γ of a head that has not moved) may have none.
        gradients = page["gradients"]["weights"]
        assert_finite_and_not_zero(gradients["controller"])
        assert jax.tree.structure(page["variables"]["params"]["memory"]) == (
            jax.tree.structure(page["params"])
        )

    def test_haiku(self, page):
        params = page["haiku_params"]
        assert sorted(params) == [
            f"memory/{name}"
            for name in ("controller", "output", "read_heads", "write_heads")
        ]
        pure = {name.removeprefix("memory/"): value for name, value in params.items()}
        self.close(page["haiku_ys"], self.expected(page, pure))
        gradients = jax.jit(
            jax.grad(
                lambda params: jnp.sum(
                    page["haiku_model"].apply(params, page["xs"]) ** 2
                )
            )
        )(params)
        assert_finite_and_not_zero(gradients)

    def test_equinox(self, page):
        self.close(page["equinox_ys"], self.expected(page, page["params"]))
        gradients = page["eqx"].filter_jit(
            page["eqx"].filter_grad(lambda model, xs: jnp.sum(model(xs) ** 2))
        )(page["equinox_model"], page["xs"])
        assert_finite_and_not_zero(gradients.params)

    def test_a_block_learns_and_is_causal(self, page):
        losses = page["losses"]
        assert np.isfinite(losses).all()
        assert losses[-1] < 0.8 * losses[0]
        predictor, weights, tokens = (
            page[name] for name in ("predictor", "weights", "tokens")
        )
        apply = jax.jit(predictor.apply)
        changed = tokens.at[:, 7:].set(0)
        first, second = apply(weights, tokens), apply(weights, changed)
        self.close(first[:, :7], second[:, :7])
        assert not np.allclose(first[:, 7:], second[:, 7:])
        gradients = jax.jit(jax.grad(page["prediction_loss"]))(weights, tokens)
        assert_finite_and_not_zero(gradients["params"]["Block_0"]["memory"])


@pytest.mark.slow
def test_streaming_gives_what_unroll_gives():
    page = run(ROOT / "docs" / "streaming.md")
    unroll = jax.jit(functools.partial(ntm_jax.unroll, config=page["config"]))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    close(jnp.stack(page["ys"]), unroll(page["params"], page["xs"])[1])
    close(jnp.stack(page["answers"]), page["logits"])
    jax.tree.map(close, page["states"], page["last_states"])
    alone = unroll(page["params"], page["streams"][4:, 1])[1]
    close(page["logits"][4:, 1], alone)
    again = jnp.concatenate([page["xs"], page["xs"][:1]])
    close(page["y"], unroll(page["params"], again)[1][-1])


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


@pytest.mark.slow
def test_many_devices_have_the_gradient_of_one_and_the_trap_is_one():
    shown = run(ROOT / "docs" / "devices.md")
    count = shown["count"]
    assert count == 4
    want = shown["on_one_device"]
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(want))

    def assert_close(gradient, times=1):
        for got, expected in zip(jax.tree.leaves(gradient), jax.tree.leaves(want)):
            np.testing.assert_allclose(
                got, times * np.asarray(expected), rtol=1e-5, atol=2e-6 * largest
            )

    for name in ("with_jit", "with_shard_map", "with_pmap"):
        assert_close(shown[name])
    assert_close(shown["count_times_too_large"], count)
