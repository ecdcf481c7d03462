"""Predicted dynamics at the edge, against the map written out, its invariants, and a point known in closed form."""

import jax.numpy as jnp
import numpy as np

from eosbench.dynamics import edge_point, iterate, potential, potential_drift, predicted_step, trajectory
from eosbench.problems import SelfStabilizingLoss


def test_a_step_of_the_map():
    eta, alpha, beta = 0.3, 0.2, 1.7
    x, y = 0.4, 0.1
    after = predicted_step(eta, alpha, beta)(jnp.array([x, y]))
    np.testing.assert_allclose(after, [-(1 + eta * y) * x, y + eta * alpha - eta * beta * x**2 / 2], rtol=1e-14)


def test_the_fixed_points_of_the_squared_map():
    for sign in (1, -1):
        state = jnp.array([sign * np.sqrt(2 * 0.2 / 1.7), 0.0])
        np.testing.assert_allclose(iterate(predicted_step(0.3, 0.2, 1.7), state, 2), state, atol=1e-15)
        assert abs(float(potential(state, 0.2, 1.7))) < 1e-15
        assert abs(float(potential_drift(state, 0.3, 0.2, 1.7))) < 1e-15


def test_the_drift_is_the_change_of_the_potential():
    eta, alpha, beta = 0.3, 0.2, 1.7
    path = trajectory(predicted_step(eta, alpha, beta), np.array([0.1, 0.0]), 50)
    level = np.asarray(potential(path, alpha, beta))
    np.testing.assert_allclose(np.diff(level), potential_drift(path, eta, alpha, beta)[:-1], atol=1e-12)
    assert np.all(np.diff(level) > 0)


def test_small_steps_conserve_the_potential():
    """Over a fixed time the change is of first order in the step."""
    changes = []
    for epsilon in (0.02, 0.01, 0.005):
        step = predicted_step(1.0, epsilon**2, 2.0)
        start = jnp.array([0.5 * epsilon, 0.0])
        end = iterate(step, start, round(4 / epsilon))
        changes.append(float(potential(end, epsilon**2, 2.0) - potential(start, epsilon**2, 2.0)))
    np.testing.assert_allclose(np.array(changes[:-1]) / changes[1:], 2, rtol=0.1)


def test_the_edge_of_the_normal_form():
    """∇L·u = 0 at x = 0, where S = 2/eta + √beta q; alpha and beta are those of the formula."""
    loss = SelfStabilizingLoss(0.5, 0.04, 3.0)
    at = edge_point(loss, jnp.array([0.01, 0.2]))
    assert abs(at.residual) < 1e-13
    assert abs(at.point[0]) < 1e-12
    np.testing.assert_allclose(2 / at.eta, 2 / 0.5 + np.sqrt(3) * at.point[1], rtol=1e-12)
    np.testing.assert_allclose([at.alpha, at.beta], [0.04, 3.0], rtol=1e-9)
    np.testing.assert_allclose(np.abs(at.vector), [1, 0], atol=1e-9)
    x, y = at.coordinates(at.point + jnp.array([0.1, 0.2]))
    np.testing.assert_allclose([abs(x), y], [0.1, 0.2 * np.sqrt(3)], rtol=1e-9)
