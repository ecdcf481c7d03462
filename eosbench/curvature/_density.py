"""Trace and spectral density of a Hessian from random vectors, through matfree."""

from typing import NamedTuple

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from matfree import decomp, stochtrace

from eosbench.curvature._loss import Loss
from eosbench.curvature._point import linearize
from eosbench.curvature._program import compiled

_NO_DERIVATIVE = (
    "spectral_density has no derivative, for its Lanczos process has none where it is exhausted: hold its arguments "
    "fixed with jax.lax.stop_gradient, or differentiate `trace` or `sharpness`."
)


class Trace(NamedTuple):
    """Hutchinson's estimate of a trace.

    Attributes:
        value: mean over the samples, scalar.
        error: standard error of the mean, scalar.
    """

    value: Float[Array, ""]
    error: Float[Array, ""]


class Density(eqx.Module):
    """A spectral density as weighted nodes, one Gauss quadrature for each random vector.

    Attributes:
        nodes: Ritz values, shape (samples, steps).
        weights: they sum to one for each sample, shape (samples, steps).
    """

    nodes: Float[Array, "samples steps"]
    weights: Float[Array, "samples steps"]

    def moment(self, power: int) -> Float[Array, ""]:
        """The mean of eigenvalue^power; exact in the mean over random vectors for power < 2 steps."""
        return jnp.mean(jnp.sum(self.weights * self.nodes**power, axis=1))

    def smoothed(self, grid: Float[Array, " g"], width: float) -> Float[Array, " g"]:
        """The density on a grid, each node spread to a Gaussian of standard deviation `width`; it integrates to one."""
        z = (grid[:, None, None] - self.nodes[None]) / width
        bumps = jnp.exp(-(z**2) / 2) / (width * jnp.sqrt(2 * jnp.pi))
        return jnp.mean(jnp.sum(self.weights[None] * bumps, axis=2), axis=1)


@compiled
def trace(loss: Loss, params: PyTree[Array], key: PRNGKeyArray, samples: int = 32) -> Trace:
    """The trace of the Hessian from random signs (Hutchinson), with its standard error; `samples` products."""
    point = linearize(loss, params)
    sampler = stochtrace.sampler_signs(point.gradient, num=samples)
    estimate = stochtrace.estimator_monte_carlo_mean_and_sem(stochtrace.monte_carlo_trace(), sampler)
    return Trace(*estimate(point.product, key))


@compiled
def spectral_density(
    loss: Loss, params: PyTree[Array], key: PRNGKeyArray, steps: int = 32, samples: int = 4
) -> Density:
    """The spectral density of the Hessian by stochastic Lanczos quadrature; steps * samples products, steps <= p.

    Raises:
        RuntimeError: a derivative of it is asked for.
    """
    point = eqxi.nondifferentiable(linearize(loss, params), msg=_NO_DERIVATIVE)
    lanczos = decomp.tridiag_sym(steps)
    starts = point.layout.masked(stochtrace.sampler_sphere(point.gradient, num=samples)(key))

    def quadrature(start: Float[Array, " p"]) -> tuple[Array, Array]:
        _, tridiagonal, *_ = lanczos(point.product, start / jnp.linalg.norm(start))
        nodes, vectors = jnp.linalg.eigh(tridiagonal)
        return nodes, vectors[0] ** 2

    return Density(*jax.lax.map(quadrature, starts))
