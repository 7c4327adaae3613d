"""All commands under one name: `ntm-jax COMMAND --flags`, after an installation.

In a checkout, `python -m train.main` and the other modules are the commands.
"""

import importlib
import sys

import ntm_jax

from . import cli
from .runs.commands import COMMANDS


def main(arguments: list[str] | None = None) -> int:
    """Runs the command that the first argument names; returns its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    with cli.readable_errors():
        if words[:1] in (["-h"], ["--help"]):
            print(usage())
            return 0
        if words[:1] == ["--version"]:
            print(f"ntm_jax {ntm_jax.__version__}")
            return 0
        if not words or words[0] not in COMMANDS:
            got = repr(words[0]) if words else "none"
            raise ValueError(f"command: got {got}, want one of {', '.join(COMMANDS)}")
    module, _ = COMMANDS[words[0]]
    return importlib.import_module(f".{module}", __package__).main(words[1:])


def usage() -> str:
    """What `--help` prints."""
    return "\n".join(
        [
            "usage: ntm-jax COMMAND [--help] [FLAGS]",
            "",
            "The Neural Turing Machine for JAX.",
            "",
            *(f"  {name:14}{does}" for name, (_, does) in COMMANDS.items()),
            "",
            "Examples:",
            "  ntm-jax train --task=copy",
            "  ntm-jax evaluate --pretrained=copy --length=120",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
