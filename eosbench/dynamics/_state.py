"""Where a run stands: everything that its rest depends on, in memory and in a file."""

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

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

    A file that is there is replaced when the new one is whole, so a run that is killed leaves one of the two.

    Raises:
        TypeError: `state` is something else.
    """
    if not isinstance(state, TrainState):
        raise TypeError(f"state is a {type(state).__name__}: it must be a TrainState, such as run.state.")
    leaves = jax.tree.leaves(state)
    arrays = {name: np.asarray(_data(leaf)) for name, leaf in zip(shapes(state), leaves, strict=True)}
    unfinished = f"{path}.unfinished"
    with open(unfinished, "wb") as file:
        np.savez(file, allow_pickle=False, shapes=np.asarray(json.dumps(shapes(state))), **arrays)
    os.replace(unfinished, path)


def read_state(path: str | Path, like: TrainState) -> TrainState:
    """Read a state that `save_state` wrote, of a run whose states are `like` this.

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
    _check_shapes(f"path is {str(path)!r}, a state that", held, shapes(like))
    leaves = [_as(shape, arrays[name]) for name, shape in zip(shapes(like), jax.tree.leaves(like), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


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


def _data(leaf: Array) -> Array:
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _as(shape: jax.ShapeDtypeStruct, array: np.ndarray) -> Array:
    if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(jnp.empty((), shape.dtype)))
    return jnp.asarray(array.view(shape.dtype))  # NumPy reads a bfloat16 as two bytes without a meaning
