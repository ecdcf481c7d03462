"""Batch sharpness: the curvature that mini-batch gradients see along themselves."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from eosbench.curvature._arguments import as_integer
from eosbench.curvature._batches import examples
from eosbench.curvature._loss import as_scalar, raveled
from eosbench.curvature._point import Point
from eosbench.curvature._unit import binary_unit


class BatchCurvature(NamedTuple):
    """What `BatchSharpness` records: two means over mini-batches B, in units of sharpness, all of them scalars.

    With g and H the gradient and Hessian of the loss on B, the literature has both, sometimes under one name.

    Attributes:
        quotient: E[gᵀHg / |g|²], the mean of the quotients; batches of zero gradient are left out.
        error: its standard error, from the spread over the batches drawn.
        ratio: E[gᵀHg] / E[|g|²], the quotient of the means.
    """

    quotient: Float[Array, ""]
    error: Float[Array, ""]
    ratio: Float[Array, ""]


class BatchSharpness(eqx.Module):
    """A probe without a memory that measures the batch sharpness E[gᵀHg / |g|²] at each point (arXiv 2412.20553).

    Each measurement draws its own batches, without replacement within each; memory is that of one batch at a time.

    Attributes:
        loss: (params, batch) -> mean loss over the examples of a batch, a scalar.
        data: a pytree of arrays with the n examples along the leading axis.
        size: examples in a batch, from 1 to n.
        batches: how many are drawn, at least 2; each costs one product on a batch.
    """

    loss: Callable[[PyTree[Array], PyTree[Array]], Float[Array, ""]]
    data: PyTree[Array]
    size: int = eqx.field(converter=lambda size: as_integer("size of BatchSharpness", size))
    batches: int = eqx.field(default=16, converter=lambda n: as_integer("batches of BatchSharpness", n, at_least=2))

    def __check_init__(self) -> None:
        n = examples("BatchSharpness", self.data)
        if self.size > n:
            raise ValueError(f"size of BatchSharpness is {self.size}: it must be at most {n}, the examples in data.")

    def init(self, point: Point) -> None:
        """No memory."""

    def measure(self, point: Point, memory: None) -> tuple[BatchCurvature, None]:
        """The record at a point, from batches that its key draws."""
        n = examples("BatchSharpness", self.data)
        x, unravel = raveled(point.params)

        def curvature(key: PRNGKeyArray) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
            """With g in a unit of its own, u: g·Hg/u², |g|²/u², and u."""
            drawn = jax.random.permutation(key, n)[: self.size]
            batch = jax.tree.map(lambda array: array[drawn], self.data)
            gradient = jax.grad(lambda x: as_scalar(self.loss(unravel(x), batch)))
            whole = gradient(x)
            unit = binary_unit(whole)
            g = whole / unit
            return g @ jax.jvp(gradient, (x,), (g,))[1], g @ g, unit

        with jax.default_matmul_precision("highest"):  # as in `linearize`
            curvatures, squares, units = jax.lax.map(curvature, jax.random.split(point.key, self.batches))
        moving = squares != 0  # so that a gradient that is not finite counts
        quotients = jnp.where(moving, curvatures / jnp.where(moving, squares, 1), 0)
        mean, unit = jnp.mean(quotients, where=moving), binary_unit(quotients)  # whose squares make the spread
        spread = unit * jnp.std(quotients / unit, where=moving, ddof=1)
        error = spread / jnp.sqrt(moving.sum().astype(spread.dtype))
        # Relative to the largest unit, so that no square of a gradient overflows or vanishes.
        weights = jnp.where(moving, units / jnp.where(moving, units, 0).max(), 0) ** 2
        ratio = (weights * curvatures).sum() / (weights * squares).sum()
        return BatchCurvature(mean, error, ratio), None
