"""The curvature along the step that led to a point: what the optimizer feels, beside what an eigenvalue says."""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from eosbench.curvature._point import Point
from eosbench.curvature._unit import binary_unit


class AlongStep(NamedTuple):
    """What `StepCurvature` records, in units of sharpness: three curvatures along the step d from x to x + d.

    Attributes:
        from_losses: 2 (L(x + d) - L(x) - g(x)·d) / |d|². Rounding of the losses makes it noise where steps are small.
        secant: (g(x + d) - g(x))·d / |d|², the mean curvature of the way; of a step of gradient descent,
            g(x)·(g(x) - g(x + d)) / (eta |g(x)|²).
        rayleigh: d·H(x + d) d / |d|², at the end of it.
    """

    from_losses: Float[Array, ""]
    secant: Float[Array, ""]
    rayleigh: Float[Array, ""]


class _Before(NamedTuple):
    params: Float[Array, " p"]
    loss: Float[Array, ""]
    gradient: Float[Array, " p"]


class StepCurvature(eqx.Module):
    """A probe that measures the curvature along the way from the measurement before: a step, unless under `Every`.

    At the edge of stability of gradient descent it is 2/eta within a percent where the sharpness stands some percent
    above. It costs one product; the first record of a run, which no step led to, is nan.
    """

    def init(self, point: Point) -> _Before:
        """The start of the first step."""
        return _Before(point.layout.ravel(point.params), point.loss, point.gradient)

    def measure(self, point: Point, memory: _Before) -> tuple[AlongStep, _Before]:
        """The record at the end of a step, and that end as the start of the next one."""
        here = self.init(point)
        step = here.params - memory.params
        unit = binary_unit(step)
        d = step / unit  # so that no square of a small step vanishes
        square = d @ d
        rise = (here.loss - memory.loss) / unit - memory.gradient @ d
        return AlongStep(
            from_losses=2 * rise / unit / square,
            secant=(here.gradient - memory.gradient) @ d / unit / square,
            rayleigh=jnp.where(square > 0, d @ point.product(d) / square, jnp.nan),
        ), here
