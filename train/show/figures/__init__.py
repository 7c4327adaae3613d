"""Pictures of what a machine learned and of how it does it.

Every function is pure: from arrays, or a `ntm_jax.Trace` of one sequence, to a
matplotlib `Figure`, which `savefig` writes and, after `%matplotlib inline`, a notebook
shows.
"""

from train.show.figures.curves import (
    compared_curves,
    curves_of,
    error_axes,
    learning_curve,
    leave_room,
    median_curve,
)
from train.show.figures.films import learning_film, memory_film
from train.show.figures.locations import recall_locations, sort_locations
from train.show.figures.machine import addressing, answer, focus, memory, vectors
from train.show.figures.ngrams import prediction
from train.show.figures.style import over_time

__all__ = (
    "addressing",
    "answer",
    "compared_curves",
    "curves_of",
    "error_axes",
    "focus",
    "learning_curve",
    "learning_film",
    "leave_room",
    "median_curve",
    "memory",
    "memory_film",
    "over_time",
    "prediction",
    "recall_locations",
    "sort_locations",
    "vectors",
)
