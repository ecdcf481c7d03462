"""What probes of mini-batch noise share: batches that a point's key draws, one at a time."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from eosbench.curvature._arguments import as_integer
from eosbench.curvature._batches import examples, examples_to_draw_from
from eosbench.curvature._loss import Loss, as_scalar
from eosbench.curvature._point import Point
from eosbench.curvature._unit import binary_unit

T = TypeVar("T")


class DrawnBatches(eqx.Module):
    """A probe without a memory; each measurement draws its own batches, without replacement within each.

    Attributes:
        loss: (params, batch) -> mean loss over the examples of a batch, a scalar.
        data: a pytree of arrays with the n examples along the leading axis.
        size: examples in a batch, from 1 to n.
        batches: how many are drawn, at least 2; memory is that of one at a time.
    """

    loss: Callable[[PyTree[Array], PyTree[Array]], Float[Array, ""]]
    data: PyTree[Array]
    size: int
    batches: int = 16

    def __check_init__(self) -> None:
        own = type(self).__name__
        examples_to_draw_from(own, self.data, as_integer(f"size of {own}", self.size))
        as_integer(f"batches of {own}", self.batches, at_least=2)

    def init(self, point: Point) -> None:
        """No memory."""

    def over_batches(self, point: Point, measure: Callable[[Loss], T]) -> T:
        """What is measured of the loss on each batch, as a function of the parameters, stacked along a leading axis."""
        n = examples(type(self).__name__, self.data)

        def on_batch(key: PRNGKeyArray) -> T:
            drawn = jax.random.permutation(key, n)[: self.size]
            batch = jax.tree.map(lambda array: array[drawn], self.data)
            return measure(lambda params: as_scalar(self.loss(params, batch)))

        with jax.default_matmul_precision("highest"):  # as in `linearize`
            stacked: T = jax.lax.map(on_batch, jax.random.split(point.key, self.batches))
        return stacked


def mean_and_error(
    entries: Float[Array, " n"], counted: Array | None = None
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The mean over batches and its standard error, of all entries or of those that are counted."""
    counted = jnp.ones(entries.shape, bool) if counted is None else counted
    mean, unit = jnp.mean(entries, where=counted), binary_unit(entries)  # whose squares make the spread
    spread = unit * jnp.std(entries / unit, where=counted, ddof=1)
    return mean, spread / jnp.sqrt(counted.sum().astype(spread.dtype))
