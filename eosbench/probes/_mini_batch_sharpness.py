"""The sharpness of the loss on a mini-batch, in the mean."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float

from eosbench.curvature._loss import Loss
from eosbench.curvature._point import Point
from eosbench.curvature._sharpness import sharpness
from eosbench.probes._drawn_batches import DrawnBatches, mean_and_error


class MeanSharpness(NamedTuple):
    """What `MiniBatchSharpness` records, in units of sharpness, all of them scalars.

    Attributes:
        mean: E[l1(H_B)], the mean of the largest eigenvalue of the Hessian on a mini-batch B.
        error: its standard error, from the spread over the batches drawn.
        converged: whether each of the eigenvalues converged.
    """

    mean: Float[Array, ""]
    error: Float[Array, ""]
    converged: Bool[Array, ""]


class MiniBatchSharpness(DrawnBatches):
    """A probe without a memory that measures the mean sharpness of mini-batches, E[l1(H_B)].

    It is never below the sharpness of the loss over all data, nor below the `BatchSharpness`. Each batch costs a cold
    solve, a few dozen products on it, so measure it `Every` so many steps.

    Attributes:
        loss: (params, batch) -> mean loss over the examples of a batch, a scalar.
        data: a pytree of arrays with the n examples along the leading axis.
        size: examples in a batch, from 1 to n.
        batches: how many are drawn, at least 2.
    """

    def measure(self, point: Point, memory: None) -> tuple[MeanSharpness, None]:
        """The record at a point, from batches that its key draws."""

        def largest(loss: Loss) -> tuple[Float[Array, ""], Bool[Array, ""]]:
            spectrum = sharpness(loss, point.params, throw=False)
            return spectrum.values[0], spectrum.converged

        values, converged = self.over_batches(point, largest)
        mean, error = mean_and_error(values)
        return MeanSharpness(mean, error, converged.all()), None
