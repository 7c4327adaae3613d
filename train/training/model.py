"""The models: a Neural Turing Machine, and an LSTM alone as the baseline."""

import abc
import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.initializers import zeros
from jax import Array

import ntm_jax
from ntm_jax import NTMConfig, tasks

from .health import Health, watch

PyTree = Any


class Model(abc.ABC):
    """A network from sequences to sequences; frozen, to be static under `jit`."""

    @abc.abstractmethod
    def init(self, key: Array, input_size: int) -> PyTree:
        """Initial parameters for inputs of that size, as of `tasks.Task`."""

    @abc.abstractmethod
    def logits(
        self,
        params: PyTree,
        inputs: Array,
        num_slots: int | None = None,
        mask: Array | None = None,
    ) -> Array:
        """Logits `[T, B, O]` for the inputs; arbitrary outside the mask `[T, B]`.

        Inputs are vectors `[T, B, I]`, or tokens `[T, B]` for `Embedded`.

        Raises:
          ValueError: for a number of slots that the model cannot have.
        """

    @abc.abstractmethod
    def watch(self, params: PyTree, batch: tasks.Batch) -> Health:
        """Numbers about the inside of the model, by name."""


@dataclasses.dataclass(frozen=True)
class NTM(Model):
    """The Neural Turing Machine."""

    config: NTMConfig

    def init(self, key: Array, input_size: int) -> PyTree:
        """As `ntm_jax.init`."""
        return ntm_jax.init(key, self.config, input_size)

    def logits(
        self,
        params: PyTree,
        inputs: Array,
        num_slots: int | None = None,
        mask: Array | None = None,
    ) -> Array:
        """As `ntm_jax.unroll`, from the initial state with that number of slots."""
        state = ntm_jax.initial_state(
            params, self.config, num_slots=num_slots, batch_shape=inputs.shape[1:-1]
        )
        return ntm_jax.unroll(
            params, inputs, config=self.config, state=state, mask=mask
        )[1]

    def watch(self, params: PyTree, batch: tasks.Batch) -> Health:
        """The numbers of `train.training.health`."""
        return watch(params, batch, self.config)


class LSTMStack(nn.Module):
    """Layers of LSTM cells with skip connections from the input and to the output.

    These are the skip connections of Graves 2013 (arXiv:1308.0850, section 2). With
    them and a learned initial state, the number of parameters is that of table 3 of the
    paper of 2014, for the tasks whose channels are known.
    """

    units: int
    num_layers: int
    output_size: int

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """`[T, B, I]` to `[T, B, O]`."""
        below, of_all = inputs, []
        for layer in range(self.num_layers):
            carry = tuple(
                jnp.broadcast_to(
                    self.param(f"initial_{part}_{layer}", zeros, (1, self.units)),
                    (inputs.shape[1], self.units),
                )
                for part in ("c", "h")
            )
            run = nn.RNN(nn.OptimizedLSTMCell(self.units), time_major=True)
            of_all.append(run(below, initial_carry=carry))
            below = jnp.concatenate([inputs, of_all[-1]], axis=-1)
        return nn.Dense(self.output_size)(jnp.concatenate(of_all, axis=-1))


@dataclasses.dataclass(frozen=True)
class LSTM(Model):
    """The baseline of the paper: an LSTM without a memory."""

    module: LSTMStack

    def init(self, key: Array, input_size: int) -> PyTree:
        """As Flax initialises it."""
        initialise = functools.partial(self.module.init, key)
        return jax.jit(initialise)(jnp.zeros((1, 1, input_size)))["params"]

    def logits(
        self,
        params: PyTree,
        inputs: Array,
        num_slots: int | None = None,
        mask: Array | None = None,
    ) -> Array:
        """The logits, from the learned initial state."""
        del mask  # more steps are cheap
        if num_slots is not None:
            raise ValueError(f"num_slots: got {num_slots}, but an LSTM has no memory")
        return self.module.apply({"params": params}, inputs)  # type: ignore[return-value]

    def watch(self, params: PyTree, batch: tasks.Batch) -> Health:
        """Nothing: an LSTM has no heads."""
        del params, batch
        return {}


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

    def logits(
        self,
        params: PyTree,
        inputs: Array,
        num_slots: int | None = None,
        mask: Array | None = None,
    ) -> Array:
        """The logits of the model for the tokens' vectors."""
        vectors = embed(params, inputs)
        return self.model.logits(params["model"], vectors, num_slots, mask)

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
