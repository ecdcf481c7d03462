"""Below the edge of stability the factors of a product come nearer to each other."""

import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, trajectory
from eosbench.problems import scalar_factorization
from eosbench.proof import Identity, prove_identity


def scalar_sharpness(factors):
    """The larger eigenvalue of the Hessian of the scalar factorization."""
    x, y = factors
    return (x**2 + y**2) / 2 + jnp.hypot((x**2 - y**2) / 2, 2 * x * y - 1)


below_the_edge = Claim(
    "balancing/below-the-edge",
    source=Source("chen-bruna-poster", "II, Previous balancing effects, [Wang2022]"),
    printed="[Wang2022] GD below EoS: $x^2 - y^2$ gets smaller, but not 0.",
    expected="holds",
)


@below_the_edge.check(
    eta=[0.3, 0.6, 0.9, 0.97],
    controls={
        "beyond the edge it goes to 0": dict(eta=1.1, start=(1.1, 0.5)),
        "eta < 1, but eta S > 2 at the start": dict(eta=0.3, start=(2.94, 2.01)),
        "the factor 1 - eta (xy - 1)² instead": dict(power=1),
    },
)
def test_every_step_shrinks_the_difference_of_squares(evidence, eta, power=2, start=None):
    """Below the edge: eta S < 2, S the sharpness, at every step; by 1/2 %, so that the path has converged in the end.

    The factor is not printed: one step multiplies x² - y² by 1 - eta² (xy - 1)², exactly. Next to the saddle at 0 that
    is 1 - eta², for the few steps that it takes to get away: "not 0" is therefore taken as 1e-6 of the start.
    """
    side = np.linspace(0.025, 2.975, 60)
    starts = np.stack(np.meshgrid(side, side)).reshape(2, -1) if start is None else np.array(start)[:, None]
    x, y = starts
    starts = starts[:, (x != y) & (np.abs(x * y - 1) > 1e-3)]  # where nothing can get smaller
    step, steps = gd_step(scalar_factorization, eta), 2000
    kept = (eta * np.asarray(trajectory(step, starts, steps, scalar_sharpness)) < 1.99).all(0)
    evidence.requires("eta S < 2 on the whole path, for some starts", kept.any())
    x, y = np.moveaxis(np.asarray(trajectory(step, starts[:, kept] if kept.any() else starts, steps)), 1, 0)
    difference, factor = x**2 - y**2, 1 - eta**power * (x * y - 1) ** 2
    size, first, last = (x**2 + y**2).max(), np.abs(difference[0]), np.abs(difference[-1])
    evidence.equal("x² - y² after a step", difference[1:], factor[:-1] * difference[:-1], scale=size)
    whole = difference[0] * np.prod(factor[:-1], axis=0)
    evidence.equal("x² - y² in the end", difference[-1], whole, ulps=4 * steps, scale=size)
    rounding = np.finfo(float).eps * size
    evidence.at_most("what a step adds to |x² - y²|", np.diff(np.abs(difference), axis=0), 64 * rounding)
    share, error = last / first, 4 * steps * rounding / first
    evidence.at_most("|x² - y²| in the end, over its start", share, 1, uncertainty=error)
    evidence.at_least("|x² - y²| in the end, over its start", share, 1e-6, uncertainty=error)
    evidence.at_most("loss in the end", (x[-1] * y[-1] - 1) ** 2 / 2, 1e-12)

    at = np.argsort(share)[[0, share.size // 2]]  # the one that shrinks most, and the middle one
    axes = ("step", "x² - y², over its start")
    evidence.series(f"eta = {eta:g}, most", np.arange(101), difference[:101, at[0]] / difference[0, at[0]], axes=axes)
    evidence.series(f"eta = {eta:g}, median", np.arange(101), difference[:101, at[1]] / difference[0, at[1]], axes=axes)


@below_the_edge.check(controls={"1.02 in place of 1": dict(one="51/50")})
def test_the_factor_of_a_step(evidence, one="1"):
    """For every step size and start: 1 - eta² (xy - 1)²."""
    identity = Identity(
        (("x² - y² after a step", "(x - eta*r*y)**2 - (y - eta*r*x)**2", "=", f"({one} - eta**2*r**2)*(x**2 - y**2)"),),
        "x y eta",
        where={"r": "x*y - 1"},
    )
    evidence.proved("from every start", prove_identity(identity), identity.theorem)
