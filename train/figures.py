"""The pictures and films of `train.show.figures`, for Python code and notebooks."""

from train.show.figures import *  # noqa: F403
from train.show.figures import __all__ as __all__
