"""A point beside dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from eosbench.curvature import linearize


def loss(params):
    return jnp.sum(jnp.tanh(params["w"] @ jnp.arange(3.0) + params["b"]) ** 2) + jnp.sum(params["w"] ** 4)


PARAMS = {"w": jnp.asarray([[0.3, -0.2, 0.5], [0.1, 0.7, -0.4]]), "b": jnp.asarray([0.2, -0.1])}
SCALE = {"w": jnp.asarray([[1.0, 2.0, 0.0], [0.5, 4.0, 3.0]]), "b": jnp.asarray([9.0, 0.25])}


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def dense(scale=1.0):
    """Gradient and Hessian by nested differentiation of the loss of a flat vector, and D^1/2 on both sides."""
    unflat = lambda x: {"b": x[:2], "w": x[2:].reshape(2, 3)}  # noqa: E731
    of_flat, x = lambda x: loss(unflat(x)), flat(PARAMS)
    root = np.sqrt(scale) * np.ones(8)
    gradient, hessian = np.asarray(jax.grad(of_flat)(x)), np.asarray(jax.hessian(of_flat)(x))
    return root * gradient, root[:, None] * hessian * root


@jax.jit
def measured(scale, vectors):
    point = linearize(loss, PARAMS).preconditioned(scale)
    return point.loss, point.gradient, point.products(vectors)


@pytest.mark.parametrize(("scale", "numbers"), [(SCALE, flat(SCALE)), (jnp.asarray(0.25), 0.25), (2.0, 2.0)])
def test_preconditioned_is_the_hessian_between_roots_of_the_scale(scale, numbers):
    value, gradient, products = measured(scale, jnp.eye(8))
    expected_gradient, expected_hessian = dense(numbers)
    np.testing.assert_allclose(value, loss(PARAMS), rtol=1e-14)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-13)
    np.testing.assert_allclose(products, expected_hessian, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("unit", "scale"), [(1e30, 1e-45), (1e-30, 1e45)])
def test_a_scale_that_single_precision_cannot_hold_scales_all_the_same(unit, scale):
    point = linearize(lambda x: jnp.float32(unit) * jnp.sum(x**2), jnp.ones(2, jnp.float32))
    for given in (np.float64(scale), jnp.full(2, scale)):
        product = point.preconditioned(given).product(jnp.asarray([1, 0], jnp.float32))
        np.testing.assert_allclose(product, [2 * unit * scale, 0], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "int8", "bool"])
def test_a_scale_of_another_dtype_counts_by_its_number(dtype):
    ones = jax.tree.map(lambda x: jnp.ones_like(x, dtype), PARAMS)
    product = linearize(loss, PARAMS).preconditioned(ones).product
    np.testing.assert_allclose(product(jnp.ones(8)), dense()[1] @ np.ones(8), rtol=1e-12)


def test_an_entry_of_zero_has_derivatives_beside_it():
    curvature = lambda scale: linearize(lambda x: jnp.sum(x**2), jnp.ones(2)).preconditioned(scale).product(jnp.ones(2))  # noqa: E731
    np.testing.assert_array_equal(jax.jacobian(curvature)(jnp.asarray([0.0, 3.0])), [[0, 0], [0, 2]])


@pytest.mark.parametrize("scale", [1j, jnp.asarray([1 + 1j, 2])])
def test_a_scale_that_is_not_real_is_refused(scale):
    with pytest.raises(TypeError, match="scale has dtype complex128: it must be real"):
        linearize(lambda x: jnp.sum(x**2), jnp.ones(2)).preconditioned(scale)


def test_a_scale_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"scale has shapes \[\(2,\)\], but params \[\(2,\), \(2, 3\)\]: give one"):
        linearize(loss, PARAMS).preconditioned(jnp.ones(2))


def test_a_point_has_another_key_at_each_step_and_the_same_one_again():
    keys = [jax.random.key_data(linearize(loss, PARAMS, step=step).key) for step in (0, 1, 0)]
    assert (keys[0] == keys[2]).all()
    assert (keys[0] != keys[1]).any()


def test_elsewhere_it_is_the_same_loss_in_the_same_coordinates():
    """Two scales one after the other are their product, there as here."""
    first, second = SCALE, {"w": jnp.full((2, 3), 3.0), "b": jnp.full(2, 0.5)}
    there = jax.tree.map(lambda leaf: leaf + 0.3, PARAMS)

    @jax.jit
    def measured(params):
        point = linearize(loss, PARAMS).preconditioned(first).preconditioned(second).at(params)
        plain = linearize(loss, PARAMS).at(params)
        return point.loss, point.gradient, point.products(jnp.eye(point.gradient.size)), plain.gradient

    value, gradient, hessian, plain = measured(there)
    x, unravel = ravel_pytree(there)
    root = ravel_pytree(jax.tree.map(lambda a, b: jnp.sqrt(a * b), first, second))[0]
    of_flat = lambda x: loss(unravel(x))  # noqa: E731
    np.testing.assert_allclose(value, of_flat(x), rtol=1e-12)
    np.testing.assert_allclose(plain, jax.grad(of_flat)(x), rtol=1e-12)
    np.testing.assert_allclose(gradient, root * jax.grad(of_flat)(x), rtol=1e-12)
    np.testing.assert_allclose(hessian, root[:, None] * jax.hessian(of_flat)(x) * root[None], rtol=1e-10, atol=1e-12)
