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


def imported(path: Path) -> Iterator[str]:
    """The packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: a relative import"
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", KNOWN)
def test_no_package_imports_one_above_it(package):
    ours = {*KNOWN, "tests"}
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert ours & {*imported(path)} <= KNOWN[package], path
