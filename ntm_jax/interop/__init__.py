"""Machines trained with PyTorch: conversion of the state dicts of two other codes.

* `from_pytorch_ntm` converts those of loudinthecloud/pytorch-ntm,
* `from_clemkoa` converts those of clemkoa/ntm.

A state dict maps names to arrays. These can be arrays of NumPy or JAX, or PyTorch
tensors on the CPU. PyTorch itself is not needed.

>>> import numpy as np
>>> from ntm_jax import interop
>>> interop.from_clemkoa({"fc.bias": np.zeros(8)})
Traceback (most recent call last):
    ...
ValueError: state_dict: got no 'memory.initial_state', want an entry of that name

The result is a config and parameters for `ntm_jax`. They give the outputs of the
original machine before its sigmoid.

Some parts of the initial state are fixed in the other codes and parameters here. To
keep them fixed in further training, exclude `params["initial"]` or the entry concerned
from the updates.

There is one difference in the values. In the sharpening (eq. 9), the other codes add
1e-16 to the sum by which they divide. If this sum is not much larger than 1e-16, their
weighting sums to less than 1, and ours sums to 1. For a uniform weighting over 128
slots this happens from γ = 8 on.
"""

from ntm_jax.interop.clemkoa import ClemkoaRevision, from_clemkoa
from ntm_jax.interop.pytorch_ntm import from_pytorch_ntm

__all__ = ("ClemkoaRevision", "from_clemkoa", "from_pytorch_ntm")
