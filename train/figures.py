"""The pictures and films of `train.show.figures`, for Python code and notebooks."""

from train.show import figures
from train.show.figures import *  # noqa: F403

__all__ = figures.__all__
