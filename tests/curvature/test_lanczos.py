"""Statistics of the cold solver over random starts, and the randomized bound against its source's formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from matfree import decomp

from eosbench.curvature import dense_hessian, sharpness
from eosbench.curvature._bounds import lanczos_gap
from eosbench.curvature._lanczos import lanczos

N = 500


def with_top(*top):
    eigenvalues = np.linspace(-1.0, 1.0, N)
    eigenvalues[N - len(top) :] = top
    return eigenvalues


EXPONENTIAL = 0.02 * np.random.default_rng(0).exponential(size=N)
SPECTRA = {
    "well separated": with_top(20, 30, 45, 60),
    "double top": with_top(2, 3, 3),
    "quadruple top": with_top(3, 3, 3, 3),
    "top 1e-6 apart": with_top(5, 10 * (1 - 1e-6), 10),
    "top 0.5 % apart": with_top(5, 9.95, 10),
    "top 1 % apart": with_top(5, 9.9, 10),
    "negative end larger": np.r_[-30, -29, np.linspace(-1, 1, N - 6), 10, 15, 20, 25],
    "rank one": np.r_[np.zeros(N - 1), 5.0],
    "zero": np.zeros(N),
    "edge of stability": np.r_[EXPONENTIAL[:-4], 99, 99.5, 99.8, 100],
    "sixty outliers": np.r_[EXPONENTIAL[:-60], np.arange(1, 61)],
    "no gap": np.cos(np.linspace(0, np.pi, N)),
}
STARTS = 50


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_thousand_cold_solves_are_inside_their_bounds(dtype):
    # A diagonal matrix stands for all its rotations, for the start is uniform on the sphere.
    spectra = jnp.asarray(np.sort(np.stack(list(SPECTRA.values())), axis=1), dtype)
    keys = jax.random.split(jax.random.key(1), STARTS)

    @jax.jit
    def solve_all(spectra, keys):
        def solve(eigenvalues, key):
            s = lanczos(lambda v: eigenvalues * v, N, 1, jnp.asarray(1e-3, dtype), 3000, key, dtype)
            return s.values[0], s.errors[0], s.upper, s.converged

        return jax.lax.map(lambda e: jax.lax.map(lambda key: solve(e, key), keys), spectra)

    values, errors, upper, converged = map(np.asarray, solve_all(spectra, keys))
    exact = np.asarray(spectra[:, -1:])
    rounding = 20 * jnp.finfo(dtype).eps * np.abs(spectra).max(1, keepdims=True)
    assert converged.all()
    assert (values - rounding <= exact).all()
    assert (exact <= upper + rounding).all()
    missed = exact - values > np.maximum(errors, 1e-3 * np.abs(values)) + rounding
    misses = dict(zip(SPECTRA, missed.sum(1), strict=True))
    assert missed.mean() <= 0.01, misses


def test_one_step_that_meets_the_tolerance_does_not_end_a_solve():
    """Of 3 times the identity every vector is an eigenvector: two steps, and the fresh product of the end."""
    assert lanczos(lambda v: 3 * v, N, 1, jnp.asarray(1e-3), 3000, jax.random.key(0), jnp.dtype(float)).hvps == 3


def test_a_starved_solver_never_claims_an_error_that_it_does_not_have():
    spectra = jnp.asarray(np.stack(list(SPECTRA.values())))

    @jax.jit
    def starved(spectra):
        def solve(eigenvalues):
            s = lanczos(lambda v: eigenvalues * v, N, 1, 1e-3, 3, jax.random.key(2), jnp.float64)
            return s.values[0], s.converged, s.hvps

        return jax.lax.map(solve, spectra)

    values, converged, hvps = map(np.asarray, starved(spectra))
    exact = np.asarray(spectra).max(1)
    wrong = exact - values > 1e-3 * np.abs(values) + 1e-12
    assert wrong.sum() >= 6
    assert not converged[wrong].any()
    assert (hvps <= 3).all()


@pytest.mark.parametrize(("failure", "steps"), [(0.1, 8), (0.01, 8)])
def test_the_randomized_bound_fails_no_more_often_than_it_says(failure, steps):
    n, starts = 100, 10_000
    # Hard for Lanczos: a continuum up to the distance that the bound allows, and one eigenvalue at its end.
    gap = float(lanczos_gap(n, steps, failure))
    eigenvalues = jnp.append((1 - gap) * (1 - jnp.cos(jnp.linspace(0, jnp.pi, n - 1))) / 2, 1.0)
    tridiagonalize = decomp.tridiag_sym(steps)

    @jax.jit
    @jax.vmap
    def top(key):
        start = jax.random.normal(key, (n,))
        return jnp.linalg.eigvalsh(tridiagonalize(lambda v: eigenvalues * v, start / jnp.linalg.norm(start))[1])[-1]

    low = np.asarray(1 - top(jax.random.split(jax.random.key(0), starts)))
    assert (low > gap).sum() <= failure * starts
    # The count is able to fail: at a fifth of the distance the bound would be wrong on these very starts.
    assert (low > gap / 5).sum() > failure * starts


def test_the_constant_of_the_randomized_bound():
    gap = float(lanczos_gap(10_000, 20, 1e-3))
    np.testing.assert_allclose(1.648 * 100 * np.exp(-np.sqrt(gap) * 39), 1e-3, rtol=1e-12)


def mlp(inputs, targets, params):
    hidden, params = inputs, jax.tree.map(lambda leaf: leaf.astype(inputs.dtype), params)
    for weight, bias in params[:-1]:
        hidden = jnp.tanh(hidden @ weight + bias[None])
    return jnp.mean(jnp.sum((hidden @ params[-1][0] + params[-1][1][None] - targets) ** 2, axis=1))


def cnn(inputs, targets, params):
    images = inputs.reshape(-1, 1, 8, 8).astype(params["kernel"].dtype)
    hidden = jnp.tanh(jax.lax.conv(images, params["kernel"], (2, 2), "SAME"))
    found = hidden.reshape(len(inputs), -1) @ params["out"]
    return jnp.mean(jnp.sum((found.astype(targets.dtype) - targets) ** 2, axis=1))


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return (images[:100] - images.mean()) / images.std(), np.eye(10)[labels[:100]]


@pytest.mark.parametrize("steps", [0, 300])
@pytest.mark.parametrize("network", ["mlp", "cnn"])
def test_networks_on_digits_beside_the_whole_matrix(digits, network, steps):
    inputs, targets = map(jnp.asarray, digits)
    keys = jax.random.split(jax.random.key(0), 3)
    if network == "mlp":
        params = [(jax.random.normal(keys[i], s) / 9, jnp.zeros(s[1])) for i, s in enumerate([(64, 10), (10, 10)])]
        loss, eta = Partial(mlp, inputs, targets), 0.05
    else:
        params = {
            "kernel": jax.random.normal(keys[0], (3, 1, 3, 3)) / 4,
            "out": jax.random.normal(keys[1], (48, 10)) / 9,
        }
        loss, eta = Partial(cnn, inputs, targets), 0.05
    if steps:
        step = jax.jit(lambda p: jax.tree.map(lambda a, g: a - eta * g, p, jax.grad(loss)(p)))
        for _ in range(steps):
            params = step(params)
    exact = np.linalg.eigvalsh(dense_hessian(loss, params))[::-1][:4]
    for dtype, slack in ((jnp.float64, 1e-12), (jnp.float32, 1e-5)):
        spectrum = sharpness(loss, jax.tree.map(lambda a, dtype=dtype: a.astype(dtype), params), k=4)
        np.testing.assert_allclose(spectrum.values, exact, rtol=1e-3)
        assert (np.asarray(spectrum.values) <= exact + slack * exact[0]).all()
        assert exact[0] <= float(spectrum.upper) * (1 + slack)
