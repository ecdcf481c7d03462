"""The two kinds of axes of a mesh: a loss is taken in those that it was written for, a solver in automatic ones.

With explicit axes, how an array is split is a part of its type, and an inner product of vectors that are split must say
what it returns; with automatic axes the compiler knows.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
from jax.sharding import (
    AbstractMesh,
    AxisType,
    NamedSharding,
    PartitionSpec,
    get_abstract_mesh,
    reshard,
    use_abstract_mesh,
)
from jaxtyping import Array, PyTree


def on_the_mesh_of(*trees: PyTree[Array]) -> contextlib.AbstractContextManager:
    """The context of the mesh of explicit axes on which one of the arrays lies; none where there is none.

    Within it, arrays are made on this mesh: beside what depends on the data, a loop refuses others.
    """
    if not get_abstract_mesh().empty:
        return contextlib.nullcontext()
    meshes = [jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(trees) if eqx.is_array(leaf)]
    explicit = [mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types]
    return use_abstract_mesh(explicit[0]) if explicit else contextlib.nullcontext()


def with_automatic_axes(function: Callable, specs: Callable[[PyTree], PyTree[PartitionSpec]]) -> Callable:
    """The same function, for which all axes of the mesh of the context are automatic.

    Args:
        function: of trees, whose arrays it is given; it closes over none that lies on the mesh.
        specs: from what it returns to how each array of it is split.
    """

    def run(*args: PyTree) -> PyTree:
        mesh = get_abstract_mesh()
        if AxisType.Explicit not in mesh.axis_types:
            return function(*args)
        with use_abstract_mesh(mesh.update_axis_types(dict.fromkeys(mesh.axis_names, AxisType.Auto))):
            result = function(*_split(args, _whole(args)))
        return _split(result, specs(result))

    return run


def with_explicit_axes(function: Callable, mesh: AbstractMesh, specs: Sequence[PartitionSpec], *args: Array) -> list:
    """What a function of arrays that are split like this returns, called from where axes are automatic."""
    with use_abstract_mesh(mesh):
        result = function(*[reshard(array, spec) for array, spec in zip(args, specs, strict=True)])
    return _split(result, _whole(result))


def types_of(tree: PyTree) -> list[NamedSharding | None]:
    """How each leaf is split by its type, where axes are automatic elsewhere; None for one whose type does not say."""
    types = [jax.typeof(leaf).sharding if eqx.is_array(leaf) else None for leaf in jax.tree.leaves(tree)]
    if not is_automatic(get_abstract_mesh()):
        return [None] * len(types)
    return [type if type is not None and AxisType.Explicit in type.mesh.axis_types else None for type in types]


def without_types(tree: PyTree, types: Sequence[NamedSharding | None]) -> Any:
    """A tree whose arrays have the types of automatic axes, as a derivative of what is made of them asks for."""
    leaves, structure = jax.tree.flatten(tree)
    plain = [reshard(x, PartitionSpec()) if type else x for x, type in zip(leaves, types, strict=True)]
    return jax.tree.unflatten(structure, plain)


def with_types(tree: PyTree, types: Sequence[NamedSharding | None]) -> Any:
    """The tree that it was."""
    leaves, structure = jax.tree.flatten(tree)

    def typed(array: Array, type: NamedSharding) -> Array:
        with use_abstract_mesh(type.mesh.abstract_mesh):
            return reshard(array, type.spec)

    return jax.tree.unflatten(structure, [typed(x, type) if type else x for x, type in zip(leaves, types, strict=True)])


def is_automatic(mesh: AbstractMesh) -> bool:
    """Whether there is a mesh, and none of its axes is explicit."""
    return not mesh.empty and AxisType.Explicit not in mesh.axis_types


def sharding_of(array: Any) -> NamedSharding | None:
    """How an array is split over the devices of a mesh, if it lies on one and this can be known.

    Of an array that is traced, it is known on explicit axes. A mesh of one device counts where it is in the type.
    """
    traced = isinstance(array, jax.core.Tracer)
    sharding = jax.typeof(array).sharding if traced else getattr(array, "sharding", None)
    if not isinstance(sharding, NamedSharding):
        return None
    explicit = AxisType.Explicit in sharding.mesh.axis_types
    return sharding if explicit or (sharding.mesh.size > 1 and not traced) else None


def names(spec: PartitionSpec) -> list[tuple[str, ...]]:
    """For each dimension the axes of the mesh over which it is split."""
    return [() if entry is None else entry if isinstance(entry, tuple) else (entry,) for entry in spec]


def _split(tree: PyTree, specs: PyTree[PartitionSpec]) -> Any:
    return jax.tree.map(lambda leaf, spec: reshard(leaf, spec) if eqx.is_array(leaf) else leaf, tree, specs)


def _whole(tree: PyTree) -> PyTree[PartitionSpec]:
    return jax.tree.map(lambda leaf: PartitionSpec(), tree)
