"""How mini-batch gradients meet the curvature of the loss over all data."""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from eosbench.curvature._loss import Loss
from eosbench.curvature._point import Point
from eosbench.curvature._unit import binary_unit
from eosbench.probes._drawn_batches import DrawnBatches, mean_and_error


class Interaction(NamedTuple):
    """What `NoiseInteraction` records, in units of sharpness, all of them scalars.

    With g_B the gradient on a mini-batch B, and g and H gradient and Hessian of the loss over all data:

    Attributes:
        noise: E[g_BᵀHg_B] / |g|², the gradient-noise interaction. The loss falls to second order in a mean step while
            this is below 2/eta.
        error: its standard error, from the spread over the batches drawn.
        aware: E[g_BᵀHg_B] / E[|g_B|²], the interaction-aware sharpness, never above the sharpness.
    """

    noise: Float[Array, ""]
    error: Float[Array, ""]
    aware: Float[Array, ""]


class NoiseInteraction(DrawnBatches):
    """A probe without a memory for the gradient-noise interaction and the interaction-aware sharpness.

    Its point has to be one of the loss over all data, as it is in `train` but for `OnBatch`. Each batch costs a
    gradient on it and a product over all data.

    Attributes:
        loss: (params, batch) -> mean loss over the examples of a batch, a scalar.
        data: a pytree of arrays with the n examples along the leading axis.
        size: examples in a batch, from 1 to n.
        batches: how many are drawn, at least 2.
    """

    def measure(self, point: Point, memory: None) -> tuple[Interaction, None]:
        """The record at a point, from batches that its key draws."""
        x, unravel = point.layout.ravel(point.params), point.layout.unravel
        unit = binary_unit(point.gradient)

        def curvature(loss: Loss) -> tuple[Float[Array, ""], Float[Array, ""]]:
            """g_B·Hg_B/u² and |g_B|²/u², with u the unit of g."""
            g = jax.grad(lambda x: loss(unravel(x)))(x) / unit
            return g @ point.product(g), g @ g

        curvatures, squares = self.over_batches(point, curvature)
        whole = point.gradient / unit
        mean, error = mean_and_error(curvatures)
        return Interaction(mean / (whole @ whole), error / (whole @ whole), mean / squares.mean()), None
