"""The pictures and films of `train.show.figures`, for Python code and notebooks."""

from .show.figures import *  # noqa: F403
from .show.figures import __all__ as __all__
