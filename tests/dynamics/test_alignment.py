import jax.numpy as jnp
import numpy as np
import pytest

from eosbench.dynamics._alignment import angle_to_top
from eosbench.problems import Quadratic, curved_valley, curved_valley_point, valley

BASIS = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_the_angle_on_a_quadratic(exponent):
    loss, components = Quadratic.with_spectrum([4.0, 1.0, 0.5], BASIS), np.array([-0.3, 0.1, 0.2])
    transformed = np.array([4.0, 1.0, 0.5]) ** exponent * components
    expected = np.arccos(abs(transformed[0]) / np.linalg.norm(transformed))
    assert angle_to_top(loss, jnp.asarray(BASIS @ components), exponent) == pytest.approx(expected, abs=1e-7)


def test_tangential_displacement_does_not_count():
    # Where there is one direction across the manifold, every iterate is aligned.
    assert angle_to_top(valley, jnp.array([1.2, 0.3]), 1.0) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(("order", "expected"), [(-1, 0.0), (-2, np.pi / 2)])
def test_next_to_the_surface_the_angle_is_that_of_the_displacement(order, expected):
    import jax

    point = curved_valley_point(np.array([0.9, 0.7]))
    direction = np.linalg.eigh(jax.hessian(curved_valley)(point))[1][:, order]
    assert angle_to_top(curved_valley, point + 1e-4 * direction, 1.0) == pytest.approx(expected, abs=1e-2)
