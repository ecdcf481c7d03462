import jax
import numpy as np
import pytest

from eosbench.dynamics._maps import iterate, normalized_gd, sqrt_gd
from eosbench.problems._quadratic import Quadratic, alignment_rate, warm_up_step

BASIS = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
SPECTRUM = np.array([2.0, 1.1, 0.4, 0.1])


def test_a_quadratic_has_the_spectrum_and_the_basis_asked_for():
    loss = Quadratic.with_spectrum(SPECTRUM, BASIS)
    np.testing.assert_allclose(jax.hessian(loss)(np.ones(4)) @ BASIS, BASIS * SPECTRUM, atol=1e-14)
    assert loss(BASIS[:, 1]) == pytest.approx(0.55)
    np.testing.assert_array_equal(Quadratic.with_spectrum(SPECTRUM).hessian, np.diag(SPECTRUM))


def test_one_warm_up_step_by_hand():
    np.testing.assert_allclose(
        iterate(warm_up_step(np.diag([2.0, 1.0])), [3.0, 4.0], 1), [3 - 6 / 5, 4 - 4 / 5], rtol=1e-15
    )


def test_the_warm_up_map_is_both_methods_in_other_variables():
    loss, x0, eta = Quadratic.with_spectrum(SPECTRUM, BASIS), np.array([1.0, -0.5, 0.7, 2.0]), 0.1
    A = np.asarray(loss.hessian)
    root = BASIS * np.sqrt(2 * SPECTRUM) @ BASIS.T
    for run, change in [(normalized_gd, A), (sqrt_gd, root)]:
        expected = change @ np.asarray(run(loss, x0, eta, 50)) / eta
        np.testing.assert_allclose(iterate(warm_up_step(A), change @ x0 / eta, 50), expected, rtol=1e-10)


@pytest.mark.parametrize("C", [0.3, 0.55])
def test_the_alignment_rate_is_the_linearized_double_step(C):
    # The alternation of the top component is exact; a tiny second component is multiplied by the rate.
    step, r = warm_up_step(np.diag([1.0, 0.6])), 0.6
    x = np.asarray(iterate(step, [C, 1e-9], 2))
    np.testing.assert_allclose(x, [C, 1e-9 * alignment_rate(r, C)], rtol=1e-9)
