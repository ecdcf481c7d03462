"""Every field of a spectrum beside the whole matrix and beside the formulas that its docstring gives."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.curvature._dense import dense_spectrum
from eosbench.curvature._lanczos import lanczos

P = 300
BASIS, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((P, P)))
TOPS = {
    "apart": [10, 9, 8],
    "a pair": [10, 9.9, 5],
    "a close pair": [10, 9.999, 5],
    "double": [10, 10, 5],
    "near the bulk": [1.2, 1.1, 1.05],
    "negative": [-1.5, -1.6, -1.7],
}
counted = []


def matrix_of(tops):
    bulk = np.linspace(-2 if tops[0] < 0 else -1, tops[2] - 0.05 if tops[0] < 2 else 1, P - 3)
    return BASIS @ np.diag([*tops, *bulk]) @ BASIS.T


@partial(jax.jit, static_argnames=("k", "dense"))
def solve(matrix, k, dense, rtol, max_hvps):
    def product(vector):
        jax.debug.callback(counted.append, vector[0])
        return matrix @ vector

    if dense:
        return dense_spectrum(product, P, k, rtol, matrix.dtype)
    return lanczos(product, P, k, rtol, max_hvps, jax.random.key(0), matrix.dtype)


def solved(tops, k, dense=False, rtol=1e-3, max_hvps=2000):
    matrix = matrix_of(tops)
    jax.effects_barrier()
    counted.clear()
    spectrum = jax.block_until_ready(solve(jnp.asarray(matrix), k, dense, rtol, max_hvps))
    jax.effects_barrier()
    return matrix, jax.tree.map(np.asarray, spectrum), len(counted)


def gaps(exact, k):
    """Distances of the k largest to their nearest neighbours."""
    steps = np.concatenate([[np.inf], -np.diff(exact)])
    return np.minimum(steps[:k], steps[1 : k + 1])


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("name", TOPS)
def test_what_lanczos_says_of_its_values(name, k):
    matrix, found, products = solved(TOPS[name], k)
    exact = np.linalg.eigvalsh(matrix)[::-1]
    rounding = 10 * np.finfo(float).eps * np.abs(exact).max()
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(k), atol=1e-13)
    images = found.vectors @ matrix
    np.testing.assert_allclose(found.values, np.sum(images * found.vectors, axis=1), rtol=1e-12)
    residuals = np.linalg.norm(images - found.values[:, None] * found.vectors, axis=1)
    np.testing.assert_allclose(found.residuals, residuals, rtol=1e-6, atol=rounding)

    assert (exact[:k] - found.values >= -rounding).all()
    # One vector sees one eigenvalue where two are closer than the tolerance, and may rest on the second.
    one_of_two = k == 1 and name in ("a close pair", "double")
    rank = [np.abs(exact[:2] - found.values).argmin()] if one_of_two else range(k)
    assert (exact[rank] - found.values <= found.errors + rounding).all()
    # The gaps are those of the Ritz values, which may be off by their errors.
    seen = np.delete(exact, 1) if one_of_two else exact
    quadratic = residuals**2 / np.maximum(gaps(seen, k), 1e-300)
    errors = np.minimum(residuals, np.maximum(quadratic, residuals / 3))
    np.testing.assert_allclose(found.errors, errors, rtol=0.05, atol=3 * rounding)
    assert found.converged == (found.errors <= 1e-3 * np.abs(found.values) + rounding).all()
    assert found.converged
    assert found.finite
    assert found.status == 0
    assert found.hvps == products
    np.testing.assert_array_equal(found.simple, gaps(seen, k) > found.residuals + rounding)


@pytest.mark.parametrize(
    ("name", "k", "rtol"),
    [("near the bulk", 1, 1e-7), ("near the bulk", 2, 1e-3), ("negative", 1, 1e-7), ("negative", 2, 1e-4)],
)
def test_the_bound_from_above_is_that_of_the_theorem(name, k, rtol):
    """Kuczynski and Wozniakowski's, half of the failure probability 1e-6 for each end of the spectrum."""
    matrix, found, products = solved(TOPS[name], k, rtol=rtol)
    exact = np.linalg.eigvalsh(matrix)[::-1]
    steps = (products - k) // k
    assert steps <= (32 + 16 * k) // k  # before the first restart
    exponent = math.log(1.648 * math.sqrt(P)) - math.log(1e-6 / 2) / k
    gap = (exponent / (2 * steps - 1)) ** 2
    bound = found.values[0] + gap * (found.values[0] - exact[-1]) / (1 - 2 * gap)
    assert found.upper >= exact[0]
    np.testing.assert_allclose(found.upper, bound, rtol=0.01)


def test_a_starved_solve_says_so_and_keeps_its_budget():
    _, found, products = solved(TOPS["a close pair"], 1, rtol=1e-9, max_hvps=10)
    assert not found.converged
    assert found.finite
    assert found.status == 1
    assert found.hvps == products == 10
    assert found.errors[0] > 1e-9 * found.values[0]


@pytest.mark.parametrize("name", ["apart", "a close pair", "double", "negative"])
def test_what_the_whole_matrix_says_of_its_values(name):
    matrix, found, products = solved(TOPS[name], 2, dense=True)
    exact = np.linalg.eigvalsh(matrix)[::-1]
    rounding = 10 * np.finfo(float).eps * np.abs(exact).max()
    np.testing.assert_allclose(found.values, exact[:2], rtol=1e-13)
    np.testing.assert_allclose(found.vectors @ matrix, found.values[:, None] * found.vectors, atol=100 * rounding)
    np.testing.assert_array_equal(found.errors, found.residuals)
    assert (found.residuals <= 10 * rounding).all()
    np.testing.assert_allclose(found.upper, exact[0] + rounding, rtol=1e-14, atol=11 * rounding)
    assert found.upper >= exact[0]
    np.testing.assert_array_equal(found.simple, gaps(exact, 2) > 2 * rounding)
    assert found.converged
    assert found.status == 0
    assert found.hvps == products == P
