"""The step at which the loss ceases to fall, beside closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import brentq

from eosbench import CriticalSharpness, linearize, train

CURVATURES = np.asarray([3.0, 1.0, 0.01])


def quadratic(w):
    return jnp.sum(jnp.asarray(CURVATURES) * w**2) / 2


SHARP = CriticalSharpness(rtol=1e-6, max_evaluations=200)


def at(loss, start, probe=SHARP):
    def measure(w):
        point = linearize(loss, w)
        return probe.measure(point, probe.init(point))[0]

    return jax.jit(measure)(jnp.asarray(start))


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_on_a_quadratic_it_is_the_rayleigh_quotient_of_the_gradient(unit):
    start = np.asarray([1.0, -2.0, 5.0])
    g = CURVATURES * start
    found = at(lambda w: unit * quadratic(w), start)
    assert float(found.value) == pytest.approx(unit * (g**2 @ CURVATURES) / (g @ g), rel=1e-6)
    assert found.converged


def test_beyond_a_quadratic_it_is_where_the_loss_is_what_it_was():
    loss, start = (lambda w: jnp.sum(w**4 - w**3 + 3 * w**2)), 1.3
    slope = 4 * start**3 - 3 * start**2 + 6 * start
    value = lambda x: x**4 - x**3 + 3 * x**2  # noqa: E731
    eta = brentq(lambda eta: value(start - eta * slope) - value(start), 1e-3, 10)
    assert float(at(loss, [start]).value) == pytest.approx(2 / eta, rel=1e-6)


def test_it_falls_though_the_sharpness_stays():
    probe = CriticalSharpness()
    run = train(quadratic, jnp.asarray([1.0, 1.0, 1.0]), optax.sgd(1.5 / 3), 300, {"critical": probe})
    record = run.probes["critical"]
    assert bool(record.converged.all())
    assert record.value[0] > 2.5
    assert float(record.value[-1]) == pytest.approx(0.01, rel=0.02)
    assert 5 < float(record.evaluations.mean()) < 15


@pytest.mark.parametrize(
    ("loss", "start"),
    [
        (quadratic, [0.0, 0.0, 0.0]),
        (lambda w: w @ jnp.ones(3), [1.0, 1.0, 1.0]),
        (lambda w: -quadratic(w), [1.0, 1.0, 1.0]),
        (lambda w: jnp.nan * quadratic(w), [1.0, 1.0, 1.0]),
    ],
    ids=["no gradient", "a plane", "a hill", "not finite"],
)
def test_where_there_is_none_it_says_so(loss, start):
    found = at(loss, start, CriticalSharpness())
    assert not found.converged
    assert np.isnan(found.value)


def test_in_the_coordinates_of_a_scaled_point():
    scale = jnp.asarray([2.0, 0.5, 0.1])
    start = jnp.asarray([1.0, -2.0, 5.0])

    def measure(w):
        point = linearize(quadratic, w).preconditioned(scale)
        return SHARP.measure(point, SHARP.init(point))[0].value

    root = np.sqrt(np.asarray(scale))
    g = root * CURVATURES * np.asarray(start)
    assert float(jax.jit(measure)(start)) == pytest.approx(g**2 @ (root**2 * CURVATURES) / (g @ g), rel=1e-6)


def test_its_numbers_are_checked():
    with pytest.raises(ValueError, match="rtol of CriticalSharpness is 2"):
        CriticalSharpness(rtol=2)
    with pytest.raises(ValueError, match="max_evaluations of CriticalSharpness is 0"):
        CriticalSharpness(max_evaluations=0)
