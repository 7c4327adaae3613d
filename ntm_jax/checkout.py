"""`ntm_jax.tasks` and `ntm_jax.train` in a checkout, where both folders are at the top.

A wheel has these folders inside `ntm_jax`, and not this module. In a checkout, both
names of a module, such as `tasks.copy` and `ntm_jax.tasks.copy`, lead to one module. So
the same code works in both places.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]


def stand_in(name: str) -> None:
    """Puts the folder at the top of the checkout in place of the module of that name.

    Raises:
      ImportError: if Python finds another module under the folder's name.
    """
    folder = name.removeprefix("ntm_jax.")
    module = importlib.import_module(folder)
    found = Path(module.__file__ or "").parent
    if found != ROOT / folder:
        raise ImportError(
            f"{name}: got the module {module.__file__}, want the folder "
            f"{ROOT / folder}: rename that module, or install a wheel of ntm_jax "
            "instead of the checkout"
        )
    sys.modules[name] = module
    sys.meta_path.insert(0, _Finder(name))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules within the folder under their names in `ntm_jax`."""

    def __init__(self, name: str) -> None:
        self._prefix = f"{name}."

    def find_spec(self, fullname, path, target=None):
        """The spec of a module that this class loads; None for all others."""
        del path, target
        if not fullname.startswith(self._prefix):
            return None
        own_name = fullname.removeprefix("ntm_jax.")
        try:
            if importlib.util.find_spec(own_name) is None:
                return None
        except ModuleNotFoundError:  # nor is what it would be in
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The module under its own name."""
        module = importlib.import_module(spec.name.removeprefix("ntm_jax."))
        # Python gives every module that it creates the spec that it was created by.
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing but to give back the module's own spec: it has been executed."""
        spec = module.__spec__
        module.__spec__ = spec.loader_state if spec is not None else None
