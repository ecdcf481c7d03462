"""Gradient descent on the root of the loss in Phase I."""

import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, path_integral, sqrt_gd_step, trajectory
from eosbench.problems import curved_valley, raised_valley, rippled_trough, skewed_valley, valley

from .setting import ETAS, START, first_rise, loss_along


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
    evidence.at_most("√L at its first rise, over eta", np.array(roots) / etas, 3)
    evidence.constant("T_1 over ∫ 2 √L dt", 1.0, times[-1] / duration, 0.005)
