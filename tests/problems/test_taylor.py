"""Taylor polynomials, against sympy-free closed forms."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench.problems import SelfStabilizingLoss, TaylorLoss


def wavy(x):
    return jnp.exp(x[0]) * jnp.sin(x[1])


def test_polynomial_of_a_product():
    a, b = 0.3, 0.2
    polynomial = TaylorLoss(wavy, jnp.zeros(2), 3)
    # e^a sin b up to third order: b + ab + a²b/2 - b³/6
    assert np.isclose(polynomial(jnp.array([a, b])), b + a * b + a**2 * b / 2 - b**3 / 6, rtol=1e-14)
    slope = jax.grad(polynomial)(jnp.array([a, b]))
    np.testing.assert_allclose(slope, [b + a * b, 1 + a + a**2 / 2 - b**2 / 2], rtol=1e-13)


def test_a_cubic_loss_is_its_own_polynomial():
    loss = SelfStabilizingLoss(0.5, 0.1, 2.0)
    point = jnp.array([0.7, -0.4])
    polynomial = TaylorLoss(loss, jnp.array([0.2, 0.1]), 3)
    assert np.isclose(polynomial(point), loss(point), rtol=1e-13)
    np.testing.assert_allclose(jax.hessian(loss)(jnp.array([0.0, 0.3]))[0, 0], 2 / 0.5 + np.sqrt(2) * 0.3, rtol=1e-14)
