"""What a run recorded, as columns over its steps: a CSV file, and an xarray data set."""

import csv
import typing
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey, GetAttrKey, SequenceKey
from jaxtyping import Array, PyTree

if TYPE_CHECKING:
    import xarray


class History(NamedTuple):
    """One quantity along a run.

    Attributes:
        name: what it is called: that of its probe, and of its place in the record, as in `sharpness.values`.
        step: the steps at which it was measured, shape (m,).
        values: the measurements, shape (m, ...).
        dims: names of the axes of a measurement, those that its record is annotated with, such as k.
    """

    name: str
    step: np.ndarray
    values: np.ndarray
    dims: tuple[str, ...]


def histories(
    step: Array, own: Mapping[str, Array], probes: Mapping[str, PyTree[Array]], measured: Mapping[str, Array]
) -> list[History]:
    """All quantities of a run: `own`, one for each of its steps, and what the leaves of each probe's record hold.

    Raises:
        ValueError: the run is traced, or of several runs at once.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((step, own, probes))) or step.ndim != 1:
        raise ValueError("run has no numbers to write: take one run, outside of what jax.jit, jax.vmap or jax.grad do.")
    found = [History(name, np.asarray(step), np.asarray(values), ()) for name, values in own.items()]
    for name, record in probes.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(record):
            values = np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)
            parts = [_part(key) for key in path]
            dims = _dims(record, path)
            if len(dims) != values.ndim - 1 or not all(dim.isidentifier() for dim in dims):
                dims = [f"{'_'.join([name, *parts])}_{i}" for i in range(1, values.ndim)]
            found.append(History(".".join([name, *parts]), np.asarray(measured[name]), values, tuple(dims)))
    return found


def _dims(record: PyTree[Array], path: Sequence[Any]) -> list[str]:
    """The axes of a leaf as the class that holds it annotates them, none where it does not."""
    if not path or not isinstance(path[-1], GetAttrKey):
        return []
    holder = record
    for key in path[:-1]:
        match key:
            case GetAttrKey():
                holder = getattr(holder, key.name)
            case SequenceKey():
                holder = holder[key.idx]
            case DictKey():
                holder = holder[key.key]
            case _:  # of a class that is a pytree by its own rules
                return []
    try:
        hint = typing.get_type_hints(type(holder)).get(path[-1].name)
    except NameError:  # of a class whose annotations name what is imported for type checkers alone
        return []
    return str(getattr(hint, "dim_str", "")).split()


def _part(key: Any) -> str:
    match key:
        case GetAttrKey():
            return key.name
        case DictKey():
            return str(key.key)
        case SequenceKey():
            return str(key.idx)
    return str(key.key)


def write_csv(path: str | Path, step: Array, columns: list[History]) -> None:
    """A row for each step and a column for each number, empty where it was not measured.

    Numbers have the digits that give back the same number of their dtype.
    """
    rows = {int(number): [str(int(number))] for number in np.asarray(step)}
    header = ["step"]
    for name, at, values, _ in columns:
        entries = list(np.ndindex(values.shape[1:]))
        header += [name + "".join(f"[{i}]" for i in entry) for entry in entries]
        measured = dict(zip(at.tolist(), values.reshape(len(values), -1), strict=True))
        for number, row in rows.items():
            row += map(str, measured[number]) if number in measured else [""] * len(entries)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows.values()])


def dataset(step: Array, columns: list[History]) -> "xarray.Dataset":
    """Each quantity over its steps, `step` where it was measured at each of them.

    Raises:
        ModuleNotFoundError: xarray is not installed.
    """
    if find_spec("xarray") is None:
        raise ModuleNotFoundError('to_xarray needs xarray, not installed here; pip install "eosbench[notebook]"')
    import xarray

    sizes: dict[str, set[int]] = {}
    for column in columns:
        for dim, size in zip(column.dims, column.values.shape[1:], strict=True):
            sizes.setdefault(dim, set()).add(size)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    coordinates = {"step": np.asarray(step)}
    for name, at, values, dims in columns:
        probe = name.partition(".")[0]
        along = "step" if np.array_equal(at, coordinates["step"]) else f"{probe}_step"
        coordinates[along] = at
        # Two probes may both have a k, of different sizes.
        own = tuple(dim if len(sizes[dim]) == 1 else f"{probe}_{dim}" for dim in dims)
        variables[name.replace(".", "_")] = ((along, *own), values)
    return xarray.Dataset(variables, coordinates)
