"""How much of the gradient lies along the eigenvectors of the largest eigenvalues."""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from eosbench.curvature._point import Point
from eosbench.curvature._unit import binary_unit
from eosbench.probes._sharpness import Sharpness, Track


class Aligned(NamedTuple):
    """What `GradientAlignment` records.

    Attributes:
        track: the eigenvalues, as `Sharpness` records them.
        cosines: squared cosines of the gradient with their eigenvectors, shape (k,), in the same order; they add up to
            the share of |g|² in the span of the k vectors, which rotate among themselves where values are close.
    """

    track: Track
    cosines: Float[Array, " k"]


class GradientAlignment(eqx.Module):
    """A probe that measures the largest eigenvalues and how the gradient is aligned with each, at no further product.

    Attributes:
        sharpness: how the eigenvalues are found, and how many.
    """

    sharpness: Sharpness = eqx.field(default_factory=Sharpness)

    def init(self, point: Point) -> PyTree[Array]:
        """The memory of the eigenvalues."""
        return self.sharpness.init(point)

    def measure(self, point: Point, memory: Any) -> tuple[Aligned, Any]:
        """The record at a point, and the memory for the next one."""
        track, vectors, memory = self.sharpness.eigenpairs(point, memory)
        g = point.gradient / binary_unit(point.gradient)
        return Aligned(track, (vectors @ g) ** 2 / jnp.sum(g**2)), memory
