"""Micro-batches of a data set give the Hessian of the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.curvature import MicroBatched, linearize, sharpness

N = 30


def squared_error(params, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["w"]) @ params["v"] - y) ** 2)


@pytest.fixture(scope="module")
def problem():
    keys = jax.random.split(jax.random.key(0), 4)
    params = {"w": jax.random.normal(keys[0], (20, 10)), "v": jax.random.normal(keys[1], (10,))}
    data = (jax.random.normal(keys[2], (N, 20)), jax.random.normal(keys[3], (N,)))
    return jax.tree.map(lambda x: x.astype(jnp.float32), (params, data))


@pytest.mark.parametrize(("size", "remat"), [(1, False), (7, True), (7, False), (N, True), (2 * N, False)])
def test_every_size_gives_the_same_product_and_value(problem, size, remat):
    params, data = problem
    whole, chunked = (lambda p: squared_error(p, data)), MicroBatched(squared_error, data, size, remat)
    vector = jnp.ones(210, jnp.float32) / 210**0.5
    product = jax.jit(lambda loss, v: linearize(loss, params).product(v), static_argnums=0)
    expected = product(whole, vector)
    found = jax.jit(lambda v: linearize(chunked, params).product(v))(vector)
    top = sharpness(whole, params).values[0]
    np.testing.assert_allclose(found, expected, atol=1e-5 * top)
    np.testing.assert_allclose(sharpness(chunked, params).values[0], top, rtol=1e-5)
    np.testing.assert_allclose(chunked(params), whole(params), rtol=1e-5)


def test_a_bad_argument_is_named(problem):
    _, data = problem
    with pytest.raises(ValueError, match="size of a MicroBatched loss is 0"):
        MicroBatched(squared_error, data, 0)
    with pytest.raises(ValueError, match=r"leading axes \[2, 3\]"):
        MicroBatched(squared_error, (jnp.ones(2), jnp.ones(3)), 1)
