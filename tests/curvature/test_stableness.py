import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.curvature import stableness
from eosbench.problems import Quadratic, quartic


def test_on_a_quadratic_it_is_eta_times_the_top_eigenvalue():
    loss = Quadratic.with_spectrum([3.0, 1.0, -5.0])
    assert stableness(loss, jnp.array([1.0, 2.0, 3.0]), 0.5) == pytest.approx(1.5)


@pytest.mark.parametrize(("x", "eta"), [(0.2, 0.5), (1.4, 0.3), (-0.5, 1.2)])
def test_on_the_quartic_the_supremum_is_at_an_end_of_the_segment(x, eta):
    # f'' = 3x² - 1 is convex.
    after = x - eta * (x**3 - x)
    assert stableness(quartic, jnp.array([x]), eta) == pytest.approx(eta * (3 * max(x**2, after**2) - 1))
    assert stableness(quartic, jnp.array([x]), eta, points=1, zooms=0) == pytest.approx(eta * (3 * x**2 - 1))


def test_an_interior_supremum_is_found_to_second_order():
    # The step from 0 to 1 passes the peak of the second derivative, 1, at 0.4.
    def loss(x):
        return jnp.sum(-x - (x - 0.4) ** 4 / 12 + x**2 / 2 - 0.4**3 * x / 3)

    assert stableness(loss, jnp.array([0.0]), 1.0, points=65, zooms=0) == pytest.approx(1.0, abs=(1 / 64) ** 2)
    assert np.isclose(stableness(loss, jnp.array([0.0]), 1.0, points=1, zooms=0), 1 - 0.4**2)
