"""Where a run stands: everything that its rest depends on, in memory and in a file."""

import json
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree

from eosbench.curvature._layout import Layout
from eosbench.dynamics._shapes import difference, shapes

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError)
"""What NumPy raises for a file that is not the archive it was, or is none."""


class TrainState(eqx.Module):
    """Everything that the rest of a run depends on: give it to `train` in place of params to continue exactly.

    Attributes:
        params: as they stand.
        optimizer: the state of the optimizer.
        probes: the memory of each probe, the tracked vectors and their random keys among it.
        step: how many steps were taken, scalar.
        order: in which the epoch takes its examples, of a run on `Batches` without replacement; else None.
    """

    params: PyTree[Array]
    optimizer: PyTree[Array]
    probes: dict[str, Any]
    step: Int[Array, ""]
    order: Int[Array, " n"] | None = None


def as_expected(state: TrainState, like: TrainState) -> TrainState:
    """A state, if it is one of a run whose states are `like` this.

    Raises:
        ValueError: it is that of another run.
    """
    _check_shapes("params is a state that", shapes(state), shapes(like))
    held = dict(jax.tree_util.tree_leaves_with_path(state))
    return jax.tree_util.tree_map_with_path(lambda path, _: held[path], like)


def save_state(path: str | Path, state: TrainState) -> None:
    """Write the state of a run to a file, for `load_state`: a NumPy archive with an array for each entry.

    A file that is there is replaced when the new one is whole, so a run that is killed leaves one of the two. What was
    in pieces over the devices of a mesh is written whole, and may be continued on another number of them. Where it lies
    on devices of several processes, all of them call this, and process 0 writes.

    Raises:
        TypeError: `state` is something else.
    """
    if not isinstance(state, TrainState):
        raise TypeError(f"state is a {type(state).__name__}: it must be a TrainState, such as run.state.")
    writes = all(leaf.is_fully_addressable for leaf in jax.tree.leaves(state)) or jax.process_index() == 0
    state = _whole(state)
    leaves = jax.tree.leaves(state)
    arrays = {name: _on_host(_data(leaf)) for name, leaf in zip(shapes(state), leaves, strict=True)}
    if not writes:
        return
    unfinished = f"{path}.unfinished"
    with open(unfinished, "wb") as file:
        np.savez(file, allow_pickle=False, shapes=np.asarray(json.dumps(shapes(state))), **arrays)
    os.replace(unfinished, path)


def read_state(path: str | Path, like: TrainState, layout: Layout) -> TrainState:
    """Read a state that `save_state` wrote, of a run whose states are `like` this, with flat vectors in this layout.

    Raises:
        FileNotFoundError, ValueError: see `load_state`.
    """
    try:
        with open(path, "rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            arrays = dict(archive)
        held = json.loads(str(arrays["shapes"]))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"path is {str(path)!r}, where no file is: give the one that save_state wrote."
        ) from None
    except _DAMAGED as error:
        raise ValueError(
            f"path is {str(path)!r}, which is damaged or was not written by save_state ({error}): give another one."
        ) from None
    whole = _with_memories(like, layout, lambda rows: jax.ShapeDtypeStruct((*rows.shape[:-1], layout.p), rows.dtype))
    _check_shapes(f"path is {str(path)!r}, a state that", held, shapes(whole))
    leaves = [_as(shape, arrays[name]) for name, shape in zip(shapes(whole), jax.tree.leaves(whole), strict=True)]
    state: TrainState = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return _in_pieces(state, like, layout) if layout.split else state


def _whole(state: TrainState) -> TrainState:
    """A state whose memories have flat vectors in the order of `ravel_pytree`."""
    layout = Layout.of(state.params, state.probes)
    if not layout.split:
        return state
    order = _on_host(layout.order())

    def whole(rows: Array) -> np.ndarray:
        found = np.zeros((*rows.shape[:-1], layout.p), rows.dtype)
        found[..., order[order >= 0]] = _on_host(rows)[..., order >= 0]
        return found

    return _with_memories(state, layout, whole)


def _in_pieces(state: TrainState, like: TrainState, layout: Layout) -> TrainState:
    """The other way round, and all on the mesh of the layout."""
    order, mesh = _on_host(layout.order()), layout.mesh
    assert mesh is not None

    def in_pieces(rows: Array) -> Array:
        return jnp.asarray(np.where(order >= 0, np.asarray(rows)[..., order], 0))

    def placed(leaf: Array, like: jax.ShapeDtypeStruct, spec: PartitionSpec) -> Array:
        known = like.sharding.spec if isinstance(like.sharding, NamedSharding) else spec
        return jax.device_put(leaf, NamedSharding(mesh, known))

    state = _with_memories(state, layout, in_pieces, layout.p)
    specs = eqx.tree_at(lambda s: s.params, layout.specs(state), layout.params)
    return jax.tree.map(placed, state, like, specs)


def _with_memories(state: TrainState, layout: Layout, change: Callable, size: int | None = None) -> TrainState:
    """A state with all flat vectors in the memories of its probes changed; they have so many entries."""
    size = layout.size if size is None else size
    if not layout.split:
        return state
    memories = jax.tree.map(lambda leaf: change(leaf) if leaf.shape[-1:] == (size,) else leaf, state.probes)
    return eqx.tree_at(lambda s: s.probes, state, memories)


def _check_shapes(what: str, held: dict[str, str], needed: dict[str, str]) -> None:
    # Other params make another state of optimizer and probes.
    for part in (".params", ".optimizer", ".probes", ".order"):
        has, needs = difference(_under(part, held), _under(part, needed))
        if not has and not needs:
            continue
        given = "the loss, optimizer, probes and batches given"
        if not needs:
            sentence = f"holds {has}, which {given} have not"
        elif not has:
            sentence = f"lacks {needs}, which {given} have"
        else:
            sentence = f"holds {has}, but {given} go with {needs}"
        raise ValueError(
            f"{what} {sentence}: continue with those that it was made with, or start anew from its params."
        )


def _under(part: str, entries: dict[str, str]) -> dict[str, str]:
    return {path: words for path, words in entries.items() if path.startswith(part)}


def _on_host(array: Array | np.ndarray) -> np.ndarray:
    """All of an array, also where some of it lies on devices of other processes, which then ask for it as well."""
    if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
        return np.asarray(process_allgather(array, tiled=True))
    return np.asarray(array)


def _data(leaf: Array) -> Array:
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _as(shape: jax.ShapeDtypeStruct, array: np.ndarray) -> Array:
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(jnp.empty((), shape.dtype)))
    return jnp.asarray(array.view(shape.dtype))  # NumPy reads a bfloat16 as two bytes without a meaning
