"""The notebooks run from top to bottom, and are kept with their outputs."""

import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from notebooks.__main__ import execute, run

pytestmark = pytest.mark.optimized  # they train machines
ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"][
    "Repository"
]


def stem(path: Path) -> str:
    return path.stem


@pytest.fixture(params=NOTEBOOKS, ids=stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def images(notebook) -> list[str]:
    """The images among the outputs, in base64."""
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert_no_error_or_warning(outputs)
    return [
        output.data["image/png"]
        for output in outputs
        if "image/png" in output.get("data", {})
    ]


def assert_no_error_or_warning(outputs):
    """Also no figure of which there is only the name."""
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
        data = output.get("data", {})
        assert "image/png" in data or "<Figure" not in data.get("text/plain", "")


def test_it_is_valid_and_kept_with_its_outputs(notebook):
    """As after `python -m notebooks`: every cell was run once, in order."""
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert images(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_its_file_is_small_and_says_nothing_of_where_it_was_run(path):
    assert path.stat().st_size < 1_000_000
    notebook = nbformat.read(path, as_version=4)
    for cell in code(notebook):
        for output in cell.outputs:
            output.get("data", {}).pop("image/png", None)
    text = nbformat.writes(notebook)
    for mark in ("/tmp", "/home", str(Path.home()), "iopub.execute_input"):
        assert mark not in text


def test_a_notebook_is_run_and_kept_by_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    cells = [nbformat.v4.new_code_cell("print(1 + 1)")]
    metadata = {"language_info": {"name": "python"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    path = tmp_path / "sums.ipynb"
    nbformat.write(notebook, path)
    execute(path, str(tmp_path))
    kept = nbformat.read(path, as_version=4)
    (cell,) = kept.cells
    assert (cell.execution_count, cell.outputs[0].text) == (1, "2\n")
    assert kept.metadata == metadata
    assert cell.metadata == {}


def test_each_begins_with_the_same_installation():
    first = {code(nbformat.read(path, as_version=4))[0].source for path in NOTEBOOKS}
    (installation,) = first
    assert f'REPOSITORY = "{REPOSITORY}"' in installation


class Colab:
    """A session of Colab in `folder`: what is installed there, and what is run."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.commands: list[list[str]] = []
        self.installed = {"numpy": "2.0.2", "jax": "0.7.2", "pandas": "2.2.2"}
        self.modules: set[str] = set()
        self.programs: set[str] = set()
        self.upgraded = {"jax": "0.12.0"}
        self.git_fails = False
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.setattr(sys, "modules", {**sys.modules, "pandas": None})
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name: name in self.modules or None
        )
        monkeypatch.setattr(
            "importlib.metadata.distributions",
            lambda: [
                SimpleNamespace(name=name, version=version)
                for name, version in self.installed.items()
            ],
        )
        monkeypatch.setattr(
            "shutil.which", lambda name: name if name in self.programs else None
        )
        monkeypatch.setattr("subprocess.run", self.run)

    def run(self, command: list[str], **_) -> SimpleNamespace:
        self.commands.append(command)
        if command[0] == "git":
            Path(command[-1]).mkdir()
            if self.git_fails:
                raise subprocess.CalledProcessError(128, command)
        elif "pip" in command:
            self.installed |= self.upgraded
        return SimpleNamespace(stdout="| Driver Version: 580  CUDA Version: 13.0 |")


@pytest.fixture
def colab(tmp_path, monkeypatch) -> Colab:
    return Colab(tmp_path, monkeypatch)


@pytest.fixture
def installation() -> str:
    """The first cell of the notebooks."""
    return code(nbformat.read(NOTEBOOKS[0], as_version=4))[0].source


def test_nothing_is_installed_where_the_library_is(colab, installation):
    colab.modules.add("train.pretrained")
    exec(installation, {})
    assert colab.commands == []


def test_it_installs_what_is_missing_and_works_at_once(colab, installation):
    colab.upgraded = {"orbax-checkpoint": "0.12", "numpy": "2.0.2"}
    exec(installation, {})
    _, pip = colab.commands
    assert pip[1:] == ["-m", "pip", "install", "-q", "-e", "clone[train]"]
    assert "--upgrade" not in pip
    assert sys.path[0] == str(Path("clone").resolve())


@pytest.mark.parametrize("name", ["jax", "numpy"])
def test_it_says_when_to_restart(colab, installation, name):
    colab.upgraded = {name: "9.0", "pandas": "2.2.2"}
    with pytest.raises(RuntimeError, match=f"Restart the session.*: {name} .* by 9.0 "):
        exec(installation, {})


def test_what_is_not_in_use_may_be_replaced(colab, installation, monkeypatch):
    monkeypatch.delitem(sys.modules, "jax")
    exec(installation, {})


@pytest.mark.parametrize(
    ("program", "module", "extra"),
    [("nvidia-smi", None, "jax[cuda13]"), (None, "libtpu", "jax[tpu]")],
)
def test_jax_is_that_of_the_accelerator(colab, installation, program, module, extra):
    colab.programs, colab.modules = {program}, {module}
    colab.upgraded = {}
    exec(installation, {})
    assert colab.commands[-1][-2:] == ["clone[train]", extra]


def test_a_clone_that_did_not_end_is_made_again(colab, installation):
    colab.git_fails, colab.upgraded = True, {}
    with pytest.raises(subprocess.CalledProcessError):
        exec(installation, {})
    assert not Path("clone").exists()
    colab.git_fails = False
    exec(installation, {})
    assert [path.name for path in Path().iterdir()] == ["clone"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_each_has_a_badge_that_opens_it(path):
    place = REPOSITORY.removeprefix("https://github.com/")
    address = (
        f"https://colab.research.google.com/github/{place}/blob/main/"
        f"{path.relative_to(ROOT)}"
    )
    assert address in nbformat.read(path, as_version=4).cells[0].source


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            marks=pytest.mark.slow
            if path.stem in ("quickstart", "compose")
            else pytest.mark.rare,
        )
        for path in NOTEBOOKS
    ],
    ids=stem,
)
def test_it_runs_without_an_error_or_a_warning(path, tmp_path, monkeypatch):
    # This copy of the packages, and nothing that is the user's.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    assert images(run(path, str(tmp_path)))  # raises what a cell raises
