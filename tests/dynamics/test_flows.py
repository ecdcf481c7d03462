import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from eosbench.dynamics._flows import gradient_flow, limiting_flow, limiting_map, tangent_projection
from eosbench.problems._manifolds import (
    curved_valley,
    curved_valley_point,
    valley,
    valley_limit,
    valley_log_sharpness_flow,
    valley_sharpness_flow,
)
from eosbench.problems._quadratic import Quadratic

START = np.array([0.9, 0.7, 1.3, -0.6])


def identity(sharpness):
    return sharpness


def chart_flow(y0, time, coefficient, functional_slope):
    """The limiting flow of `curved_valley` in its chart, `ẏ = -c (I + DgᵀDg)⁻¹ ∇ functional(λ_1)`, by differences."""

    def height(y):
        return np.array([0.3 * y[0] ** 2 - 0.2 * y[1], 0.4 * y[1] * np.sin(y[0])])

    def gradient(f, y, h=1e-4):
        e = h * np.eye(2)
        return np.array([(8 * (f(y + d) - f(y - d)) - (f(y + 2 * d) - f(y - 2 * d))) / (12 * h) for d in e])

    def sharpness(y):
        slope = gradient(height, y).T
        M = np.array([[1.6 + 0.5 * y[0] ** 2, 0.3 * y[1]], [0.2, 0.9 + 0.25 * np.sin(y[1]) + 0.15 * y[0]]])
        J = M @ np.hstack([-slope, np.eye(2)])
        return np.linalg.eigvalsh(J @ J.T)[-1]

    def velocity(_, y):
        slope = gradient(height, y).T
        return (
            -coefficient
            * np.linalg.solve(np.eye(2) + slope.T @ slope, gradient(sharpness, y))
            * functional_slope(sharpness(y))
        )

    y = solve_ivp(velocity, (0, time), y0, method="DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    return np.concatenate([y, height(y)])


def test_gradient_flow_of_a_quadratic_is_the_matrix_exponential():
    times = np.array([0.0, 0.4, 2.0])
    path = gradient_flow(Quadratic.with_spectrum([3.0, 0.5]), [1.0, -2.0], times)
    np.testing.assert_allclose(path, np.exp(-times[:, None] * [3.0, 0.5]) * [1.0, -2.0], rtol=1e-8)


def test_gradient_flow_matches_scipy():
    times, gradient = np.array([0.5, 1.5]), jax.jit(jax.grad(curved_valley))
    oracle = solve_ivp(
        lambda _, x: -np.asarray(gradient(x)),
        (0, 1.5),
        START,
        t_eval=times,
        rtol=1e-11,
        atol=1e-13,
        method="LSODA",
    )
    np.testing.assert_allclose(gradient_flow(curved_valley, START, times), oracle.y.T, atol=1e-8)


def test_a_stiff_flow_with_an_implicit_solver():
    path = gradient_flow(Quadratic.with_spectrum([1e5, 1.0]), [1.0, 1.0], [1.0], solver=diffrax.Kvaerno5())
    np.testing.assert_allclose(path[0], [0, np.exp(-1)], atol=1e-8)


@pytest.mark.parametrize("x", [[1.5, 0.7], [-0.4, 1.2], [1.5, 0.01], [0.3, -2.0], [1.5, 0.0]])
def test_the_limit_on_the_valley_and_its_error(x):
    limit = limiting_map(valley, x)
    np.testing.assert_allclose(limit.point, valley_limit(x), atol=2e-9)
    assert np.linalg.norm(limit.point - valley_limit(x)) <= limit.error + 1e-14
    assert limit.error < 1e-7


def test_the_limit_maps_under_vmap():
    points = np.array([[1.5, 0.7], [-0.4, 1.2]])
    np.testing.assert_allclose(
        jax.vmap(lambda x: limiting_map(valley, x).point)(points), valley_limit(points), atol=2e-9
    )


def test_the_limit_of_a_limit_is_itself_and_lies_on_the_manifold():
    limit = limiting_map(curved_valley, START).point
    np.testing.assert_allclose(limit, curved_valley_point(limit[:2]), atol=1e-9)
    np.testing.assert_allclose(limiting_map(curved_valley, limit).point, limit, atol=1e-12)


def test_a_flow_that_ends_nowhere_gives_nan():
    assert np.isnan(limiting_map(lambda x: -jnp.sum(x**2), np.ones(2)).point).all()


@pytest.mark.parametrize("y", [(0.9, 0.7), (-0.5, 0.2), (0.0, 0.0)])
def test_tangent_projection_is_that_of_the_chart(y):
    point = curved_valley_point(np.array(y))
    tangents = np.linalg.qr(np.asarray(jax.jacobian(curved_valley_point)(jnp.array(y))))[0]
    np.testing.assert_allclose(tangent_projection(curved_valley, point), tangents @ tangents.T, atol=1e-12)


@pytest.mark.parametrize("coefficient", [0.25, 0.1])
def test_limiting_flows_of_the_valley(coefficient):
    times = np.array([0.0, 0.7, 2.0])
    log_flow = limiting_flow(valley, [1.5, 0.0], times, coefficient=coefficient, functional=jnp.log)
    np.testing.assert_allclose(log_flow[:, 0], valley_log_sharpness_flow(1.5, times, coefficient), atol=1e-8)
    flow = limiting_flow(valley, [1.5, 0.0], times, coefficient=coefficient, functional=identity)
    np.testing.assert_allclose(flow[:, 0], valley_sharpness_flow(1.5, times, coefficient), atol=1e-8)
    np.testing.assert_allclose(flow[:, 1], 0, atol=1e-14)


def test_limiting_flow_starts_at_the_limit_of_its_start():
    flow = limiting_flow(valley, [1.5, 0.5], [0.0, 0.1], coefficient=0.25, functional=jnp.log)
    np.testing.assert_allclose(flow[0], valley_limit([1.5, 0.5]), atol=1e-8)


def test_a_limiting_flow_that_starts_nowhere_says_so():
    with pytest.raises(eqx.EquinoxRuntimeError, match="does not converge to a minimizer"):
        limiting_flow(lambda x: -jnp.sum(x**2), np.ones(2), [1.0], coefficient=0.25, functional=jnp.log)


@pytest.mark.parametrize(
    ("coefficient", "functional", "slope"), [(0.25, jnp.log, lambda s: 1 / s), (0.125, identity, lambda s: 1.0)]
)
def test_limiting_flows_on_the_curved_surface_match_their_chart(coefficient, functional, slope):
    y0 = np.array([0.9, 0.7])
    flow = limiting_flow(curved_valley, curved_valley_point(y0), [1.0], coefficient=coefficient, functional=functional)
    np.testing.assert_allclose(flow[0], chart_flow(y0, 1.0, coefficient, slope), atol=1e-7)
