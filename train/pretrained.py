"""Trained machines by name, for Python code and notebooks.

>>> import ntm_jax
>>> from ntm_jax.train import pretrained
>>> params, config = pretrained.load("copy")
>>> state = ntm_jax.initial_state(params, config, num_slots=1024)
"""

from .runs.pretrained import FOLDER, load, load_run, names, save

__all__ = ("FOLDER", "load", "load_run", "names", "save")
