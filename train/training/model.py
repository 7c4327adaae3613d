"""What a model is; the Neural Turing Machine as one; a model behind an embedding.

`train.models` has the other models, and makes the one that a flag names.
"""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import ntm_jax
from ntm_jax import NTMConfig, tasks

from .health import Health, watch

PyTree = Any


class Model(abc.ABC):
    """A network from sequences to sequences.

    A subclass is a frozen dataclass, and an object of it holds no arrays: its
    parameters are a pytree beside it. One that `--model` names has the field
    `output_size`, which the trainer sets to the O of the task. Its other fields are
    flags.
    """

    @abc.abstractmethod
    def init(self, key: Array, input_size: int) -> PyTree:
        """Initial parameters for inputs of that size, written in JAX."""

    @abc.abstractmethod
    def logits(self, params: PyTree, inputs: Array, mask: Array | None = None) -> Array:
        """Logits `[T, B, O]` for the inputs, written in JAX.

        Args:
          params: as `init` returns them.
          inputs: vectors `[T, B, I]`; tokens `[T, B]` for `Embedded`.
          mask: `[T, B]`, False at padding after a sequence, or None. A model can ignore
            it, or use it to save work: logits at padding are not used.
        """

    def watch(self, params: PyTree, batch: tasks.Batch) -> Health:
        """Numbers about the inside of the model, by name; by default there are none."""
        del params, batch
        return {}


@dataclasses.dataclass(frozen=True)
class NTM(Model):
    """The Neural Turing Machine.

    Attributes:
      config: of the machine.
      num_slots: of its memory, instead of the config's.
    """

    config: NTMConfig
    num_slots: int | None = None

    def init(self, key: Array, input_size: int) -> PyTree:
        """As `ntm_jax.init`."""
        return ntm_jax.init(key, self.config, input_size)

    def logits(self, params: PyTree, inputs: Array, mask: Array | None = None) -> Array:
        """As `ntm_jax.unroll`, from the initial state."""
        state = ntm_jax.initial_state(
            params,
            self.config,
            num_slots=self.num_slots,
            batch_shape=inputs.shape[1:-1],
        )
        return ntm_jax.unroll(
            params, inputs, config=self.config, state=state, mask=mask
        )[1]

    def watch(self, params: PyTree, batch: tasks.Batch) -> Health:
        """The numbers of `train.training.health`."""
        return watch(params, batch, self.config)


@dataclasses.dataclass(frozen=True)
class Embedded(Model):
    """A model of vectors behind a learned vector for each token, its embedding."""

    model: Model
    size: int

    def init(self, key: Array, input_size: int) -> PyTree:
        """Embeddings of length 1 on average, as one-hot vectors, and the model's."""
        embedding_key, key = jax.random.split(key)
        shape = input_size, self.size
        embedding = jax.random.normal(embedding_key, shape, jnp.float32)
        return {
            "embedding": embedding / np.sqrt(self.size, dtype=np.float32),
            "model": self.model.init(key, self.size),
        }

    def logits(self, params: PyTree, inputs: Array, mask: Array | None = None) -> Array:
        """The logits of the model for the tokens' vectors."""
        vectors = embed(params, inputs)
        return self.model.logits(params["model"], vectors, mask)

    def watch(self, params: PyTree, batch: tasks.Batch) -> Health:
        """The numbers of the model."""
        vectors = batch.replace(inputs=embed(params, batch.inputs))
        return self.model.watch(params["model"], vectors)


def embed(params: PyTree, tokens: Array) -> Array:
    """The vectors `[T, B, size]` of tokens `[T, B]`, from the params of `Embedded`."""
    return jnp.take(params["embedding"], tokens, axis=0, mode="clip")


def without_embedding(
    model: Model, params: PyTree, inputs: Array
) -> tuple[Model, PyTree, Array]:
    """The model of vectors that is in a model, with its parameters and its inputs."""
    if isinstance(model, Embedded):
        return model.model, params["model"], embed(params, inputs)
    return model, params, inputs
