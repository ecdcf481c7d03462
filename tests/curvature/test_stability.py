"""Stableness and Floquet multipliers against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench.curvature import floquet_multipliers, stableness


def test_stableness_of_a_cubic_is_at_an_end_of_the_step():
    # L = x^3/6: L'' = x falls along the step from x = 2, so the supremum is at its start.
    np.testing.assert_allclose(stableness(lambda x: jnp.sum(x**3) / 6, jnp.asarray([2.0]), 0.1), 0.2, rtol=1e-12)


def test_stableness_finds_a_peak_that_an_even_grid_misses():
    # sqrt(z^2 + w^2) along a step across z = 0: the second derivative peaks at 1/w there, with a width of w.
    w, start, eta = 1e-5, jnp.asarray([0.3]), 1.0
    found = stableness(lambda z: jnp.sum(jnp.sqrt(z**2 + w**2)), start, eta)
    np.testing.assert_allclose(found, 1 / w, rtol=1e-2)
    assert stableness(lambda z: jnp.sum(jnp.sqrt(z**2 + w**2)), start, eta, zooms=0) < 0.01 / w


def test_multipliers_of_the_two_cycle_of_a_quartic():
    # Gradient descent on (x^2 - 1)^2/4: the cycle is +-sqrt(1 - 2/eta) only for eta > 2; use x <-> y with xy = 1/eta.
    eta = 1.1
    s = np.sqrt((1 + 1 / eta) + np.sqrt((1 + 1 / eta) ** 2 - 4 / eta**2)) / np.sqrt(2)

    def step(x):
        return x - eta * jax.grad(lambda x: jnp.sum((x**2 - 1) ** 2) / 4)(x)

    x = jnp.asarray([s])
    for _ in range(2000):
        x = step(x)
    y = step(x)
    np.testing.assert_allclose(step(y), x, atol=1e-12)
    expected = (1 - eta * (3 * x**2 - 1)) * (1 - eta * (3 * y**2 - 1))
    np.testing.assert_allclose(floquet_multipliers(step, x), expected, rtol=1e-8)


def test_multipliers_of_a_large_map_agree_with_its_spectrum():
    diagonal = jnp.linspace(-0.9, 0.5, 400).at[0].set(-1.2)
    found = floquet_multipliers(lambda x: diagonal * x, jnp.zeros(400), k=2)
    np.testing.assert_allclose(found, [1.44, diagonal[1] ** 2], rtol=1e-6)
