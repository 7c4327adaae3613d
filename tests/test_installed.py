"""The wheel: what a user has who does not have the repository."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tiny import TINY, flags

from train import __main__ as all_commands
from train import starting
from train.runs import commands

ROOT = Path(__file__).parent.parent
RUN = """
import sys
import ntm_jax
from ntm_jax.train.__main__ import main
for command in sys.argv[1:]:
    if status := main(command.split()):
        sys.exit(status)
"""
USE = """
import jax.numpy as jnp
import ntm_jax
import ntm_jax.tasks
from ntm_jax.tasks.vectors import VectorTask
from ntm_jax.train import pretrained

assert ntm_jax.__file__.startswith(SITE), ntm_jax.__file__
assert issubclass(ntm_jax.tasks.Copy, VectorTask)
assert ntm_jax.tasks.Copy.__module__ == "ntm_jax.tasks.copy"
params, config = ntm_jax.pretrained("copy")
state = ntm_jax.initial_state(params, config)
state, y = ntm_jax.step(params, state, jnp.ones(9), config=config)
mine, _ = ntm_jax.load("mine.safetensors")
assert set(pretrained.names()) >= set(ntm_jax.tasks.names())
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the wheel is installed, without what it depends on."""
    built, site = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("site")
    for command in (
        ["hatchling", "build", "--target=wheel", f"--directory={built}"],
        [
            *("pip", "install", "ntm_jax", f"--target={site}"),
            *("--no-deps", "--no-index", f"--find-links={built}"),
        ],
    ):
        subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, check=True, capture_output=True
        )
    return site


@pytest.fixture
def user(site, tmp_path):
    """Runs a program in a folder that has files of the user's, called as ours are."""
    for name in ("train", "tasks"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not yours')")

    def run(*words):
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(site), "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.slow
def test_nothing_but_the_package_is_at_the_top(site):
    names = {path.name for path in site.iterdir()} - {"bin", "__pycache__"}
    assert len(names) == 2
    assert "ntm_jax" in names
    within = {path.name for path in (site / "ntm_jax").iterdir()}
    assert {"machines", "tasks", "train", "py.typed"} <= within
    assert not {"checkout.py", "tasks.py", "train.py"} & within


@pytest.mark.slow
def test_a_user_trains_evaluates_ships_loads_and_draws(user, site, tmp_path):
    tiny = " ".join(flags(TINY)).replace("--steps=60", "--steps=2")
    status, out, err = user(
        sys.executable,
        "-c",
        RUN,
        f"train --quiet {tiny} --validate_every=2 --checkpoint_every=2",
        "evaluate --workdir=runs/copy --num_sequences=2 --length=3",
        "ship --workdir=runs/copy --out=mine.safetensors",
        "evaluate --pretrained=mine.safetensors --num_sequences=2 --length=3",
        "visualize --pretrained=mine.safetensors --length=3",
    )
    assert status == 0, err
    trained, evaluated, shipped, again, *drawn = out.splitlines()
    assert json.loads(trained)["workdir"] == "runs/copy"
    assert shipped == "Wrote mine.safetensors."
    alike = "wrong_bits_per_sequence"
    assert json.loads(evaluated)[alike] == json.loads(again)[alike]
    assert drawn
    status, _, err = user(sys.executable, "-c", USE.replace("SITE", repr(str(site))))
    assert status == 0, err
    made = json.loads((tmp_path / "runs/copy/config.json").read_text())
    assert made["task"] == "copy"


@pytest.mark.slow
def test_the_command_says_how_it_is_called(user, site):
    command = str(site / "bin" / "ntm-jax")
    status, out, _ = user(sys.executable, command, "evaluate", "--help")
    assert status == 0
    assert "usage: ntm-jax evaluate" in out
    assert "  ntm-jax evaluate --workdir=runs/copy\n" in out
    assert "python -m" not in out
    status, _, err = user(sys.executable, command, "evaluate", "--workdir=nowhere")
    assert status == 2
    assert "ntm-jax train makes one" in err
    assert "Traceback" not in err


WITHOUT_OPTAX = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: (
    None if name == "optax" else found(name, *more)
)
import ntm_jax.tasks
sys.argv = ["ntm-jax"] * ("command" in sys.argv)
import ntm_jax.train
"""


@pytest.mark.slow
def test_without_the_trainers_packages_an_error_says_what_to_install(user):
    wanted = "the trainer needs optax; pip install 'ntm_jax[train]'"
    status, _, err = user(sys.executable, "-c", WITHOUT_OPTAX)
    assert status == 1
    assert f"ModuleNotFoundError: {wanted}" in err
    status, _, err = user(sys.executable, "-c", WITHOUT_OPTAX, "command")
    assert (status, err) == (2, f"error: {wanted}\n")


def test_the_packages_that_are_looked_for_are_those_of_the_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = [
        re.split(r"[^\w-]", line)[0]
        for line in project["optional-dependencies"]["train"]
    ]
    assert sorted(starting.PACKAGES) == sorted(
        name.removesuffix("-checkpoint") for name in extra
    )


def test_every_command_can_be_started_by_its_name(capsys):
    for name, (module, _) in commands.COMMANDS.items():
        assert (ROOT / "train" / f"{module}.py").is_file()
        called = commands.as_installed(f"python -m train.{module} --a=b")
        assert called == f"ntm-jax {name} --a=b"
    with pytest.raises(SystemExit, match="0"):
        all_commands.main(["ship", "--help"])
    assert "python -m train.ship" in capsys.readouterr().out
    assert all_commands.main(["--help"]) == 0
    assert "ntm-jax train --task=copy" in capsys.readouterr().out
    assert all_commands.main(["--version"]) == 0


@pytest.mark.parametrize("words", [[], ["sudoku"], ["main"], ["--task=copy"]])
def test_a_command_that_there_is_not_is_named(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        all_commands.main(words)
    assert "command: got " in (told := capsys.readouterr().err)
    assert "want one of train, evaluate, visualize" in told


CHECKOUT = """
import ntm_jax.tasks.copy
import ntm_jax.train.runs.schema
import tasks.copy
import train.runs.schema
from ntm_jax.tasks import Copy

assert Copy is tasks.Copy
assert ntm_jax.tasks.copy is tasks.copy
assert ntm_jax.train.runs.schema is train.runs.schema
assert tasks.copy.__spec__.name == tasks.copy.__name__ == "tasks.copy"
for name in ("nothing", "nothing.more", "copy.more"):
    try:
        __import__(f"ntm_jax.tasks.{name}")
    except ModuleNotFoundError:
        continue
    raise AssertionError(name)
"""


def test_in_a_checkout_both_names_lead_to_one_module():
    subprocess.run([sys.executable, "-c", CHECKOUT], cwd=ROOT, check=True)


def test_a_module_of_the_users_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "tasks.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "import ntm_jax; import ntm_jax.tasks"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert "ImportError: ntm_jax.tasks: got the module " in done.stderr
    assert "rename that module" in done.stderr
