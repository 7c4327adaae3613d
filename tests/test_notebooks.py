"""The notebooks run from top to bottom, and are kept as they were written."""

import tomllib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

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


def test_it_is_valid_and_kept_without_outputs(notebook):
    nbformat.validate(notebook)
    for cell in code(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None


def test_each_begins_with_the_same_installation():
    first = {code(nbformat.read(path, as_version=4))[0].source for path in NOTEBOOKS}
    (installation,) = first
    assert f'REPOSITORY = "{REPOSITORY}"' in installation


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_each_has_a_badge_that_opens_it(path):
    place = REPOSITORY.removeprefix("https://github.com/")
    address = (
        f"https://colab.research.google.com/github/{place}/blob/main/"
        f"{path.relative_to(ROOT)}"
    )
    assert address in nbformat.read(path, as_version=4).cells[0].source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
@pytest.mark.slow
def test_it_runs_without_an_error_or_a_warning(path, tmp_path, monkeypatch):
    # This copy of the packages, and nothing that is the user's.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=600,
        startup_timeout=300,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()  # raises what a cell raises
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    told = [
        output.text
        for output in outputs
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert told == []
    shown = [output.data for output in outputs if "data" in output]
    for data in shown:  # not its name alone
        assert "image/png" in data or "<Figure" not in data["text/plain"]
    assert any("image/png" in data for data in shown)
