import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import fsolve

from eosbench.dynamics._maps import gradient_descent
from eosbench.dynamics._orbits import amplitude_law, cycle_multiplier, scalar_derivatives, two_cycle
from eosbench.problems._scalar import quartic


def pseudo_huber(x):
    return jnp.sum(jnp.sqrt(1 + x**2))


def shifted_sine(x):
    """`½ sin²(x - 2)`."""
    return jnp.sum(jnp.sin(x - 2.0) ** 2) / 2


@pytest.mark.parametrize("eta", [1.001, 1.01, 1.1, 1.3, 1.55])
def test_the_quartic_orbit_has_the_exact_sum_and_product(eta):
    lower, upper = two_cycle(quartic, eta)
    assert lower < 1 < upper
    # Exact: delta_1 delta_2 = 1/eta and delta_1² + delta_2² = (1 + eta)/eta. Next to the bifurcation the root is nearly
    # double.
    np.testing.assert_allclose([lower * upper, lower**2 + upper**2], [1 / eta, (1 + eta) / eta], rtol=2e-15 / (eta - 1))


@pytest.mark.parametrize("eta", [1.01, 1.1, 1.23, 1.4])
def test_the_multiplier_of_the_quartic_orbit(eta):
    assert cycle_multiplier(quartic, eta, two_cycle(quartic, eta)) == pytest.approx(9 - 2 * (1 + eta) ** 2, abs=1e-12)


def test_an_even_loss_alternates_between_opposite_points():
    # sqrt(1+x²): x -> -x where eta = 2 sqrt(1+x²).
    np.testing.assert_allclose(
        two_cycle(pseudo_huber, 3.0, minimizer=0.0), np.sqrt(1.25) * np.array([-1, 1]), rtol=1e-14
    )


def test_an_orbit_found_by_general_root_finding():
    eta = 2.2

    def displacement(pair):
        return pair - eta * np.sin(pair - 2) * np.cos(pair - 2) - pair[::-1]

    np.testing.assert_allclose(
        two_cycle(shifted_sine, eta, minimizer=2.0), np.sort(fsolve(displacement, [1.6, 2.4], xtol=1e-14))
    )


@pytest.mark.parametrize("eta", [1.05, 1.2])
def test_gradient_descent_settles_on_the_orbit(eta):
    orbit = two_cycle(quartic, eta)
    x = gradient_descent(quartic, np.array([0.3, 0.9, 1.1]), eta, 2000)
    np.testing.assert_allclose(np.abs(np.asarray(x)[:, None] - orbit).min(1), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "eta", "minimizer"), [(quartic, 0.99, 1.0), (quartic, 1.0, 1.0), (pseudo_huber, 1.9, 0.0)]
)
def test_no_orbit_at_or_below_the_threshold(loss, eta, minimizer):
    with pytest.raises(ValueError, match=r"has no period-2 orbit around .*, where 2/f'' is "):
        two_cycle(loss, eta, minimizer)


def test_a_quadratic_has_no_orbit_above_the_threshold_either():
    with pytest.raises(ValueError, match="no period-2 orbit"):
        two_cycle(lambda x: jnp.sum(x**2), 1.3, minimizer=0.0)


def test_derivatives_of_one_variable():
    np.testing.assert_allclose(scalar_derivatives(jnp.tan, 0.0, 3), [1, 0, 2], atol=1e-15)
    np.testing.assert_allclose(scalar_derivatives(quartic, 1.0), [0, 2, 6, 6], atol=1e-14)


def test_the_amplitude_law_against_the_exact_orbit_of_the_quartic():
    law = amplitude_law(scalar_derivatives(quartic, 1.0))
    assert law == 4
    eta = 1 + 1e-6
    assert law * np.mean((two_cycle(quartic, eta) - 1) ** 2) == pytest.approx(1e-6, rel=1e-3)
