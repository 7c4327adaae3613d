"""Pictures of what a machine learned and of how it does it.

Every function is pure: from arrays, or a `ntm_jax.Trace` of one sequence, to a
matplotlib `Figure`, which `savefig` writes and, after `%matplotlib inline`, a notebook
shows.
"""

from .curves import (
    compared_curves,
    curves_of,
    error_axes,
    learning_curve,
    leave_room,
    median_curve,
)
from .films import learning_film, memory_film
from .locations import recall_locations, sort_locations
from .machine import addressing, answer, focus, memory, vectors, writing
from .ngrams import prediction
from .style import over_time

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
    "writing",
)
