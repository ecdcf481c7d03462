"""Higher derivatives against closed forms and finite differences of eigenvalues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.curvature import dense_hessian, directional_derivatives, self_stabilization, sharpness_gradient


def smooth(params):
    return jnp.sum(jnp.tanh(params["w"] @ params["v"]) ** 2) + jnp.sum(jnp.exp(0.3 * params["v"]))


@pytest.fixture
def params():
    w, v = jax.random.split(jax.random.key(0))
    return {"v": jax.random.normal(v, (3,)), "w": jax.random.normal(w, (4, 3))}


def test_directional_derivatives_of_an_exponential():
    direction = jnp.asarray([1.0, 2.0])
    found = directional_derivatives(lambda x: jnp.exp(x[0] + x[1]), jnp.zeros(2), direction)
    np.testing.assert_allclose(found, 3.0 ** np.arange(5), rtol=1e-14)


def test_directional_derivatives_against_nested_forward_mode(params):
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    direction = jnp.linspace(-1.0, 1.0, flat.size)

    def f(t):
        return smooth(unravel(flat + t * direction))

    expected = [f(0.0)]
    for _ in range(4):
        f = jax.grad(f)
        expected.append(f(0.0))
    np.testing.assert_allclose(directional_derivatives(smooth, params, direction), expected, rtol=1e-11, atol=1e-11)


def test_the_gradient_of_the_sharpness_is_its_finite_difference(params):
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    vector = np.linalg.eigh(dense_hessian(smooth, params))[1][:, -1]
    found = sharpness_gradient(smooth, params, jnp.asarray(vector))
    step = 1e-5

    hessian = jax.jit(jax.hessian(lambda x: smooth(unravel(x))))

    def top(x):
        return np.linalg.eigvalsh(hessian(x))[-1]

    rows = np.eye(flat.size) * step
    expected = [(top(flat + row) - top(flat - row)) / (2 * step) for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


def test_the_constants_of_self_stabilization():
    # L = y x^2/2 + y^2/2 - 2y at (0, 1): the top eigenvector is (1, 0) while y > 1, S = y, grad L = (0, y - 2).
    def loss(z):
        return z[1] * z[0] ** 2 / 2 + z[1] ** 2 / 2 - 2 * z[1]

    found = self_stabilization(loss, jnp.asarray([0.0, 1.5]), jnp.asarray([1.0, 0.0]))
    np.testing.assert_allclose(found.sharpness_gradient, [0.0, 1.0], atol=1e-15)
    np.testing.assert_allclose([found.alpha, found.beta], [0.5, 1.0], rtol=1e-15)
