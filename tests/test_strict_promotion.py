"""JAX's flags against silent promotion of ranks and dtypes, which the tests of many projects set, find nothing here."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench import Sharpness, sharpness, stability, train


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def quartic(x):
    """Its Hessian is the diagonal matrix of the squares of x."""
    return jnp.sum(x**4) / 12


@pytest.mark.parametrize("p", [20, 300])  # the whole matrix, and Lanczos
def test_a_cold_solve_and_its_derivative(p):
    x = jnp.linspace(0.5, 2.0, p, dtype=jnp.float32)
    value, slope = jax.value_and_grad(lambda x: sharpness(quartic, x, k=2).values[0])(x)
    assert value == pytest.approx(4.0, rel=1e-3)
    assert slope[-1] == pytest.approx(4.0, rel=1e-2)


@pytest.mark.parametrize("p", [20, 300])
def test_a_probe_in_training(p):
    x, eta = jnp.linspace(0.5, 2.0, p, dtype=jnp.float32), 0.1
    run = train(quartic, x, Partial(optax.sgd, eta), 3, {"sharpness": Sharpness(k=2)}, stop_diverged=True)
    top = 2.0
    for value in run.probes["sharpness"].values[:, 0]:
        assert value == pytest.approx(top**2, rel=1e-3)
        top -= eta * top**3 / 3


def test_an_optimizer_whose_first_step_widens_its_state():
    def update(updates, state, params=None):
        return updates, state.astype(jnp.float64)

    optimizer = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.float32), update)
    assert train(quartic, jnp.ones(3), optimizer, 2).state.optimizer.dtype == jnp.float64


def test_the_line_of_an_optimizer():
    found = stability(optax.sgd(0.01, 0.9), params={"a": jnp.ones((2, 3), jnp.float32), "b": jnp.ones(2, jnp.float32)})
    np.testing.assert_allclose(found.line, 380, rtol=1e-5)


def test_parameters_of_two_dtypes():
    def loss(params):
        return (jnp.sum(params["a"].astype(jnp.float64) ** 2) + 2 * jnp.sum(params["b"] ** 2)) / 2

    params = {"a": jnp.ones(2, jnp.float32), "b": jnp.ones(3, jnp.float64)}
    assert sharpness(loss, params).values[0] == pytest.approx(2.0)
    run = train(loss, params, optax.sgd(0.1), 3, {"sharpness": Sharpness()})
    assert run.params["a"].dtype == jnp.float32
    np.testing.assert_allclose(run.params["b"], 0.8**3, rtol=1e-12)
    np.testing.assert_allclose(run.probes["sharpness"].values, 2, rtol=1e-6)
