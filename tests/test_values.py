"""A config is a value: a copy equals it and shares its compilation."""

import concurrent.futures
import copy
import functools
import multiprocessing
import pickle
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import ntm_jax
import ntm_jax.linen
import ntm_jax.nnx
from ntm_jax.fast import controller as fast

NTMConfig = ntm_jax.NTMConfig


@jax.jit
def squash(x):
    return x / (1 + jnp.abs(x))


class Residual(nn.RNNCellBase):
    """A cell of a user, around another."""

    cell: nn.RNNCellBase
    activation: Callable[..., jax.Array] = nn.softplus

    @nn.compact
    def __call__(self, carry, inputs):
        carry, hidden = self.cell(carry, inputs)
        return carry, hidden + self.activation(nn.Dense(4)(inputs))

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return self.cell.initialize_carry(rng, input_shape)

    @property
    def num_feature_axes(self):
        return 1


# Each makes an equal controller when it is called again.
CONTROLLERS = {
    "lstm": ntm_jax.lstm,
    "two layers": lambda: ntm_jax.lstm(8, 2, input_scale=1.0),
    "gru": lambda: ntm_jax.gru(8),
    "feed_forward": ntm_jax.feed_forward,
    "relu": lambda: ntm_jax.feed_forward(8, 2, nn.relu),
    "partial": lambda: ntm_jax.feed_forward(
        8, 1, functools.partial(nn.gelu, approximate=False)
    ),
    "jitted": lambda: ntm_jax.feed_forward(8, 1, squash),
    "Flax's GRU": lambda: nn.GRUCell(64),
    "Flax's LSTM": lambda: nn.LSTMCell(8, activation_fn=nn.silu, dtype=jnp.bfloat16),
    "initialisers": lambda: nn.GRUCell(
        8,
        kernel_init=nn.initializers.orthogonal(0.5),
        recurrent_kernel_init=nn.initializers.normal(0.1, jnp.bfloat16),
    ),
    "sequential": lambda: nn.Sequential((nn.Dense(8), nn.relu, nn.Dense(8), nn.tanh)),
    "own cell": lambda: Residual(nn.MGUCell(4)),
    "a machine": lambda: ntm_jax.linen.NTMCell(NTMConfig(output_size=4)),
}


def pickled(value):
    return pickle.loads(pickle.dumps(value))


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": pickled}


@pytest.mark.parametrize("make", CONTROLLERS.values(), ids=CONTROLLERS)
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_config_equals_it(copied, make):
    config = NTMConfig(output_size=3, controller=make())
    for other in (copied(config), copied(copied(config))):
        assert other == config
        assert hash(other) == hash(config)
    holder = ntm_jax.linen.NTMCell(config)
    assert copied(holder) == holder


@pytest.mark.parametrize("make", CONTROLLERS.values(), ids=CONTROLLERS)
def test_equal_controllers_make_equal_configs(make):
    config = NTMConfig(output_size=3, controller=make())
    for controller in (make(), copy.deepcopy(make()), copy.deepcopy(config.controller)):
        other = NTMConfig(output_size=3, controller=controller)
        assert other == config
        assert hash(other) == hash(config)


def test_a_controller_that_has_nothing_to_settle_is_kept():
    for cell in (ntm_jax.lstm(8), nn.GRUCell(8), Residual(nn.MGUCell(4))):
        assert NTMConfig(output_size=3, controller=cell).controller is cell


def test_a_config_comes_back_from_another_process():
    configs = [
        NTMConfig(output_size=3, controller=make())
        for make in (ntm_jax.lstm, CONTROLLERS["initialisers"])
    ]
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        assert pool.submit(copy.copy, configs).result() == configs


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_shares_the_compilation_and_the_fast_path(copied):
    traced = []

    @functools.partial(jax.jit, static_argnames="config")
    def sizes(x, config):
        traced.append(config)
        return x * config.num_slots

    config = NTMConfig(output_size=3)
    for each in (config, copied(config), copied(config)):
        sizes(1.0, config=each)
    assert len(traced) == 1
    assert isinstance(fast.controller_of(copied(config)), fast.LSTM)
    cell = copy.deepcopy(ntm_jax.lstm(8))
    copied_cell = NTMConfig(output_size=3, controller=cell)
    assert isinstance(fast.controller_of(copied_cell), fast.LSTM)


@pytest.mark.slow
def test_a_target_network_follows_its_model():
    config = NTMConfig(output_size=3, num_slots=5, slot_size=4)
    model = ntm_jax.nnx.NTMCell(2, config, rngs=nnx.Rngs(0))
    target = copy.deepcopy(model)
    averaged = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, target, model)
    assert averaged.config == config
    assert pickled(nnx.graphdef(model)) == nnx.graphdef(model)


@functools.wraps(jnp.tanh)
def doubled_tanh(x):
    return 2 * jnp.tanh(x)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda x: x, lambda x: x),
        (doubled_tanh, jnp.tanh),
        (jax.jit(doubled_tanh), jnp.tanh),
        (jax.jit(jnp.tanh), jax.jit(jnp.sin)),
        (functools.partial(jnp.power, 2), functools.partial(jnp.power, 2.0)),
        (functools.partial(nn.gelu, approximate=True), nn.gelu),
    ],
)
def test_functions_that_may_differ_stay_different(first, second):
    configs = [
        NTMConfig(output_size=3, controller=ntm_jax.feed_forward(8, 1, activation))
        for activation in (first, second)
    ]
    assert configs[0] != configs[1]
    assert configs[0].controller.activation is first
    assert configs[1].controller.activation is second


def test_a_module_that_holds_a_list_is_still_refused():
    cell = nn.Sequential([nn.Dense(8)])
    with pytest.raises(TypeError, match="want a hashable module: use tuples"):
        NTMConfig(output_size=3, controller=cell)


def test_a_copy_is_made_inside_a_module_too():
    class Model(nn.Module):
        config: NTMConfig

        @nn.compact
        def __call__(self, xs):
            inner = pickled(self.config)
            cell = NTMConfig(output_size=3, controller=copy.deepcopy(nn.GRUCell(4)))
            assert inner == self.config == cell
            return nn.RNN(ntm_jax.linen.NTMCell(inner))(xs)

    model = Model(NTMConfig(output_size=3, controller=nn.GRUCell(4)))
    jax.eval_shape(model.init, jax.random.key(0), jnp.ones((2, 3)))
