import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from eosbench.dynamics import limiting_map
from eosbench.problems._manifolds import (
    curved_valley,
    curved_valley_point,
    rippled_trough,
    rippled_trough_log_sharpness_flow,
    rippled_trough_sharpness_flow,
    skewed_valley,
    valley,
    valley_limit,
    valley_log_sharpness_flow,
    valley_sharpness_flow,
)


@pytest.mark.parametrize("loss", [valley, skewed_valley])
@pytest.mark.parametrize("y", [0.0, 0.8, -1.5])
def test_the_line_is_a_manifold_of_minimizers_with_the_sharpness_stated(loss, y):
    x = jnp.array([y, 0.0])
    assert loss(x) == 0
    np.testing.assert_array_equal(jax.grad(loss)(x), 0)
    np.testing.assert_allclose(jax.hessian(loss)(x), np.diag([0, 1 + y**2]), atol=1e-15)


def test_only_the_skewed_valley_has_a_third_derivative_across():
    across = [jax.jacfwd(jax.hessian(loss))(jnp.array([0.8, 0.0]))[1, 1, 1] for loss in (valley, skewed_valley)]
    np.testing.assert_allclose(across, [0, 0.4], atol=1e-15)


@pytest.mark.parametrize("x", [(1.5, 0.7), (-0.4, 1.2), (0.2, -2.0)])
def test_the_valley_limit_is_where_scipys_flow_ends(x):
    end = solve_ivp(lambda _, x: [-x[0] * x[1] ** 2, -(1 + x[0] ** 2) * x[1]], (0, 40), x, rtol=1e-11, atol=1e-13).y[
        :, -1
    ]
    np.testing.assert_allclose(valley_limit(x), end, atol=1e-9)


@pytest.mark.parametrize(
    ("flow", "slope"),
    [(valley_log_sharpness_flow, lambda y: 2 * y / (1 + y**2)), (valley_sharpness_flow, lambda y: 2 * y)],
)
def test_the_flows_on_the_line_solve_their_equations(flow, slope):
    end = solve_ivp(lambda _, y: -0.3 * slope(y), (0, 1.7), [1.5], rtol=1e-11, atol=1e-13).y[0, -1]
    assert flow(1.5, 1.7, 0.3) == pytest.approx(end, abs=1e-9)


@pytest.mark.parametrize("y", [(0.9, 0.7), (-0.5, 0.2), (0.0, 0.0)])
def test_the_curved_surface_consists_of_minimizers_of_codimension_two(y):
    point = curved_valley_point(np.array(y))
    assert curved_valley(point) == 0
    eigenvalues = np.linalg.eigvalsh(jax.hessian(curved_valley)(point))
    np.testing.assert_allclose(eigenvalues[:2], 0, atol=1e-14)
    assert eigenvalues[2] > 0.3
    assert eigenvalues[3] > 2 * eigenvalues[2]


def test_the_curved_loss_off_its_surface():
    y, z = np.array([0.9, 0.7]), np.array([1.3, -0.6])
    M = np.array([[1.6 + 0.5 * 0.81, 0.21], [0.2, 0.9 + 0.25 * np.sin(0.7) + 0.135]])
    r = M @ (z - np.array([0.3 * 0.81 - 0.14, 0.28 * np.sin(0.9)]))
    assert curved_valley(jnp.concatenate([y, z])) == pytest.approx(r @ r / 2, rel=1e-14)


@pytest.mark.parametrize("y", [0.0, 0.3, 1.4, -2.0])
def test_the_bottom_of_the_trough_and_its_two_eigenvalues(y):
    x = jnp.array([y, 0.0, 0.0])
    sharpness = 2 + np.sin(2 * y)
    assert rippled_trough(x) == 0
    np.testing.assert_array_equal(jax.grad(rippled_trough)(x), 0)
    np.testing.assert_allclose(jax.hessian(rippled_trough)(x), np.diag([0, sharpness, sharpness / 4]), atol=1e-15)
    third = jax.jacfwd(jax.hessian(rippled_trough))(x)
    np.testing.assert_allclose([third[1, 1, 1], third[1, 1, 2]], [sharpness / 2, sharpness / 8], atol=1e-15)


def test_the_trough_off_its_bottom():
    y, z, w = 0.3, 0.7, -0.4
    across = 4 * (np.exp(z / 2) - 1 - z / 2) + (np.cosh(w + z**2 / 4) - 1) / 4
    assert rippled_trough(jnp.array([y, z, w])) == pytest.approx((2 + np.sin(2 * y)) * across, rel=1e-14)


def trough_gradient(x):
    y, z, w = x
    offset = w + z**2 / 4
    across = 4 * (np.exp(z / 2) - 1 - z / 2) + (np.cosh(offset) - 1) / 4
    along_z = 2 * (np.exp(z / 2) - 1) + np.sinh(offset) * z / 8
    height = 2 + np.sin(2 * y)
    return np.array([2 * np.cos(2 * y) * across, height * along_z, height * np.sinh(offset) / 4])


@pytest.mark.parametrize("x", [(0.3, 0.7, -0.4), (0.1, -0.6, 0.5), (1.4, 0.5, 0.8)])
def test_the_trough_limit_is_where_scipys_flow_ends(x):
    end = solve_ivp(lambda _, x: -trough_gradient(x), (0, 120), x, rtol=1e-11, atol=1e-13, method="LSODA").y[:, -1]
    np.testing.assert_allclose(limiting_map(rippled_trough, x).point, end, atol=1e-8)


@pytest.mark.parametrize("y0", [0.3, 1.4, -2.0, 7.0])
@pytest.mark.parametrize(
    ("flow", "slope"),
    [
        (rippled_trough_log_sharpness_flow, lambda y: 2 * np.cos(2 * y) / (2 + np.sin(2 * y))),
        (rippled_trough_sharpness_flow, lambda y: 2 * np.cos(2 * y)),
    ],
)
def test_the_flows_along_the_trough_solve_their_equations(y0, flow, slope):
    end = solve_ivp(lambda _, y: -0.3 * slope(y), (0, 1.7), [y0], rtol=1e-11, atol=1e-13).y[0, -1]
    assert flow(y0, 0.0, 0.3) == pytest.approx(y0, abs=1e-14)
    assert flow(y0, 1.7, 0.3) == pytest.approx(end, abs=1e-9)
