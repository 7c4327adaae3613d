"""Which package may know of which: what stands lower imports nothing from above."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KNOWN = {
    "ntm_jax": {"ntm_jax"},
    "tasks": {"tasks"},
    "train": {"ntm_jax", "tasks", "train"},
    "benchmarks": {"ntm_jax", "tasks", "train", "benchmarks"},
}

# Inside train: what the modules of a room may import. The commands at the top may
# import everything.
ROOMS = {
    "training": {"train.training", "train.runs.config"},
    "runs": {"train.training", "train.runs"},
    "show": {"train.training", "train.runs", "train.show"},
}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports from, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: a relative import"
            yield node.module


@pytest.mark.parametrize("package", KNOWN)
def test_no_package_imports_one_above_it(package):
    ours = {*KNOWN, "tests"}
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        packages = {module.partition(".")[0] for module in imported(path)}
        assert ours & packages <= KNOWN[package], path


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_of_train_imports_one_above_it(room):
    files = sorted((ROOT / "train" / room).rglob("*.py"))
    assert files
    for path in files:
        for module in imported(path):
            if module.partition(".")[0] == "train":
                allowed = (
                    module == known or module.startswith(f"{known}.")
                    for known in ROOMS[room]
                )
                assert any(allowed), f"{path}: {module}"
