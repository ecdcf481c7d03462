import jax
import numpy as np
import pytest

from eosbench.problems._factorization import MatrixFactorization, one_d_condition


def test_the_loss_and_its_gradient():
    random = np.random.default_rng(0)
    c, factors = random.standard_normal((3, 3)), random.standard_normal((2, 2, 3, 3))
    loss = MatrixFactorization(c)
    residuals = factors[:, 0] @ np.swapaxes(factors[:, 1], 1, 2) - c
    assert loss(factors) == pytest.approx((residuals**2).sum() / 2)
    gradient = jax.grad(loss)(factors)
    np.testing.assert_allclose(gradient[:, 0], residuals @ factors[:, 1], atol=1e-13)
    np.testing.assert_allclose(gradient[:, 1], np.swapaxes(residuals, 1, 2) @ factors[:, 0], atol=1e-13)


@pytest.mark.parametrize("d", [2, 4])
def test_the_condition_against_the_hessians_top_eigenvector(d):
    """Along (A, B): L'' = |P|², L''' = 6<P, Q>, L'''' = 12|Q|² with P = A Zᵀ + Y Bᵀ and Q = A Bᵀ."""
    random = np.random.default_rng(d)
    y = np.eye(d) + 0.3 * random.standard_normal((d, d))
    c = np.diag(np.linspace(1, 0.4, d))
    factors = np.stack([y, np.linalg.solve(y, c).T])
    hessian = jax.hessian(lambda x: MatrixFactorization(c)(x.reshape(2, d, d)))(factors.ravel())
    values, vectors = np.linalg.eigh(hessian)
    a, b = vectors[:, -1].reshape(2, d, d)
    p, q = a @ factors[1].T + y @ b.T, a @ b.T
    assert values[-1] == pytest.approx((p**2).sum())
    expected = 3 * (6 * (p * q).sum()) ** 2 - (p**2).sum() * 12 * (q**2).sum()
    assert one_d_condition(factors) == pytest.approx(expected, rel=1e-9)


def test_the_condition_vanishes_where_the_singular_vectors_are_orthogonal():
    assert one_d_condition(np.stack([np.diag([3, 0.1]), np.diag([1 / 3, 5])])) == 0
