import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.problems._scalar import (
    SquaredError,
    both_positive,
    factorization_starts,
    quartic,
    quartic_orbit,
    quartic_step_size,
    scalar_factorization,
)


def test_the_quartic_and_its_derivatives():
    x = np.array([0.3, -1.7, 1.0])
    assert quartic(x) == pytest.approx(0.25 * (0.91**2 + 1.89**2))
    np.testing.assert_allclose(jax.grad(quartic)(x), x**3 - x, atol=1e-15)
    np.testing.assert_allclose(jax.hessian(quartic)(x), np.diag(3 * x**2 - 1), atol=1e-14)


@pytest.mark.parametrize("eta", [1.0001, 1.05, 1.121, 1.49])
def test_the_printed_equation_has_the_exact_orbit_for_solutions(eta):
    # delta² = ((1 + eta) ∓ sqrt((eta - 1)(eta + 3)))/(2 eta), from F(F(x)) = x.
    root = np.sqrt((eta - 1) * (eta + 3))
    exact = np.sqrt(((1 + eta) + np.array([-root, root])) / (2 * eta))
    np.testing.assert_allclose(quartic_orbit(eta), exact, rtol=1e-13 / (eta - 1))


def test_the_printed_step_size_is_smallest_at_the_minimizer():
    assert quartic_step_size(1.0) == 1
    assert np.all(quartic_step_size(np.array([0.5, 0.99, 1.01, 1.15])) > 1)


@pytest.mark.parametrize("eta", [0.9, 1.0, 1.5, 2.0])
def test_no_orbit_where_the_printed_equation_has_no_two_solutions(eta):
    with pytest.raises(ValueError, match="must be between 1 and 3/2, where the printed"):
        quartic_orbit(eta)


def test_the_scalar_factorization_is_a_sum_over_columns():
    factors = np.array([[1.5, 0.3], [0.5, 2.0]])
    assert scalar_factorization(factors) == pytest.approx(0.5 * (0.25**2 + 0.4**2))
    residual = factors[0] * factors[1] - 1
    np.testing.assert_allclose(jax.grad(scalar_factorization)(factors), residual * factors[::-1], atol=1e-15)


def test_the_flattest_minimizer_of_the_factorization_has_sharpness_two():
    for x in (1.0, 1.3, 0.4):
        hessian = jax.hessian(scalar_factorization)(jnp.array([x, 1 / x]))
        assert np.linalg.eigvalsh(hessian)[-1] == pytest.approx(x**2 + x**-2)


def test_the_squared_error_of_a_model_has_its_edge_at_one_over_the_squared_slope():
    loss = SquaredError(jnp.sin, 0.5)
    x = np.array([0.5, 0.9])
    assert loss(x) == pytest.approx((np.sin(0.9) - np.sin(0.5)) ** 2)
    assert jax.hessian(loss)(jnp.array([0.5]))[0, 0] == pytest.approx(2 * np.cos(0.5) ** 2)


def test_starts_for_the_factorization_are_positive_and_off_its_minimizers():
    axis = [0.03 + i * (2.97 - 0.03) / 79 for i in range(80)]
    expected = {(round(x, 9), round(y, 9)) for x in axis for y in axis if abs(x * y - 1) > 1e-3}
    starts = factorization_starts(80)
    assert {(round(x, 9), round(y, 9)) for x, y in starts.T.tolist()} == expected
    assert len(expected) == starts.shape[1] < 80**2
    assert both_positive(starts).all()
    assert both_positive(jnp.array([[1.0, -1.0, 0.0, 2.0], [1.0, 1.0, 1.0, -0.1]])).tolist() == [
        True,
        False,
        False,
        False,
    ]
