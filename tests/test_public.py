"""The front door: what is there, and how it is called."""

import importlib.resources
import inspect
import operator
import re

import pytest

import ntm_jax
from ntm_jax import linen, nnx

SIGNATURES = {
    "Access": "(kind, size, tolerance=0.02)",
    "NTMConfig": (
        "(*, output_size, num_slots=128, slot_size=20, num_read_heads=1, "
        "num_write_heads=1, shift_range=1, controller=<factory>, order='read_first', "
        "key_activation='tanh', add_activation='tanh', sharpening='learned', "
        "head_clip=None, previous_weighting='own', "
        "initial_memory='constant', initial_weighting='first_slot', "
        "initial_read='zeros', "
        "initial_carry='cell', initial_heads='tape', initial_strength=0.0, "
        "head_scale=0.3)"
    ),
    "NTMState": "(memory, read_weights, write_weights, reads, controller)",
    "SparseState": (
        "(memory, read_slots, read_weights, read_rest, write_slots, write_weights, "
        "write_rest, reads, controller, total, directions, dropped, unwritten, bound, "
        "searches, access)"
    ),
    "Trace": "(states, outputs, read, write, writing)",
    "address": "(memory, previous, key, strength, gate, shift, gamma)",
    "circular_shift": "(weights, shift)",
    "content_weights": "(memory, key, strength)",
    "feed_forward": "(units=100, num_layers=1, activation=tanh, *, input_scale=2.0)",
    "gru": "(units=100, num_layers=1, *, input_scale=4.0)",
    "init": "(key, config, input_size, dtype=float32)",
    "initial_memory": "(num_slots, slot_size, kind='constant', dtype=float32)",
    "initial_state": "(params, config, *, num_slots=None, batch_shape=(), access=None)",
    "interpolate": "(content, previous, gate)",
    "load": "(path)",
    "lstm": "(units=100, num_layers=1, *, input_scale=4.0)",
    "pretrained": "(machine)",
    "read": "(memory, weights)",
    "save": "(path, params, config)",
    "sharpen": "(weights, gamma)",
    "step": "(params, state, x, *, config, rngs=None)",
    "trace": ("(params, xs, *, config, state=None, mask=None, reset=None, rngs=None)"),
    "unroll": (
        "(params, xs, *, config, state=None, mask=None, reset=None, save_every=None, "
        "implementation='auto', rngs=None, access=None)"
    ),
    "weight_decay_mask": "(params)",
    "write": "(memory, weights, erase, add)",
}

LINEN = {
    "NTMCell": "(config, dtype=None, param_dtype=float32)",
    "NTMCell.initialize_carry": "(self, rng, input_shape)",
    "NTMCell.__call__": "(self, carry, inputs)",
}
NNX = {
    "NTMCell.__init__": (
        "(self, in_features, config, *, dtype=None, param_dtype=float32, rngs)"
    ),
    "NTMCell.from_params": "(params, config, *, dtype=None)",
    "NTMCell.initialize_carry": "(self, input_shape, rngs=None, carry_init=None)",
    "NTMCell.__call__": "(self, carry, inputs)",
}
# What Flax adds to every Linen module.
FLAX_OWN = ("parent", "name")
# Made by the library, not by its users.
RESULTS = ("NTMState", "SparseState", "Trace")
CELLS = [
    *((linen, name, wanted) for name, wanted in LINEN.items()),
    *((nnx, name, wanted) for name, wanted in NNX.items()),
]


def signature(function):
    """Names, kinds and defaults of the parameters, as they stand in the source."""
    parameters = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in FLAX_OWN:
            continue
        default = parameter.default
        if default is not parameter.empty and hasattr(default, "__name__"):
            default = Named(default.__name__)
        parameters.append(
            parameter.replace(annotation=parameter.empty, default=default)
        )
    return str(inspect.Signature(parameters))


class Named(str):
    __repr__ = str.__str__


def test_the_public_names_are_these_and_no_others():
    assert sorted(ntm_jax.__all__) == sorted(SIGNATURES)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_public_name_keeps_its_signature(name):
    assert_signature(getattr(ntm_jax, name), name, SIGNATURES[name])


@pytest.mark.parametrize(("module", "name", "wanted"), CELLS)
def test_a_cell_keeps_its_signature(module, name, wanted):
    assert_signature(operator.attrgetter(name)(module), name, wanted)


def assert_signature(function, name, wanted):
    found = signature(function)
    assert found == wanted, (
        f"{name}{found} was {name}{wanted}: callers of the old one break; a change is "
        "for the next version, the changelog and this test"
    )


@pytest.mark.parametrize("name", [name for name in SIGNATURES if name not in RESULTS])
def test_a_public_name_is_shown_by_an_example(name):
    shown = inspect.getdoc(getattr(ntm_jax, name)) or ""
    assert re.search(rf">>> .*\b{name}\(", shown)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_public_name_is_documented_with_every_argument(name):
    documented = inspect.getdoc(getattr(ntm_jax, name)) or ""
    for argument in inspect.signature(getattr(ntm_jax, name)).parameters:
        assert re.search(rf"^\s+{argument}: ", documented, re.MULTILINE)


def test_a_star_import_gives_the_public_names():
    namespace = {}
    exec("from ntm_jax import *", namespace)
    assert set(SIGNATURES) <= set(namespace)


def test_every_public_name_says_it_lives_in_the_library():
    for name in SIGNATURES:
        assert getattr(ntm_jax, name).__module__.startswith("ntm_jax.")


def test_the_version_is_a_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", ntm_jax.__version__)


def test_the_library_says_it_is_typed():
    assert importlib.resources.files("ntm_jax").joinpath("py.typed").is_file()
