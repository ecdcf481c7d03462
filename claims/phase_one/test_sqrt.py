"""Gradient descent on the root of the loss in Phase I."""

import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, path_integral, sqrt_gd_step, trajectory
from eosbench.problems import curved_valley, raised_valley, rippled_trough, skewed_valley, valley

from .setting import ETAS, START, across_the_manifold, first_rise, loss_along


def root_rate(loss, factor):
    """Gradient flow on √L is that on L, slowed by `2 √L`."""
    return lambda x: factor * jnp.sqrt(loss(x))


sqrt_monotone = Claim(
    "phase-one/sqrt-monotone",
    source=Source("arora-talk", "Phase 1"),
    printed=r"Loss monotonically decreases till it becomes $\mathcal{O}(\eta)$ in $\Theta(1/\eta)$ steps.",
    expected="holds",
)


@sqrt_monotone.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    etas=ETAS,
    controls={
        "plain gradient descent": dict(step=gd_step),
        "the constant a square root of two off": dict(factor=2**0.5),
        "the minimum is not zero": dict(loss=raised_valley),
    },
)
def test_the_root_falls_until_it_is_of_order_eta(evidence, loss, etas, step=sqrt_gd_step, factor=2.0):
    duration = float(path_integral(loss, START[loss], root_rate(loss, factor)))
    steps = round(3 * duration / min(etas))
    times, roots = [], []
    for eta in etas:
        x = trajectory(step(loss, eta), START[loss], steps)
        rise = first_rise(loss, x)
        times.append(eta * rise)
        roots.append(float(jnp.sqrt(loss(x[rise]))))
        values = np.sqrt(loss_along(loss, x))[: round(1.5 * duration / eta)]
        evidence.series(
            f"eta = {eta:g}", eta * np.arange(len(values)), values, axes=("time eta t", "√L"), scale="semilogy"
        )
    top = across_the_manifold(loss)[1][0]
    evidence.at_most("√L at its first rise, over ¼ eta λ_1", np.array(roots) / etas / (top / 4), 1 + np.array(etas))
    evidence.constant("T_1 over ∫ 2 √L dt", 1.0, times[-1] / duration, 0.005)


def rise_along(distance, loss, step, point, direction):
    """By how much the loss rises in a step from there."""
    x = jnp.asarray(point + distance * direction)
    return float(loss(step(x)) - loss(x))


@sqrt_monotone.check(
    loss=[curved_valley, valley, skewed_valley, rippled_trough],
    etas=ETAS,
    controls={"along the second eigenvector": dict(which=2)},
)
def test_the_root_rises_from_a_quarter_of_eta_lambda_down(evidence, loss, etas, which=1):
    """Not printed: along v_1 the root falls above ¼ eta λ_1 and rises below, which is the highest that it can rise.

    It is the mean over both sides of Γ, up to terms of order eta².
    """
    limit, spectrum, across = across_the_manifold(loss)
    direction, curvature = across[:, which - 1], spectrum[which - 1]
    levels = []
    for eta in etas:
        step, about, sides = sqrt_gd_step(loss, eta), eta * np.sqrt(curvature / 8), []
        for side in (direction, -direction):
            distance = brentq(rise_along, about / 2, 3 * about / 2, args=(loss, step, limit, side), xtol=1e-14)
            sides.append(float(jnp.sqrt(loss(limit + distance * side))))
        levels.append(np.mean(sides))
    evidence.constant("1/4 in √L = 1/4 eta λ_1", 1 / 4, np.array(levels) / etas / spectrum[0], 0.0005)
    evidence.rate("√L from which on it may rise", etas, levels, exponent=1, tolerance=0.005)
