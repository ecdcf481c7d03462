"""Curvature along a step and half-way, beside closed forms."""

import itertools

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eosbench import Every, GradientAlignment, Midpoint, Sharpness, StepCurvature, train

CURVATURES = np.asarray([3.0, 1.0, 0.2])
START = np.asarray([1.0, -2.0, 0.5])


def quadratic(w):
    return jnp.sum(jnp.asarray(CURVATURES) * w**2) / 2


def quartic(w):
    """Third derivatives too, so that start, middle and end of a step differ."""
    return quadratic(w) + jnp.sum(w**3) / 6 + jnp.sum(w**4) / 24


def path(eta, steps, gradient):
    points = [START]
    for _ in range(steps):
        points.append(points[-1] - eta * gradient(points[-1]))
    return np.asarray(points)


def slope(w):
    return CURVATURES * w + w**2 / 2 + w**3 / 6


def test_on_a_quadratic_all_three_are_the_rayleigh_quotient_of_the_step():
    run = train(quadratic, jnp.asarray(START), optax.sgd(0.3), 6, {"step": StepCurvature()})
    steps = np.diff(path(0.3, 5, lambda w: CURVATURES * w), axis=0)
    expected = (steps**2 @ CURVATURES) / (steps**2).sum(1)
    for record in run.probes["step"]:
        assert np.isnan(record[0])
        assert np.asarray(record[1:]) == pytest.approx(expected, rel=1e-9)


def test_each_is_what_its_name_says():
    eta, points = 0.2, path(0.2, 4, slope)
    record = train(quartic, jnp.asarray(START), optax.sgd(eta), 5, {"step": StepCurvature()}).probes["step"]
    for t in range(4):
        x, y = points[t], points[t + 1]
        d, length = y - x, np.sum((y - x) ** 2)
        rise = float(quartic(jnp.asarray(y)) - quartic(jnp.asarray(x)))
        assert float(record.from_losses[t + 1]) == pytest.approx(2 * (rise - slope(x) @ d) / length, rel=1e-9)
        secant = slope(x) @ (slope(x) - slope(y)) / (eta * slope(x) @ slope(x))
        assert float(record.secant[t + 1]) == pytest.approx(secant, rel=1e-9)
        hessian = CURVATURES + y + y**2 / 2
        assert float(record.rayleigh[t + 1]) == pytest.approx(d**2 @ hessian / length, rel=1e-9)


def test_small_steps_do_not_vanish_in_single_precision():
    start = jnp.asarray(1e-20 * START, jnp.float32)
    loss = lambda w: jnp.sum(jnp.asarray(CURVATURES, jnp.float32) * w**2) / 2  # noqa: E731
    record = train(loss, start, optax.sgd(0.3), 3, {"step": StepCurvature()}).probes["step"]
    d = CURVATURES * START
    assert float(record.secant[1]) == pytest.approx(d**2 @ CURVATURES / (d @ d), rel=1e-5)
    assert float(record.rayleigh[1]) == pytest.approx(float(record.secant[1]), rel=1e-5)


def test_the_middle_of_a_step():
    run = train(quartic, jnp.asarray(START), optax.sgd(0.2), 5, {"middle": Midpoint(Sharpness(k=2))})
    points = path(0.2, 4, slope)
    middles = np.concatenate([points[:1], (points[1:] + points[:-1]) / 2])
    expected = np.sort(CURVATURES + middles + middles**2 / 2, axis=1)[:, :0:-1]
    assert np.asarray(run.probes["middle"].values) == pytest.approx(expected, rel=1e-9)


def test_under_every_the_way_is_that_between_measurements():
    probes = {"step": Every(2, StepCurvature()), "middle": Every(2, Midpoint(Sharpness()))}
    run = train(quartic, jnp.asarray(START), optax.sgd(0.2), 5, probes)
    points = path(0.2, 4, slope)[::2]
    d = np.diff(points, axis=0)
    change = np.asarray([slope(y) - slope(x) for x, y in itertools.pairwise(points)])
    assert np.asarray(run.probes["step"].secant[1:]) == pytest.approx((change * d).sum(1) / (d**2).sum(1), rel=1e-9)
    middles = (points[1:] + points[:-1]) / 2
    largest = (CURVATURES + middles + middles**2 / 2).max(1)
    assert np.asarray(run.probes["middle"].values[1:, 0]) == pytest.approx(largest, rel=1e-9)


@pytest.mark.parametrize("p", [3, 300])
def test_alignment_is_the_squared_cosine_with_each_eigenvector(p):
    random = np.random.default_rng(p)
    turned, _ = np.linalg.qr(random.normal(size=(p, p)))
    values = np.concatenate([[4.0, 2.5, 2.0], np.linspace(0, 1, p - 3)])
    hessian = (turned * values) @ turned.T
    start = random.normal(size=p)
    probe = GradientAlignment(Sharpness(k=3, rtol=1e-9))
    run = train(lambda w: w @ jnp.asarray(hessian) @ w / 2, jnp.asarray(start), optax.sgd(0.1), 4, {"aligned": probe})
    record = run.probes["aligned"]
    w = start
    for t in range(4):
        g = hessian @ w
        expected = (turned[:, :3].T @ g) ** 2 / (g @ g)
        assert np.asarray(record.cosines[t]) == pytest.approx(expected, rel=1e-3, abs=1e-8)
        w = w - 0.1 * g
    assert np.asarray(record.track.values[-1]) == pytest.approx([4, 2.5, 2], rel=1e-8)
