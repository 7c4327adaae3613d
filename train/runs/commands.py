"""The commands: their names, and how each is started in this installation."""

import re

# The name of each for `ntm-jax`, its module at the top of train, what it does.
COMMANDS = {
    "train": ("main", "train a machine, evaluate it and draw what it does"),
    "evaluate": ("evaluate", "evaluate a machine, at any difficulty"),
    "visualize": ("visualize", "draw what a machine does, or make a page of it"),
    "write": ("write", "write poems with a machine that learned it"),
    "serve": ("serve", "show runs live in a browser"),
    "study": ("study", "compare settings, each with many seeds"),
    "ship": ("ship", "export a machine of a run as a .safetensors file"),
    "import_torch": ("import_torch", "convert a machine of PyTorch"),
}
# Whether this is the folder at the top of a checkout, or within an installed ntm_jax.
IN_CHECKOUT = __name__.partition(".")[0] == "train"
_MODULE = re.compile(r"python -m train\.(\w+)")


def spelled(text: str) -> str:
    """The text with its commands as this installation starts them.

    >>> spelled("python -m train.main --task=copy")  # in a checkout
    'python -m train.main --task=copy'
    """
    return text if IN_CHECKOUT else as_installed(text)


def as_installed(text: str) -> str:
    """The text with its commands as an installed package starts them.

    >>> as_installed("python -m train.main --task=copy")
    'ntm-jax train --task=copy'
    """
    names = {module: name for name, (module, _) in COMMANDS.items()}
    return _MODULE.sub(lambda found: f"ntm-jax {names[found[1]]}", text)
