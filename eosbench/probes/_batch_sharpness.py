"""Batch sharpness: the curvature that mini-batch gradients see along themselves."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from eosbench.curvature._loss import Loss
from eosbench.curvature._point import Point
from eosbench.curvature._unit import binary_unit
from eosbench.probes._drawn_batches import DrawnBatches, mean_and_error


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


class BatchSharpness(DrawnBatches):
    """A probe without a memory that measures the batch sharpness E[gᵀHg / |g|²] at each point (arXiv 2412.20553).

    Each measurement draws its own batches, without replacement within each; memory is that of one batch at a time. Each
    batch costs a gradient and a product on it.

    Attributes:
        loss: (params, batch) -> mean loss over the examples of a batch, a scalar.
        data: a pytree of arrays with the n examples along the leading axis.
        size: examples in a batch, from 1 to n.
        batches: how many are drawn, at least 2.
    """

    def measure(self, point: Point, memory: None) -> tuple[BatchCurvature, None]:
        """The record at a point, from batches that its key draws."""
        x, unravel = point.layout.ravel(point.params), point.layout.unravel

        def curvature(loss: Loss) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
            """With g in a unit of its own, u: g·Hg/u², |g|²/u², and u."""
            gradient = jax.grad(lambda x: loss(unravel(x)))
            whole = gradient(x)
            unit = binary_unit(whole)
            g = whole / unit
            return g @ jax.jvp(gradient, (x,), (g,))[1], g @ g, unit

        curvatures, squares, units = self.over_batches(point, curvature)
        moving = squares != 0  # so that a gradient that is not finite counts
        quotient, error = mean_and_error(jnp.where(moving, curvatures / jnp.where(moving, squares, 1), 0), moving)
        # Relative to the largest unit, so that no square of a gradient overflows or vanishes.
        weights = jnp.where(moving, units / jnp.where(moving, units, 0).max(), 0) ** 2
        ratio = (weights * curvatures).sum() / (weights * squares).sum()
        return BatchCurvature(quotient, error, ratio), None
