"""Beyond the edge of stability the factors of a product become equal."""

import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import ends_where, gd_step, trajectory
from eosbench.problems import both_positive, factorization_starts, scalar_factorization
from eosbench.proof import Identity, prove_identity

scalar = Claim(
    "balancing/scalar",
    source=Source("chen-bruna-poster", "II, Convergence: a special 2D function"),
    printed=(
        r"Loss: $f(x, y) = \frac{1}{2}(xy - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: some conditions "
        r"that guarantee $x, y > 0$ always. Balancing effect: $|x - y| \rightarrow 0$ despite of different init. "
        r"[Outside the stable set of the minimizers, as orbit/scalar-factorization finds.]"
    ),
    expected="holds",
    coarse=(
        r"A range up to $\eta = 1.5$ would pass, for the factors become equal there too: 1.121 is where the document's "
        r"proof ends. The 1 is told to 1 %."
    ),
    uses=("orbit/quartic", "orbit/scalar-factorization"),
)


@scalar.check(
    eta=[1.01, 1.05, 1.10, 1.12],
    controls={"below the edge x and y settle unbalanced": dict(eta=0.99), "far below the edge": dict(eta=0.3)},
)
def test_the_factors_become_equal(evidence, eta):
    step = gd_step(scalar_factorization, eta)
    x, y = np.asarray(ends_where(step, factorization_starts(50), 4000, both_positive))
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("x, y > 0 always, for some starts", x.size > 0)
    evidence.at_most("|x - y| in the end", np.abs(x - y), 1e-8)

    x, y = np.asarray(trajectory(step, np.array([0.3, 0.2]), 300)).T
    axes = ("step", "|x - y|")
    evidence.series("from (0.3, 0.2)", np.arange(x.size), np.abs(x - y) + 1e-17, axes=axes, scale="semilogy")


@scalar.check(eta=[1.01, 1.05, 1.10, 1.12, 1.2], controls={"beyond sqrt(5)-1 the orbit has period 4": dict(eta=1.25)})
def test_two_steps_on_the_orbit_multiply_the_difference_by_3_minus_2_eta(evidence, eta):
    """The factor is not printed; it is the product of `1 + eta (delta² - 1)` over the orbit."""
    evidence.requires("1 < eta < √5 - 1", 1 < eta < 5**0.5 - 1)
    steps = 3000
    x, y = np.asarray(trajectory(gd_step(scalar_factorization, eta), np.array([1.05, 0.95]), steps)).T
    difference = x - y
    settled = np.arange(0, steps, 2)
    settled = settled[(np.abs(difference[settled]) < 1e-5) & (np.abs(difference[settled]) > 1e-9)]
    evidence.requires("|x - y| passes through [1e-9, 1e-5]", settled.size > 0)
    factor = np.median(difference[settled + 2] / difference[settled])
    evidence.constant("2 in the factor 3 - 2 eta", 2.0, (3 - factor) / eta, 1e-3)


@scalar.check(controls={"2.04 in place of 2": dict(two="51/25")})
def test_the_two_step_factor_is_3_minus_2_eta(evidence, two="2"):
    """A step multiplies x - y by 1 + eta (xy - 1), which is 1 + eta (delta² - 1) on the orbit.

    The squares u and v of delta_1 and delta_2 have eta (u + v) = 1 + eta and eta² u v = 1 (orbit/quartic).
    """
    name = "the product over the orbit"
    statements = (
        ("the gradient", "1/2*((x + a)*(y + b) - 1)**2", "=", "1/2*r**2 + r*(y*a + x*b) + 1/2*(y*a + x*b)**2 + rest"),
        ("x - y after a step", "(x - eta*r*y) - (y - eta*r*x)", "=", "(1 + eta*r)*(x - y)"),
        (name, "(1 + eta*(u - 1))*(1 + eta*(v - 1))", "=", f"3 - {two}*eta"),
    )
    identity = Identity(
        statements,
        "x y a b eta u v",
        where={"r": "x*y - 1", "rest": "a*b*(r + y*a + x*b + 1/2*a*b)"},
        given=(("eta*(u + v)", "1 + eta"), ("eta**2*u*v", "1")),
        remainder={name: "(1 - eta)*given1 + given2"},
    )
    evidence.proved("for every step size", prove_identity(identity), identity.theorem)
