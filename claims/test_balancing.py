"""Gradient descent beyond the edge of stability balances the factors of a product (Chen and Bruna 2023)."""

import jax
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import gd_step, gradient_descent, gradient_flow, trajectory
from eosbench.problems import scalar_factorization

scalar = Claim(
    "balancing/scalar",
    source=Source("chen-bruna-poster", "II, Convergence: a special 2D function"),
    printed=(
        r"Loss: $f(x, y) = \frac{1}{2}(xy - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: some "
        r"conditions that guarantee $x, y > 0$ always. "
        r"Balancing effect: $|x - y| \rightarrow 0$ despite of different init."
    ),
    corrected=(
        r"Loss: $f(x, y) = \frac{1}{2}(xy - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: some "
        r"conditions that guarantee $x, y > 0$ always, outside the stable set of the minimizers $xy = 1$. "
        r"Balancing effect: $|x - y| \rightarrow 0$ despite of different init."
    ),
    expected="corrected",
    uses=("orbit/quartic",),
)


def positive(factors):
    return jnp.all(factors > 0, axis=0)


@scalar.check(
    eta=[1.01, 1.05, 1.10, 1.12],
    controls={"below the edge x and y settle unbalanced": dict(eta=0.9), "far below the edge": dict(eta=0.3)},
)
def test_the_factors_become_equal(evidence, eta):
    side = np.linspace(0.03, 2.97, 50)
    starts = np.stack(np.meshgrid(side, side)).reshape(2, -1)
    starts = starts[:, np.abs(starts.prod(0) - 1) > 1e-3]  # where xy = 1 gradient descent does not move
    step, steps = gd_step(scalar_factorization, eta), 4000
    kept = np.asarray(trajectory(step, starts, steps, positive)).all(0)
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("x, y > 0 always, for some starts", kept.any())
    x, y = np.asarray(gradient_descent(scalar_factorization, starts[:, kept], eta, steps))
    evidence.at_most("|x - y| in the end", np.abs(x - y), 1e-8)

    x, y = np.asarray(trajectory(step, np.array([0.3, 0.2]), 300)).T
    axes = ("step", "|x - y|")
    evidence.series("from (0.3, 0.2)", np.arange(x.size), np.abs(x - y) + 1e-17, axes=axes, scale="semilogy")


@scalar.check(eta=[1.01, 1.05, 1.10, 1.12, 1.2], controls={"beyond sqrt(5)-1 the orbit has period 4": dict(eta=1.25)})
def test_two_steps_on_the_orbit_multiply_the_difference_by_3_minus_2_eta(evidence, eta):
    """The factor is not printed; it is the product of ``1 + eta (1 - delta²)`` over the orbit."""
    steps = 3000
    x, y = np.asarray(trajectory(gd_step(scalar_factorization, eta), np.array([1.05, 0.95]), steps)).T
    difference = x - y
    settled = np.arange(0, steps, 2)
    settled = settled[(np.abs(difference[settled]) < 1e-5) & (np.abs(difference[settled]) > 1e-9)]
    evidence.requires("|x - y| passes through [1e-9, 1e-5]", settled.size > 0)
    factor = np.median(difference[settled + 2] / difference[settled])
    evidence.constant("2 in the factor 3 - 2 eta", 2.0, (3 - factor) / eta, 1e-3)


@scalar.counterexample(start=(2.0, 0.5), eta=1.1)
def test_a_positive_minimizer_stays_unbalanced(evidence, start, eta):
    path = np.asarray(trajectory(gd_step(scalar_factorization, eta), np.array(start), 3000))
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("x, y > 0 always", np.all(path > 0))
    evidence.at_most("|x - y| in the end", abs(path[-1, 0] - path[-1, 1]), 1e-8)


flow = Claim(
    "balancing/gradient-flow",
    source=Source("chen-bruna-poster", "II, Previous balancing effects, [Du2018]"),
    printed=r"[Du2018] GF: $x^2 - y^2$ remains unchanged.",
    expected="holds",
)

STARTS = np.array([[1.5, 0.5], [0.3, 0.2], [2.0, -0.4], [0.1, 1.9], [-1.2, -0.3]])


def decayed_factorization(factors):
    """The scalar factorization with weight decay on x alone."""
    return scalar_factorization(factors) + 0.05 * jnp.sum(factors[0] ** 2)


@flow.check(
    controls={
        "gradient descent instead": dict(method="descent"),
        "weight decay on x": dict(loss=decayed_factorization),
    }
)
def test_gradient_flow_conserves_the_difference_of_squares(evidence, method="flow", loss=scalar_factorization):
    times = np.linspace(0, 20, 101)
    if method == "flow":
        paths = jax.vmap(lambda start: gradient_flow(loss, start, times, rtol=1e-11, atol=1e-13))(STARTS)
    else:
        paths = jnp.moveaxis(trajectory(gd_step(loss, 0.2), STARTS.T, 100), 2, 0)
    x, y = np.moveaxis(np.asarray(paths), 2, 0)
    difference = x**2 - y**2
    evidence.at_most("change of x² - y²", np.abs(difference - difference[:, :1]), 1e-9)
    evidence.at_most("distance from the minimizers in the end", np.abs(x[:, -1] * y[:, -1] - 1), 1e-3)
    for start, path in zip(STARTS[:3], difference, strict=False):
        evidence.series(f"from ({start[0]:g}, {start[1]:g})", times, path, axes=("time", "x² - y²"))


below = Claim(
    "balancing/below-the-edge",
    source=Source("chen-bruna-poster", "II, Previous balancing effects, [Wang2022]"),
    printed=r"[Wang2022] GD below EoS: $x^2 - y^2$ gets smaller, but not 0.",
    expected="holds",
)


def scalar_sharpness(factors):
    """The larger eigenvalue of the Hessian of the scalar factorization."""
    x, y = factors
    return (x**2 + y**2) / 2 + jnp.hypot((x**2 - y**2) / 2, 2 * x * y - 1)


@below.check(
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
