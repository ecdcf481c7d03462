import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from eosbench.dynamics._alignment import projection_excess
from eosbench.dynamics._flows import path_integral
from eosbench.problems import Quadratic, valley


def bowl(x):
    return 1.5 * jnp.sum(x**2)


def test_integrals_along_a_straight_path():
    # From 2 to 0: the length is 2, and 2 √L = 2 sqrt(1.5) 2 e^(-3t).
    assert path_integral(bowl, [2.0], lambda x: jnp.linalg.norm(jax.grad(bowl)(x))) == pytest.approx(2, abs=1e-7)
    assert path_integral(bowl, [2.0], lambda x: 2 * jnp.sqrt(bowl(x))) == pytest.approx(4 * np.sqrt(1.5) / 3, abs=1e-7)


def test_the_length_of_a_curved_path():
    def field(_, state):
        y, z, _ = state
        velocity = np.array([-y * z**2, -(1 + y**2) * z])
        return [*velocity, np.hypot(*velocity)]

    length = solve_ivp(field, (0, 40), [1.5, 0.7, 0], rtol=1e-11, atol=1e-13).y[2, -1]
    measured = path_integral(valley, [1.5, 0.7], lambda x: jnp.linalg.norm(jax.grad(valley)(x)))
    assert measured == pytest.approx(length, abs=1e-7)


def test_a_flow_that_ends_nowhere_gives_nan():
    assert np.isnan(path_integral(lambda x: -jnp.sum(x**2), [1.0], jnp.sum))


def test_projection_excess_on_a_quadratic():
    eigenvalues, x, eta = np.array([4.0, 1.0, 0.5]), np.array([0.3, -0.2, 0.1]), 0.1
    transformed = eigenvalues * x
    expected = [np.linalg.norm(transformed[j:]) - eta * eigenvalues[j] for j in range(3)]
    measured = projection_excess(Quadratic.with_spectrum(eigenvalues), jnp.asarray(x), eta)
    np.testing.assert_allclose(measured, expected, atol=1e-7)
