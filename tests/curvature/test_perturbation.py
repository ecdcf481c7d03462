"""Derivatives of a sharpness against closed forms and finite differences of the whole matrix's eigenvalues."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

from eosbench.curvature import (
    dense_hessian,
    floquet_multipliers,
    linearize,
    sharpness,
    spectral_density,
    stableness,
    trace,
)
from eosbench.dynamics import Every, edge_point, train
from eosbench.probes import Sharpness

SIZES = [40, 300]  # the whole matrix, and Lanczos


def quartic(x):
    """Its Hessian is the diagonal matrix of the squares of x."""
    return jnp.sum(x**4) / 12


@pytest.mark.parametrize("p", [256, 257])
def test_the_derivative_of_a_known_spectrum_is_the_same_beside_the_dense_limit(p):
    x = jnp.linspace(0.5, 2.0, p)

    def values(x):
        return sharpness(quartic, x, k=3, rtol=1e-8).values

    expected = np.zeros((3, p))
    expected[np.arange(3), p - 1 - np.arange(3)] = 2 * x[: p - 4 : -1]
    np.testing.assert_allclose(jax.jacrev(values)(x), expected, atol=1e-4)
    for entry in range(1, 5):
        _, found = jax.jvp(values, (x,), (jnp.zeros(p).at[-entry].set(1.0),))
        np.testing.assert_allclose(found, expected[:, -entry], atol=1e-4)


def coupled(key, labels, weight, params):
    """Data of every dtype: a random key, integers, and an array with respect to which one may differentiate."""
    x = params["x"]
    noise = jax.random.normal(key, x.shape)
    return (
        jnp.sum(jnp.exp(x) * (1 + labels % 3).astype(x.dtype))
        + params["scale"] * jnp.sum(jnp.tanh(x + 0.1 * noise)) ** 2
        + weight["a"] * jnp.sum(x[labels] * x**2) / 10
    )


def problem(p):
    params = {"scale": jnp.asarray(0.3), "x": jnp.linspace(-1.0, 2.0, p - 1)}
    return params, {"a": jnp.asarray(0.7)}, Partial(coupled, jax.random.key(1), jnp.arange(p - 1)[::-1])


def combined(part, params, weight):
    """A combination of the three largest, by the solver."""
    return jnp.asarray([1.0, -2.0, 3.0]) @ sharpness(Partial(part, weight), params, k=3, rtol=1e-8).values


def along(p):
    params, _, _ = problem(p)
    tangent = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), params)
    return tangent, {"a": jnp.asarray(-1.5)}


def finite_difference(p, h=1e-4):
    params, weight, part = problem(p)
    tangent, change = along(p)

    def value(t):
        at = jax.tree.map(lambda leaf, slope: leaf + t * slope, params, tangent)
        loss = Partial(part, {"a": weight["a"] + t * change["a"]})
        return np.array([1.0, -2.0, 3.0]) @ np.linalg.eigvalsh(dense_hessian(loss, at))[::-1][:3]

    return (value(h) - value(-h)) / (2 * h)


@pytest.mark.parametrize("p", SIZES)
def test_both_modes_for_parameters_and_for_arrays_of_the_loss(p):
    params, weight, part = problem(p)
    tangent, change = along(p)
    value = Partial(combined, part)
    expected = finite_difference(p)
    _, forward = jax.jvp(value, (params, weight), (tangent, change))
    gradients = jax.jit(jax.grad(value, argnums=(0, 1)))(params, weight)
    reverse = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradients, (tangent, change))))
    np.testing.assert_allclose([forward, reverse], expected, rtol=1e-5)


def test_a_number_that_the_loss_closes_over():
    x = jnp.linspace(0.5, 2.0, 20)
    found = jax.grad(lambda c: sharpness(lambda x: jnp.exp(c) * quartic(x), x).values[0])(0.5)
    np.testing.assert_allclose(found, 4 * np.exp(0.5), rtol=1e-12)


def test_a_batch_and_a_loop_of_derivatives():
    points = jnp.stack([jnp.linspace(0.5, 2.0, 20), jnp.linspace(3.0, 0.1, 20)])
    expected = np.zeros((2, 20))
    expected[0, -1], expected[1, 0] = 4.0, 6.0
    batched = jax.vmap(jax.grad(lambda x: sharpness(quartic, x).values[0]))(points)
    np.testing.assert_allclose(batched, expected, atol=1e-12)
    # What comes out of the loop is the whole spectrum, of which only the values are asked for.
    looped = jax.grad(lambda points: jax.lax.map(lambda x: sharpness(quartic, x), points).values.sum())(points)
    np.testing.assert_allclose(looped, expected, atol=1e-12)


@pytest.mark.parametrize("p", SIZES)
def test_a_multiple_eigenvalue_has_no_derivative_and_does_not_spoil_the_others(p):
    x = jnp.linspace(0.5, 2.0, p)
    x = x.at[-3].set(x[-2])

    def values(x):
        spectrum = sharpness(quartic, x, k=4, rtol=1e-6)
        return spectrum.values, spectrum

    _, pull, spectrum = jax.vjp(values, x, has_aux=True)
    assert spectrum.simple.tolist() == [True, False, False, True]
    rows = np.stack([pull(row)[0] for row in jnp.eye(4)])
    assert np.isnan(rows[1:3]).any(axis=1).all()
    np.testing.assert_allclose(rows[0], 4.0 * (np.arange(p) == p - 1), atol=1e-2)
    np.testing.assert_allclose(rows[3], 2 * float(x[-4]) * (np.arange(p) == p - 4), atol=1e-2)
    # The sum over the cluster does have one, with the vectors held fixed.
    block = spectrum.vectors[1:3]
    found = jax.grad(lambda x: jnp.sum(block * linearize(quartic, x).products(block)))(x)
    np.testing.assert_allclose(found, 2 * float(x[-2]) * ((np.arange(p) == p - 2) | (np.arange(p) == p - 3)), atol=1e-2)


@pytest.mark.parametrize("name", ["vectors", "errors", "residuals", "upper"])
def test_nothing_but_values_has_a_derivative(name):
    x = jnp.linspace(0.5, 2.0, 20)
    with pytest.raises(RuntimeError, match="only `values` have a derivative"):
        jax.grad(lambda x: getattr(sharpness(quartic, x), name).sum())(x)
    _, tangent = jax.jvp(lambda x: sharpness(quartic, x), (x,), (jnp.ones(20),))
    assert np.isnan(getattr(tangent, name)).all()
    np.testing.assert_allclose(tangent.values, 4.0)


@pytest.mark.parametrize(
    "second",
    [
        jax.hessian,
        lambda f: jax.jacfwd(jax.jacfwd(f)),
        lambda f: jax.jacrev(jax.jacrev(f)),
        lambda f: jax.jit(jax.jacrev(jax.jacfwd(f))),
        lambda f: lambda x: sharpness(lambda x: quartic(x) + f(x), x),
    ],
    ids=["hessian", "forward twice", "reverse twice", "reverse over forward", "the sharpness of a sharpness"],
)
def test_a_second_derivative_is_refused(second):
    with pytest.raises(RuntimeError, match="a measured sharpness has no second derivative"):
        second(lambda x: sharpness(quartic, x).values[0])(jnp.linspace(0.5, 2.0, 20))


def test_a_gradient_step_on_a_penalty_of_the_sharpness():
    x, penalty = jnp.linspace(0.5, 2.0, 20), 0.01
    run = train(lambda x: quartic(x) + penalty * sharpness(quartic, x).values[0], x, optax.sgd(0.1), 1)
    expected = x - 0.1 * (x**3 / 3 + jnp.where(jnp.arange(20) == 19, penalty * 2 * x, 0))
    np.testing.assert_allclose(run.params, expected, rtol=1e-12)


def softly(weight, x):
    return weight * quartic(x) + jnp.sum(jnp.sin(x)) ** 2 / 100 + jnp.sum(x[:-1] * x[1:]) ** 2 / 50


def measured(p, every, x, weight):
    probe = Every(every, Sharpness(k=2, rtol=1e-9, max_hvps=200))
    run = train(Partial(softly, weight), x, Partial(optax.sgd, 0.01), 4, {"sharpness": probe})
    return jnp.stack([run.probes["sharpness"].values.sum(), run.loss[-1]])


@pytest.mark.parametrize(("p", "every"), [(20, 1), (100, 2)])  # the probe's dense path, and its search space
def test_through_training_both_the_loss_and_what_a_probe_measured(p, every):
    x, weight, tangent, h = jnp.linspace(0.5, 1.5, p), 1.0, jnp.cos(jnp.arange(p)), 1e-4
    found = Partial(measured, p, every)
    expected = (found(x + h * tangent, weight + h) - found(x - h * tangent, weight - h)) / (2 * h)
    _, push = jax.linearize(found, x, weight)
    np.testing.assert_allclose(push(tangent, 1.0), expected, rtol=1e-5)
    by_x, by_weight = jax.linear_transpose(push, x, weight)(jnp.asarray([1.0, 2.0]))
    np.testing.assert_allclose(by_x @ tangent + by_weight, expected @ jnp.asarray([1.0, 2.0]), rtol=1e-5)


def test_forward_mode_through_training():
    x, weight, tangent, h = jnp.linspace(0.5, 1.5, 20), 1.0, jnp.cos(jnp.arange(20)), 1e-4
    found = Partial(measured, 20, 1)
    expected = (found(x + h * tangent, weight + h) - found(x - h * tangent, weight - h)) / (2 * h)
    _, forward = jax.jvp(found, (x, weight), (tangent, 1.0))
    np.testing.assert_allclose(forward, expected, rtol=1e-5)


def test_what_a_probe_tells_beside_values_has_no_derivative():
    def errors(x):
        return train(quartic, x, optax.sgd(0.01), 2, {"sharpness": Sharpness()}).probes["sharpness"].errors.sum()

    with pytest.raises(RuntimeError, match="only `values` have a derivative"):
        jax.grad(errors)(jnp.linspace(0.5, 1.5, 20))


def test_stableness_has_the_derivative_of_its_supremum():
    # Sharpness x^2 falls along the step, so that the supremum is at its start: eta times the largest square.
    x = jnp.linspace(0.5, 2.0, 20)
    by_x, by_eta = jax.grad(lambda x, eta: stableness(quartic, x, eta), argnums=(0, 1))(x, 0.1)
    np.testing.assert_allclose(by_x, 0.4 * (np.arange(20) == 19), atol=1e-12)
    np.testing.assert_allclose(by_eta, 4.0, rtol=1e-12)


def test_a_trace_has_the_derivative_of_its_estimate():
    # Random signs find the trace of a diagonal matrix exactly, in every sample.
    x = jnp.linspace(0.5, 2.0, 20)
    found = jax.grad(lambda x: trace(quartic, x, jax.random.key(0)).value)(x)
    np.testing.assert_allclose(found, 2 * x, rtol=1e-12)


def test_what_has_no_derivative_is_refused():
    x = jnp.linspace(0.5, 2.0, 20)
    key = jax.random.key(0)
    with pytest.raises(RuntimeError, match="spectral_density has no derivative"):
        jax.grad(lambda x: spectral_density(quartic, x, key, steps=3).moment(1))(x)
    with pytest.raises(RuntimeError, match="spectral_density has no derivative"):
        jax.jvp(lambda x: spectral_density(quartic, x, key, steps=3).moment(1), (x,), (x,))
    with pytest.raises(RuntimeError, match="only `values` have a derivative"):
        jax.grad(lambda x: edge_point(quartic, x).alpha)(x)
    for name, host in {
        "dense_hessian": lambda x: dense_hessian(quartic, x).sum(),
        "floquet_multipliers": lambda x: floquet_multipliers(lambda x: x**2, x).sum().real,
    }.items():
        for transformed in (jax.grad(host), jax.jit(host)):
            with pytest.raises(TypeError, match=f"{name} computes on the host"):
                transformed(x)
