"""Trace and spectral density against a spectrum that is known."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from eosbench.curvature._density import spectral_density, trace


def rotated(eigenvalues, normal, x):
    """A quadratic whose Hessian is a diagonal matrix between two reflections."""
    y = x - 2 * normal * (normal @ x) / (normal @ normal)
    return 0.5 * jnp.sum(eigenvalues * y * y)


def test_trace_and_density_of_a_known_spectrum():
    eigenvalues = jnp.concatenate([jnp.linspace(-1.0, 1.0, 190), jnp.full(10, 8.0)])
    loss = Partial(rotated, eigenvalues, jnp.linspace(-1.0, 2.0, 200))
    estimate = trace(loss, jnp.zeros(200), jax.random.key(0), samples=200)
    assert abs(estimate.value - eigenvalues.sum()) < 4 * estimate.error
    assert 0 < estimate.error < 0.1 * eigenvalues.sum()

    density = spectral_density(loss, jnp.zeros(200), jax.random.key(1), steps=20, samples=50)
    np.testing.assert_allclose(density.weights.sum(1), 1.0, rtol=1e-10)
    np.testing.assert_allclose(density.moment(2), jnp.mean(eigenvalues**2), rtol=0.1)
    outliers = jnp.sum(jnp.where(density.nodes > 4, density.weights, 0), axis=1).mean()
    np.testing.assert_allclose(outliers, 0.05, atol=0.01)
    grid = jnp.linspace(-3.0, 10.0, 2001)
    np.testing.assert_allclose(jnp.trapezoid(density.smoothed(grid, 0.2), grid), 1.0, rtol=1e-6)
