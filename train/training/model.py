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
# Of a `ntm_jax.SparseState`.
SPARSE_NUMBERS = ("dropped", "unwritten", "bound", "searches")


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

    def answer(self, params: PyTree, inputs: Array) -> tuple[Array, dict[str, Array]]:
        """The logits, and numbers about how they came about, each `[B]`, by name."""
        return self.logits(params, inputs), {}

    def start(self, params: PyTree, inputs: jax.ShapeDtypeStruct) -> PyTree:
        """What `step` carries, before the first step; by default the inputs so far.

        Args:
          params: as `init` returns them.
          inputs: the shape and dtype of all inputs that will come.
        """
        del params
        return jnp.zeros(inputs.shape, inputs.dtype), jnp.int32(0)

    def step(self, params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
        """One step of a sequence of which the inputs are not known beforehand.

        By default, all steps so far are computed again.

        Args:
          params: as `init` returns them.
          carry: of `start`, or of the step before.
          x: an input of each sequence, `[B, ...]`.

        Returns:
          What to carry on, and the logits `[B, O]`: those of `logits` at this step.
        """
        inputs, done = carry
        inputs = inputs.at[done].set(x)
        return (inputs, done + 1), self.logits(params, inputs)[done]

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
      access: the slots that a weighting keeps, as `ntm_jax.initial_state` takes it.
    """

    config: NTMConfig
    num_slots: int | None = None
    access: str = "dense"

    def init(self, key: Array, input_size: int) -> PyTree:
        """As `ntm_jax.init`."""
        return ntm_jax.init(key, self.config, input_size)

    def logits(self, params: PyTree, inputs: Array, mask: Array | None = None) -> Array:
        """As `ntm_jax.unroll`, from the initial state."""
        state = self.start(params, inputs)
        return ntm_jax.unroll(
            params, inputs, config=self.config, state=state, mask=mask
        )[1]

    def answer(self, params: PyTree, inputs: Array) -> tuple[Array, dict[str, Array]]:
        """With `access`, also the numbers of the last `ntm_jax.SparseState`."""
        state = self.start(params, inputs)
        end, ys = ntm_jax.unroll(params, inputs, config=self.config, state=state)
        if not isinstance(end, ntm_jax.SparseState):
            return ys, {}
        return ys, {name: getattr(end, name) for name in SPARSE_NUMBERS}

    def start(self, params: PyTree, inputs: Any) -> PyTree:
        """The initial state, for inputs of that shape."""
        return ntm_jax.initial_state(
            params,
            self.config,
            num_slots=self.num_slots,
            batch_shape=inputs.shape[1:-1],
            access=self.access,
        )

    def step(self, params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
        """As `ntm_jax.step`."""
        return ntm_jax.step(params, carry, x, config=self.config)

    def watch(self, params: PyTree, batch: tasks.Batch) -> Health:
        """The numbers of `train.training.health`."""
        return watch(params, batch, self.config)


@dataclasses.dataclass(frozen=True)
class Embedded(Model):
    """A model of vectors behind a learned vector for each token, its embedding.

    Attributes:
      model: its inputs are vectors of `size` numbers.
      size: of an embedding.
      tied: None if the outputs of the model are the logits. Else the outputs are
        vectors, and the logits are their products with the embeddings of the first
        `tied` tokens (Press and Wolf 2017, arXiv:1608.05859).
    """

    model: Model
    size: int
    tied: int | None = None

    def init(self, key: Array, input_size: int) -> PyTree:
        """Embeddings of length 1 on average, as one-hot vectors, and the model's."""
        embedding_key, key = jax.random.split(key)
        shape = input_size, self.size
        embedding = jax.random.normal(embedding_key, shape, jnp.float32)
        params = {
            "embedding": embedding / np.sqrt(self.size, dtype=np.float32),
            "model": self.model.init(key, self.size),
        }
        if self.tied is not None:
            params["output_bias"] = jnp.zeros(self.tied, jnp.float32)
        return params

    def logits(self, params: PyTree, inputs: Array, mask: Array | None = None) -> Array:
        """The logits of the model for the tokens' vectors."""
        vectors = embed(params, inputs)
        outputs = self.model.logits(params["model"], vectors, mask)
        return self.logits_of(params, outputs)

    def answer(self, params: PyTree, inputs: Array) -> tuple[Array, dict[str, Array]]:
        """As the model's, for the tokens' vectors."""
        vectors = embed(params, inputs)
        outputs, numbers = self.model.answer(params["model"], vectors)
        return self.logits_of(params, outputs), numbers

    def start(self, params: PyTree, inputs: jax.ShapeDtypeStruct) -> PyTree:
        """As the model's, for the tokens' vectors."""
        vectors = jax.eval_shape(embed, params, inputs)
        return self.model.start(params["model"], vectors)

    def step(self, params: PyTree, carry: PyTree, x: Array) -> tuple[PyTree, Array]:
        """As the model's, for the tokens' vectors."""
        vectors = embed(params, x[None])[0]
        carry, outputs = self.model.step(params["model"], carry, vectors)
        return carry, self.logits_of(params, outputs)

    def logits_of(self, params: PyTree, outputs: Array) -> Array:
        """The logits for outputs `[..., O]` of the model."""
        if self.tied is None:
            return outputs
        bias = jnp.expand_dims(params["output_bias"], range(outputs.ndim - 1))
        return outputs @ params["embedding"][: self.tied].T + bias

    def watch(self, params: PyTree, batch: tasks.Batch) -> Health:
        """The numbers of the model."""
        vectors = batch.replace(inputs=embed(params, batch.inputs))
        return self.model.watch(params["model"], vectors)


def embed(params: PyTree, tokens: Array) -> Array:
    """The vectors `[T, B, size]` of tokens, from the params of `Embedded`.

    Args:
      params: with the embedding.
      tokens: `[T, B]`, or several a step, `[T, B, n]`, whose vectors are added.
    """
    vectors = jnp.take(params["embedding"], tokens, axis=0, mode="clip")
    return vectors if tokens.ndim == 2 else jnp.sum(vectors, axis=2)


def without_embedding(
    model: Model, params: PyTree, inputs: Array
) -> tuple[Model, PyTree, Array]:
    """The model of vectors that is in a model, with its parameters and its inputs."""
    if isinstance(model, Embedded):
        return model.model, params["model"], embed(params, inputs)
    return model, params, inputs
