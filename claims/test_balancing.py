"""Gradient descent beyond the edge of stability balances the factors of a product (Chen and Bruna 2023)."""

import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Document, Source
from eosbench.dynamics import gd_step, gradient_descent, trajectory
from eosbench.problems import scalar_factorization

poster = Document("chen-bruna-poster", title="Beyond the Edge of Stability via Two-step Gradient Updates (poster)")

scalar = Claim(
    "balancing/scalar",
    source=Source(poster, "II, Convergence: a special 2D function"),
    printed=(
        r"Loss: $f(x, y) = \frac{1}{2}(xy - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: some "
        r"conditions that guarantee $x, y > 0$ always. "
        r"Balancing effect: $|x - y| \rightarrow 0$ despite of different init."
    ),
    expected="holds",
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
