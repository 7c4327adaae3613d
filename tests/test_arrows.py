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
    "cluster": {"train.cluster"},
    "training": {"train.cluster", "train.training", "train.runs.config"},
    "models": {"train.training", "train.models"},
    "runs": {"train.cluster", "train.training", "train.models", "train.runs"},
    "show": {
        *("train.cluster", "train.training", "train.models", "train.runs"),
        "train.show",
    },
    "serving": {
        *("train.training", "train.models", "train.runs", "train.show"),
        "train.serving",
    },
}


# What makes the folders at the top of a checkout importable as parts of ntm_jax; not in
# a wheel.
STAND_INS = {ROOT / "ntm_jax" / f"{name}.py" for name in ("checkout", "tasks", "train")}


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports from, anywhere in it, as they are at the top."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (at_the_top(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(path, node.level, node.module)
            inside = [f"{module}.{alias.name}" for alias in node.names]
            moved = [name for name in inside if at_the_top(name) != name]
            yield from map(at_the_top, moved or [module])


def absolute(path: Path, level: int, module: str | None) -> str:
    """The name of a module that a file imports from, which may be relative."""
    if level == 0:
        return module or ""
    parts = path.parent.relative_to(ROOT).parts
    assert level <= len(parts), f"{path}: an import from above the top"
    above = parts[: len(parts) - level + 1]
    return ".".join([*above, *([module] if module else [])])


def at_the_top(module: str) -> str:
    """The name of a module in a checkout."""
    for folder in ("tasks", "train"):
        if f"{module}.".startswith(f"ntm_jax.{folder}."):
            return module.removeprefix("ntm_jax.")
    return module


def test_relative_imports_and_both_names_of_a_folder_are_seen(tmp_path):
    path = ROOT / "train" / "runs" / "x.py"
    assert absolute(path, 0, "train.cli") == "train.cli"
    assert absolute(path, 1, "files") == "train.runs.files"
    assert absolute(path, 2, None) == "train"
    (tmp_path / "x.py").write_text("from ntm_jax import tasks\nimport ntm_jax.train.a")
    assert set(imported(tmp_path / "x.py")) == {"tasks", "train.a"}


@pytest.mark.parametrize("package", KNOWN)
def test_no_package_imports_one_above_it(package):
    ours = {*KNOWN, "tests"}
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in {*files} - STAND_INS:
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
