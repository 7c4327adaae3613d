"""`jax.export` of functions whose arguments or results are the library's pytrees."""

from typing import TypeVar

from jax import export

ClassT = TypeVar("ClassT")


def exportable(pytree: type[ClassT]) -> type[ClassT]:
    """Class decorator for a pytree that `jax.export` can serialize, all of it arrays.

    An exported function may be read by a later version, so a class keeps its name and
    the order of its fields.
    """
    name = f"ntm_jax.{pytree.__name__}"
    if issubclass(pytree, tuple):
        return export.register_namedtuple_serialization(pytree, serialized_name=name)
    return export.register_pytree_node_serialization(
        pytree,
        serialized_name=name,
        serialize_auxdata=lambda aux_data: b"",
        deserialize_auxdata=lambda serialized_aux_data: (),
        from_children=lambda aux_data, children: pytree(*children),
    )
