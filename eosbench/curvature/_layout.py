"""How the parameters lie in flat vectors, on one device or in equal pieces on all devices of a mesh.

On one device, the entries are in the order of `jax.flatten_util.ravel_pytree`. On a mesh, each device holds a piece of
every flat vector, of the entries that it can have without moving what is split already: a leaf that is split over some
axes keeps its shards, and a shard is cut into pieces over the other axes, on which it is repeated. So the way from the
parameters to a flat vector sends nothing, and the way back gathers over the axes over which a leaf is not split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec, reshard
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, UInt32

from eosbench.curvature._mesh import names, sharding_of

PARTS = 16
"""In so many parts are the columns of rows changed in place."""


class _Leaf(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype
    spec: PartitionSpec


def _normal(key: PRNGKeyArray, counts: UInt32[Array, "*b size"], dtype: Any) -> Float[Array, "*b size"]:
    """The numbers that `jax.random.normal(key, ...)` has at these places of an array in row-major order.

    It hashes each place with the key, and so does `fold_in`, which is public and takes any place. A test compares the
    two, for JAX promises neither that they stay the same nor that they belong together.
    """
    high, low = jnp.moveaxis(jax.random.key_data(jnp.vectorize(partial(jax.random.fold_in, key))(counts)), -1, 0)
    if dtype == jnp.float64:
        bits = (high.astype(jnp.uint64) << 32 | low.astype(jnp.uint64)) >> 12
        unit = 2.0**-52
    else:
        bits, unit, dtype = (high ^ low) >> 9, 2.0**-23, jnp.float32
    above = np.nextafter(np.array(-1, dtype), np.array(0, dtype))  # an error function reaches -1 at infinity
    uniform = jnp.maximum(bits.astype(dtype) * np.array(2 * unit, dtype) + above, above)
    return jax.lax.erf_inv(uniform) * np.array(np.sqrt(2), dtype)


class _Group(NamedTuple):
    """Leaves whose shards are repeated over the same axes of the mesh: together they are cut into pieces over these."""

    axes: tuple[str, ...]
    leaves: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]  # of their shards
    copies: int  # how many devices have the same shards
    piece: int  # entries of a piece, padded

    @property
    def sizes(self) -> list[int]:
        """Entries of the shards."""
        return [prod(shape) for shape in self.shapes]


@dataclass(frozen=True)
class Layout:
    """The order of the entries in flat vectors, and how these are split over devices; equal for equal orders.

    Make it by `Layout.of`. Flat vectors have `size` entries, some of which are padding on a mesh, and are zero: there
    `size` is never p, so that what expects the order of `ravel_pytree` refuses such a vector.

    Attributes:
        tree: the structure of the parameters.
        leaves: shape and dtype of each leaf, and how it is split.
        mesh: over which everything is split; None for one device.
    """

    tree: Any
    leaves: tuple[_Leaf, ...]
    mesh: Mesh | AbstractMesh | None = None

    @classmethod
    def of(cls, params: PyTree[Array], *beside: PyTree[Array]) -> "Layout":
        """The layout for parameters as they are split; for whole ones beside data that are split, over their mesh.

        Args:
            params: where arrays are traced, only axes of an explicit mesh tell how they are split.
            beside: what else the loss depends on, such as data.
        """
        leaves = jax.tree.leaves(params)
        found = [sharding for leaf in jax.tree.leaves((params, beside)) if (sharding := sharding_of(leaf)) is not None]
        mesh = found[0].mesh if found else None
        return cls(
            jax.tree.structure(params),
            tuple(_Leaf(tuple(leaf.shape), np.dtype(leaf.dtype), _spec(leaf, mesh)) for leaf in leaves),
            mesh,
        )

    @classmethod
    def flat(cls, p: int, dtype: Any) -> "Layout":
        """That of one array of p entries, on one device."""
        return cls.of(jax.ShapeDtypeStruct((p,), dtype))

    @cached_property
    def p(self) -> int:
        """How many parameters there are."""
        return sum(prod(leaf.shape) for leaf in self.leaves)

    @cached_property
    def size(self) -> int:
        """Entries of a flat vector, the padding included."""
        return self._devices * sum(group.piece for group in self._groups)

    @property
    def split(self) -> bool:
        """Whether there is more than one device."""
        return self.mesh is not None

    @property
    def params(self) -> PyTree[PartitionSpec]:
        """How each leaf of the parameters is split."""
        return jax.tree.unflatten(self.tree, [leaf.spec for leaf in self.leaves])

    def arranged(self, params: PyTree[Array]) -> PyTree[Array]:
        """A tree like the parameters, split as they are."""
        return jax.tree.map(self._placed, params, self.params)

    def ravel(self, tree: PyTree[Array]) -> Float[Array, " size"]:
        """A tree like the parameters as a flat vector, in the widest of its dtypes."""
        leaves = jax.tree.leaves(tree)
        with jax.numpy_dtype_promotion("standard"):  # what the flag forbids by accident is meant here
            dtype = jnp.result_type(*leaves)
        specs = tuple(leaf.spec for leaf in self.leaves)
        leaves = [self._placed(jnp.asarray(leaf, dtype), spec) for leaf, spec in zip(leaves, specs, strict=True)]
        vector: Array = self._on_each(self._cut, specs, self._rows(1))(*leaves)
        return vector

    def unravel(self, vector: Float[Array, " size"]) -> PyTree[Array]:
        """A flat vector as a tree like the parameters, each leaf in its own dtype."""
        leaves = self._on_each(self._join, self._rows(1), [leaf.spec for leaf in self.leaves])(self.constrain(vector))
        return jax.tree.unflatten(self.tree, leaves)

    def constrain(self, rows: Float[Array, "*b size"]) -> Float[Array, "*b size"]:
        """The same, split over the devices."""
        return self._placed(rows, self._rows(rows.ndim))

    def random(self, key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any) -> Float[Array, "*b size"]:
        """The numbers of `jax.random.normal(key, (*shape, p), dtype)`, each drawn where it lies, on any mesh alike."""
        if not self.split:
            return jax.random.normal(key, (*shape, self.p), dtype)
        rows = jnp.arange(prod(shape), dtype=jnp.uint32).reshape(*shape, 1)
        places = self.order().astype(jnp.uint32).reshape(*[1] * len(shape), -1)
        counts = rows * np.uint32(self.p % 2**32) + places
        return self.masked(self.constrain(_normal(key, counts, dtype).astype(dtype)))

    def masked(self, rows: Float[Array, "*b size"]) -> Float[Array, "*b size"]:
        """The same, with zeros for padding."""
        return jnp.where(self._live(), rows, 0) if self.split else rows

    def units(self, dtype: Any) -> Float[Array, "p size"]:
        """The unit vectors, in the order of `ravel_pytree`."""
        if not self.split:
            return jnp.eye(self.p, dtype=dtype)
        return self.constrain((self.order()[None] == jnp.arange(self.p)[:, None]).astype(dtype))

    def order(self) -> Int[Array, " size"]:
        """For each entry of a flat vector its place in the order of `ravel_pytree`, and -1 for padding."""
        ends = np.cumsum([prod(leaf.shape) for leaf in self.leaves])
        counts = zip(self.leaves, ends, strict=True)
        numbers = [jnp.arange(end - prod(leaf.shape) + 1, end + 1).reshape(leaf.shape) for leaf, end in counts]
        return self.ravel(jax.tree.unflatten(self.tree, numbers)) - 1

    def orthonormal(self, rows: Float[Array, "b size"]) -> Float[Array, "b size"]:
        """A basis of the span of a few rows that are not far from orthonormal."""
        if not self.split:
            return jnp.linalg.qr(rows.T)[0].T
        # A QR decomposition would gather the rows. Once, the triangle of their small Gram matrix leaves the square of
        # its condition in units of rounding; the second time there is nothing left to see.
        for _ in range(2):
            triangle = jnp.linalg.cholesky(rows @ rows.T)
            eye = jnp.eye(len(rows), dtype=rows.dtype)
            rows = self.constrain(jax.scipy.linalg.solve_triangular(triangle, eye, lower=True) @ rows)
        return rows

    def inner(self, rows: Float[Array, "n size"], others: Float[Array, "b size"]) -> Float[Array, "n b"]:
        """The inner products of a few rows with others."""
        if self.split:  # one message for all
            return rows @ others.T
        return jax.lax.map(lambda row: others @ row, rows)  # a product of the matrices copies one of them transposed

    def by_columns(
        self, function: Callable[..., tuple[Array, ...]], small: PyTree[Array], *rows: Float[Array, "b size"]
    ) -> tuple[Float[Array, "b size"], ...]:
        """What a function makes of the columns of some rows, in their place: a part of the columns at a time.

        So no more than a part is held twice.

        Args:
            function: takes `small` and a part of the columns of each of the rows, and returns what they become.
            small: arrays that are whole on each device.
            rows: each of which is to be changed.
        """

        def on_each(small: PyTree[Array], *rows: Array) -> tuple[Array, ...]:
            columns = rows[0].shape[1]
            width = -(-columns // PARTS)

            def change(i: Int[Array, ""], rows: tuple[Array, ...]) -> tuple[Array, ...]:
                start = jnp.minimum(i * width, columns - width)
                parts = [jax.lax.dynamic_slice_in_dim(row, start, width, axis=1) for row in rows]
                pending = start + jnp.arange(width) >= i * width  # the last parts overlap those before
                changed = [jnp.where(pending, *pair) for pair in zip(function(small, *parts), parts, strict=True)]
                pairs = zip(rows, changed, strict=True)
                return tuple(jax.lax.dynamic_update_slice_in_dim(row, part, start, axis=1) for row, part in pairs)

            changed: tuple[Array, ...] = jax.lax.fori_loop(0, PARTS, change, rows)
            return changed

        specs = tuple(self._rows(2) for _ in rows)
        changed: tuple[Array, ...] = self._on_each(on_each, (PartitionSpec(), *specs), specs)(small, *rows)
        return changed

    def specs(self, tree: PyTree) -> PyTree[PartitionSpec]:
        """How the arrays of a solver are split: flat rows over all devices, and nothing else."""

        def spec(leaf: Any) -> PartitionSpec:
            shape = jnp.shape(leaf)
            return self._rows(len(shape)) if shape and shape[-1] == self.size else PartitionSpec()

        return jax.tree.map(spec, tree)

    @property
    def _axes(self) -> tuple[str, ...]:
        return () if self.mesh is None else self.mesh.axis_names

    @property
    def _devices(self) -> int:
        return 1 if self.mesh is None else self.mesh.size

    @property
    def _context(self) -> Mesh | AbstractMesh:
        """The mesh, with axes of the kinds that they have here."""
        here = jax.sharding.get_abstract_mesh()
        assert self.mesh is not None
        return self.mesh if here.empty else here

    @cached_property
    def _groups(self) -> list[_Group]:
        together: dict[tuple[str, ...], list[int]] = {}
        for i, leaf in enumerate(self.leaves):
            over = {name for entry in names(leaf.spec) for name in entry}
            together.setdefault(tuple(name for name in self._axes if name not in over), []).append(i)
        groups = []
        for axes, members in together.items():
            shapes = tuple(self._shard(self.leaves[i]) for i in members)
            copies = prod(self._length(name) for name in axes)
            groups.append(_Group(axes, tuple(members), shapes, copies, -(-sum(map(prod, shapes)) // copies)))
        if self.split and self._devices * sum(group.piece for group in groups) == self.p:
            groups[-1] = groups[-1]._replace(piece=groups[-1].piece + 1)
        return groups

    def _length(self, name: str) -> int:
        assert self.mesh is not None
        return self.mesh.shape[name]

    def _shard(self, leaf: _Leaf) -> tuple[int, ...]:
        over = [*names(leaf.spec), *[()] * len(leaf.shape)]
        return tuple(n // prod(map(self._length, entry)) for n, entry in zip(leaf.shape, over, strict=False))

    def _rows(self, ndim: int) -> PartitionSpec:
        return PartitionSpec(*[None] * (ndim - 1), self._axes)

    def _placed(self, array: Array, spec: PartitionSpec) -> Array:
        if self.mesh is None:
            return array
        sharding = NamedSharding(self._context, spec)
        if AxisType.Explicit in sharding.mesh.axis_types:
            return reshard(array, sharding)
        return jax.lax.with_sharding_constraint(array, sharding)

    def _on_each(self, function: Callable, in_specs: Any, out_specs: Any) -> Callable:
        if self.mesh is None:
            return function
        here = jax.sharding.get_abstract_mesh()
        # What is gathered over an axis is the same along it, which is not seen by the check.
        mapped: Callable = jax.shard_map(
            function, mesh=self.mesh if here.empty else None, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )
        return mapped

    def _cut(self, *shards: Array) -> Float[Array, " piece"]:
        pieces = []
        for group in self._groups:
            flat = jnp.concatenate([jnp.ravel(shards[i]) for i in group.leaves])
            padding = group.copies * group.piece - flat.size
            flat = jnp.pad(flat, (0, padding)) if padding else flat
            if group.copies > 1:
                start = jax.lax.axis_index(group.axes) * group.piece
                flat = jax.lax.dynamic_slice(flat, (start,), (group.piece,))
            pieces.append(flat)
        return jnp.concatenate(pieces) if len(pieces) > 1 else pieces[0]

    def _join(self, piece: Float[Array, " piece"]) -> list[Array]:
        shards: dict[int, Array] = {}
        for group, part in zip(self._groups, _parts(piece, [group.piece for group in self._groups]), strict=True):
            whole = jax.lax.all_gather(part, group.axes, tiled=True) if group.copies > 1 else part
            for i, shape, flat in zip(group.leaves, group.shapes, _parts(whole, group.sizes), strict=False):
                shards[i] = jax.lax.convert_element_type(flat.reshape(shape), self.leaves[i].dtype)
        return [shards[i] for i in range(len(self.leaves))]

    def _live(self) -> Bool[Array, " size"]:
        ones = [jnp.ones(leaf.shape, bool) for leaf in self.leaves]
        return self.ravel(jax.tree.unflatten(self.tree, ones))


def _parts(vector: Float[Array, " n"], sizes: list[int]) -> list[Array]:
    """A vector in parts of these sizes; what is left comes last."""
    return jnp.split(vector, np.cumsum(sizes)) if vector.size > sum(sizes) else jnp.split(vector, np.cumsum(sizes)[:-1])


def _spec(array: Any, mesh: Mesh | AbstractMesh | None) -> PartitionSpec:
    sharding = sharding_of(array)
    return PartitionSpec() if mesh is None or sharding is None else sharding.spec
