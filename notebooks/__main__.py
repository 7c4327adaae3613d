"""Runs the notebooks and saves their outputs: `python -m notebooks [NAME ...]`."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from train.runs.files import whole

FOLDER = Path(__file__).parent


def run(path: Path, folder: str) -> nbformat.NotebookNode:
    """The notebook with its outputs, run in `folder`.

    Raises:
      CellExecutionError: what a cell raises.
    """
    notebook = nbformat.read(path, as_version=4)
    metadata = notebook.metadata.copy()
    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=600,
        startup_timeout=300,
        record_timing=False,  # time stamps would change the file at every run
        resources={"metadata": {"path": folder}},
    ).execute()
    notebook.metadata = metadata  # without the version of this Python
    return notebook


def execute(path: Path, folder: str) -> None:
    """Runs a notebook in `folder` and writes its outputs into the file."""
    notebook = run(path, folder)
    with whole(path) as unfinished:
        nbformat.write(notebook, unfinished)


def main() -> int:
    """The command; returns its exit status."""
    paths = {path.stem: path for path in sorted(FOLDER.glob("*.ipynb"))}
    parser = argparse.ArgumentParser(prog="python -m notebooks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *paths], metavar="NAME")
    names = parser.parse_args().names or list(paths)
    # The notebooks run in an empty folder, with the packages of this checkout.
    os.environ["PYTHONPATH"] = str(FOLDER.parent)
    for name in names:
        print(f"{name} ...", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            execute(paths[name], folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
