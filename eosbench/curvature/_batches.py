"""A loss over a data set, taken in micro-batches so that memory does not grow with the data."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec, get_abstract_mesh, reshard
from jaxtyping import Array, Float, PyTree

from eosbench.curvature._mesh import names, sharding_of


class MicroBatched(eqx.Module):
    """The mean loss over a data set, summed over chunks in one compiled loop.

    A ragged last chunk counts by its size, so the value, its gradient and its Hessian are those of the whole data set
    up to rounding, whatever the size of the chunks. Where the examples are split over axes of a mesh, each device takes
    the chunks of its own, at the same time as the others, and the sums are added once.

    Attributes:
        loss: (params, chunk) -> mean loss over the examples of a chunk, a scalar.
        data: a pytree of arrays with the n examples along the leading axis.
        size: examples in a chunk, on each device.
        remat: compute a chunk's intermediate values again for every Hessian-vector product instead of keeping those of
            all chunks; memory is then that of one chunk, and a product costs one gradient more.
    """

    loss: Callable[[PyTree[Array], PyTree[Array]], Float[Array, ""]]
    data: PyTree[Array]
    size: int = eqx.field(static=True)
    remat: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        examples("a MicroBatched loss", self.data)
        if self.size < 1:
            raise ValueError(f"size of a MicroBatched loss is {self.size}: it must be at least 1.")

    def __call__(self, params: PyTree[Array]) -> Float[Array, ""]:
        """The mean over all examples."""
        n = examples("a MicroBatched loss", self.data)
        axes = _axes_of_examples(self.data)
        if not axes:
            return self._part(params, self.data, n)

        def on_each(params: PyTree[Array], data: PyTree[Array]) -> Float[Array, ""]:
            return jax.lax.psum(self._part(params, data, n), axes)

        here, sharding = get_abstract_mesh(), sharding_of(jax.tree.leaves(self.data)[0])
        assert sharding is not None
        # A sum over devices is the same on all of them, which is not seen by the check. With it, the sums of gradients
        # would be taken in each chunk, for its type says that it differs from device to device.
        total: Array = jax.shard_map(
            on_each,
            mesh=sharding.mesh if here.empty else None,
            in_specs=(PartitionSpec(), PartitionSpec(axes)),
            out_specs=PartitionSpec(),
            axis_names=set(axes),
            check_vma=False,
        )(jax.tree.map(lambda leaf: _whole_over(axes, leaf), params), self.data)
        return total

    def _part(self, params: PyTree[Array], data: PyTree[Array], n: int) -> Float[Array, ""]:
        """What some of the examples contribute to the mean over all n."""
        here = examples("a MicroBatched loss", data)
        size = min(self.size, here)
        whole, rest = divmod(here, size)
        chunks = jax.tree.map(lambda x: x[: whole * size].reshape(whole, size, *x.shape[1:]), data)

        def add(total: Float[Array, ""], chunk: PyTree[Array]) -> tuple[Float[Array, ""], None]:
            return total + self.loss(params, chunk) * (size / n), None

        body = jax.checkpoint(add) if self.remat else add
        zero = jnp.zeros((), jax.tree.leaves(params)[0].dtype)
        total, _ = jax.lax.scan(body, zero, chunks)
        if rest:
            total = total + self.loss(params, jax.tree.map(lambda x: x[whole * size :], data)) * (rest / n)
        return total


def _axes_of_examples(data: PyTree[Array]) -> tuple[str, ...]:
    """The axes of a mesh over which the examples are split."""
    sharding = sharding_of(jax.tree.leaves(data)[0])
    return names(sharding.spec)[0] if sharding is not None and len(sharding.spec) else ()


def _whole_over(axes: tuple[str, ...], leaf: Array) -> Array:
    """An array that is not split over these axes, where its type says how it is split; else as it is."""
    sharding = sharding_of(leaf)
    if sharding is None or AxisType.Explicit not in sharding.mesh.axis_types:
        return leaf
    kept = [tuple(name for name in entry if name not in axes) or None for entry in names(sharding.spec)]
    return reshard(leaf, NamedSharding(sharding.mesh, PartitionSpec(*kept)))


def examples(what: str, data: PyTree[Array]) -> int:
    """How many examples there are along the leading axis of all arrays.

    Raises:
        TypeError: a leaf is no array.
        ValueError: the arrays do not agree, or there are none.
    """
    for leaf in jax.tree.leaves(data):
        if not hasattr(leaf, "shape"):
            raise TypeError(
                f"data of {what} holds a {type(leaf).__name__}: it must be a pytree of arrays, as of jnp.asarray."
            )
    lengths = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(data)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"data of {what} has leading axes {sorted(lengths)}: they must be one n > 0.")
    return lengths.pop()


def examples_to_draw_from(what: str, data: PyTree[Array], size: int) -> int:
    """How many examples there are, of which batches of a size are drawn.

    Raises:
        TypeError, ValueError: as `examples`; or they are fewer than `size`.
    """
    n = examples(what, data)
    if size > n:
        raise ValueError(f"size of {what} is {size}: it must be at most {n}, the examples in data.")
    return n
