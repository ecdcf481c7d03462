"""Gradient flow leaves the factors of a product as unbalanced as they are."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source, dynamics
from eosbench.dynamics import gd_step, trajectory
from eosbench.problems import scalar_factorization
from eosbench.proof import Identity, prove_identity

STARTS = np.array([[1.5, 0.5], [0.3, 0.2], [2.0, -0.4], [0.1, 1.9], [-1.2, -0.3]])


def decayed_factorization(factors):
    """The scalar factorization with weight decay on x alone."""
    return scalar_factorization(factors) + 0.05 * jnp.sum(factors[0] ** 2)


gradient_flow = Claim(
    "balancing/gradient-flow",
    source=Source("chen-bruna-poster", "II, Previous balancing effects, [Du2018]"),
    printed="[Du2018] GF: $x^2 - y^2$ remains unchanged.",
    expected="holds",
)


@gradient_flow.check(
    controls={
        "gradient descent instead": dict(method="descent"),
        "weight decay on x": dict(loss=decayed_factorization),
    }
)
def test_gradient_flow_conserves_the_difference_of_squares(evidence, method="flow", loss=scalar_factorization):
    times = np.linspace(0, 20, 101)
    if method == "flow":
        paths = jax.vmap(lambda start: dynamics.gradient_flow(loss, start, times, rtol=1e-11, atol=1e-13))(STARTS)
    else:
        paths = jnp.moveaxis(trajectory(gd_step(loss, 0.2), STARTS.T, 100), 2, 0)
    x, y = np.moveaxis(np.asarray(paths), 2, 0)
    difference = x**2 - y**2
    evidence.at_most("change of x² - y²", np.abs(difference - difference[:, :1]), 1e-9)
    evidence.at_most("distance from the minimizers in the end", np.abs(x[:, -1] * y[:, -1] - 1), 1e-3)
    for start, path in zip(STARTS[:3], difference, strict=False):
        evidence.series(f"from ({start[0]:g}, {start[1]:g})", times, path, axes=("time", "x² - y²"))


@gradient_flow.check(proves=True, controls={"a flow in y that is 2 % faster": dict(faster="51/50")})
def test_the_difference_of_squares_has_no_derivative(evidence, faster="1"):
    """Along dx/dt = -∂L/∂x and dy/dt = -∂L/∂y it is 2 x dx/dt - 2 y dy/dt, for L = (xy - 1)²/2 and any other f(xy).

    The derivatives are the terms of first order in a change (a, b); r stands for f', whatever it is.
    """
    identity = Identity(
        (
            ("xy in first order", "(x + a)*(y + b)", "=", "x*y + (y*a + x*b) + a*b"),
            ("d(x² - y²)/dt", f"2*x*(-r*y) - {faster}*2*y*(-r*x)", "=", "0"),
        ),
        "x y a b r",
    )
    evidence.proved("from every start", prove_identity(identity), identity.theorem)
