"""A loss over a data set, taken in micro-batches so that memory does not grow with the data."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


class MicroBatched(eqx.Module):
    """The mean loss over a data set, summed over chunks in one compiled loop.

    A ragged last chunk counts by its size, so the value, its gradient and its Hessian are those of the whole data set
    up to rounding, whatever the size of the chunks.

    Attributes:
        loss: (params, chunk) -> mean loss over the examples of a chunk, a scalar.
        data: a pytree of arrays with the n examples along the leading axis.
        size: examples in a chunk.
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
        size = min(self.size, n)
        whole, rest = divmod(n, size)
        chunks = jax.tree.map(lambda x: x[: whole * size].reshape(whole, size, *x.shape[1:]), self.data)

        def add(total: Float[Array, ""], chunk: PyTree[Array]) -> tuple[Float[Array, ""], None]:
            return total + self.loss(params, chunk) * (size / n), None

        body = jax.checkpoint(add) if self.remat else add
        zero = jnp.zeros((), jax.tree.leaves(params)[0].dtype)
        total, _ = jax.lax.scan(body, zero, chunks)
        if rest:
            total = total + self.loss(params, jax.tree.map(lambda x: x[whole * size :], self.data)) * (rest / n)
        return total


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
