"""Critical sharpness: 2 over the step at which a step along the gradient ceases to lower the loss."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from eosbench.curvature._arguments import as_integer, as_tolerance
from eosbench.curvature._point import Point


class Critical(NamedTuple):
    """What `CriticalSharpness` records, all of them scalars.

    Attributes:
        value: 2/eta_c in units of sharpness, where the loss after a step of eta_c is what it was.
        converged: whether eta_c was found to the tolerance.
        evaluations: losses that it took.
    """

    value: Float[Array, ""]
    converged: Bool[Array, ""]
    evaluations: Int[Array, ""]


class CriticalSharpness(eqx.Module):
    """A probe without a memory: 2/eta_c, with eta_c where L(x - eta g) rises above L(x) (arXiv 2601.16979).

    It takes a dozen losses and no product. **It is the curvature along the gradient, not the sharpness**: on a
    quadratic it is the Rayleigh quotient of the gradient, never above the sharpness and often far below. With eta times
    sharpness below 2 it falls as the gradient turns to flat directions, though the sharpness stays; and close to 2 it
    first climbs to the sharpness for hundreds of steps, and falls then. So a rise tells of progressive sharpening only
    where the gradient was aligned with the top eigenvector all along (`GradientAlignment`).

    Where the loss along the gradient crosses L(x) more than once, one of the crossings is found.

    Attributes:
        rtol: relative tolerance of the value, between 0 and 1.
        max_evaluations: most losses at a point.
    """

    rtol: float = eqx.field(default=1e-2, converter=lambda rtol: as_tolerance("rtol of CriticalSharpness", rtol))
    max_evaluations: int = eqx.field(
        default=60, converter=lambda n: as_integer("max_evaluations of CriticalSharpness", n)
    )

    def init(self, point: Point) -> Float[Array, ""]:
        """The step size from which the search starts: one, and at later points the one that was found before."""
        return jnp.ones((), point.gradient.dtype)

    def measure(self, point: Point, memory: Float[Array, ""]) -> tuple[Critical, Float[Array, ""]]:
        """The record at a point, and the step size that was found."""
        x, unravel = point.layout.ravel(point.params), point.layout.unravel
        direction = point.gradient if point.root is None else point.root * point.gradient
        downhill = jnp.isfinite(point.loss) & jnp.isfinite(direction).all() & (direction != 0).any()

        def rises(log_eta: Float[Array, ""]) -> Bool[Array, ""]:
            return ~(point.function(unravel(x - jnp.exp(log_eta) * direction)) <= point.loss)  # also where it is nan

        def unfinished(search: tuple) -> Bool[Array, ""]:
            low, high, _, evaluations = search
            return downhill & (evaluations < self.max_evaluations) & ~(high - low <= self.rtol)

        def halve(search: tuple) -> tuple:
            """One more loss: in the middle of low and high, or twice as far beyond the one of them that is known."""
            low, high, width, evaluations = search
            known = jnp.isfinite(low) & jnp.isfinite(high)
            first = jnp.isneginf(low) & jnp.isposinf(high)
            beyond = jnp.where(jnp.isfinite(low), low + width, high - width)
            here = jnp.where(known, (low + high) / 2, jnp.where(first, start, beyond))
            rose = rises(here)
            width = jnp.where(known | first, width, 2 * width)
            return jnp.where(rose, low, here), jnp.where(rose, here, high), width, evaluations + 1

        start = jnp.log(memory)
        nothing = (-jnp.full_like(start, jnp.inf), jnp.full_like(start, jnp.inf), jnp.full_like(start, 0.1), 0)
        low, high, _, evaluations = jax.lax.while_loop(unfinished, halve, nothing)
        converged = high - low <= self.rtol
        eta = jnp.exp((low + high) / 2)
        value = jnp.where(converged, 2 / eta, jnp.nan)
        return Critical(value, converged, jnp.asarray(evaluations)), jnp.where(converged, eta, memory)
