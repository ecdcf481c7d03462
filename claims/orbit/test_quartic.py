"""The orbit of period two on ¼ (x² - 1)²."""

from fractions import Fraction

import numpy as np

from eosbench import Claim, Source, problems
from eosbench.dynamics import cycle_multiplier, gd_step, gradient_descent, trajectory, two_cycle
from eosbench.problems import quartic_step_size
from eosbench.proof import Identity, prove_identity, prove_trap, prove_two_cycle, quartic_descent

LOSS = dict(loss="1/4*(x**2 - 1)**2", minimizer="1", unit="1")


def orbit_theorem(etas, orbit):
    """One orbit of period two in (0, 5/4], one point on each side of 1, for all these step sizes."""
    return dict(kind="two-cycle", **LOSS, search=("0", "5/4"), eta=etas, orbit=orbit)


def trap_theorem(etas):
    """An interval within [0, 5/4] that draws every start from (0, 1) in, and on which F falls and F o F rises."""
    return dict(kind="trap", **LOSS, within=("0", "5/4"), eta=etas)


quartic = Claim(
    "orbit/quartic",
    source=Source("chen-bruna-poster", "II, Convergence: a special 1D function"),
    printed=(
        r"Loss: $f(x) = \frac{1}{4}(x^2 - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: any point $x_0 \in "
        r"(0, 1)$. Convergence: it converges to a period-2 orbit $\{x = \delta_i \mid i = 1, 2\}$ where $\delta_1, "
        r"\delta_2$ are the positive solutions of $\eta = \frac{1}{\delta^2 (\sqrt{\frac{1}{\delta^2} - \frac{3}{4}} + "
        r"\frac{1}{2})}$."
    ),
    corrected=(
        r"Loss: $f(x) = \frac{1}{4}(x^2 - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: any point $x_0 \in "
        r"(0, 1)$ that is not one of the countably many preimages of the fixed point 1. Convergence: it converges to a "
        r"period-2 orbit $\{x = \delta_i \mid i = 1, 2\}$ where $\delta_1, \delta_2$ are the positive solutions of "
        r"$\eta = \frac{1}{\delta^2 (\sqrt{\frac{1}{\delta^2} - \frac{3}{4}} + \frac{1}{2})}$."
    ),
    expected="corrected",
    severity="missing hypothesis",
)


@quartic.check(
    etas=("1.001", "1.121"),
    controls={
        "below the edge": dict(etas=("0.95", "0.951")),
        "across the edge": dict(etas=("0.9995", "1.0005")),
        "beyond sqrt(5)-1": dict(etas=("1.2365", "1.237")),
    },
)
def test_the_orbit_is_proved_for_every_step_size(evidence, etas):
    """Two points, alone in (0, 5/4], which attract; every start in (0, 1) ends there or, in finite time, at 1."""
    low, high = map(Fraction, etas)
    evidence.requires("1 < eta <= 1.121", low > 1 and high <= Fraction("1.121"))
    certificate = prove_two_cycle(quartic_descent(), low, high)
    evidence.proved("one orbit in (0, 5/4], and it attracts", certificate, orbit_theorem(etas, "attracts"))
    evidence.proved("every start is drawn in", prove_trap(quartic_descent(), low, high), trap_theorem(etas))


@quartic.check(proves=True, controls={"8 in place of 9": dict(nine="8"), "9 by 2 % more": dict(nine="459/50")})
def test_the_rest_of_the_range_by_exact_identities(evidence, nine="9"):
    """For eta from 1 on: two positive period-2 points, that attract; every start in (0, 1) ends there, or at 1.

    With u = x² they solve eta² u² - eta (1 + eta) u + 1 = 0, with discriminant eta² (eta - 1)(eta + 3), and so do those
    of the printed equation, where w is the bracket, 1/(eta u), and w >= 1/2. The other factor of F(F(x)) - x has the
    roots ±sqrt((2 + eta)/eta), which lie beyond 5/4. The trap, within [0, 5/4], is proved by boxes from eta = 1 on: in
    it F(F(x)) moves every point to one of its fixed points, which are 1 and these two; and 1 repels.
    With eta = 1 + a and a + c = 0.121 for a > 0 and c >= 0, the multiplier 9 - 2(1 + eta)² lies in (-1, 1).
    """
    multiplier, below, above = "multiplier", "multiplier < 1", "multiplier > -1"
    others, branch, printed = "(2 + eta)/eta > 25/16", "eta u < 2 up to 5/4", "the printed equation"
    statements = (
        (
            "F(F(x)) - x",
            "y - eta*y*(y**2 - 1) - x",
            "=",
            "eta*x*(x**2 - 1)*(eta*x**2 - eta - 2)*(eta**2*x**4 - eta*(1 + eta)*x**2 + 1)",
        ),
        ("discriminant", "(eta*(1 + eta))**2 - 4*eta**2", "=", "eta**2*(eta - 1)*(eta + 3)"),
        (multiplier, "(1 + eta - 3*eta*u)*(1 + eta - 3*eta*v)", "=", f"{nine} - 2*(1 + eta)**2"),
        (below, "1", ">", "9 - 2*(2 + a)**2"),
        (above, "9 - 2*(2 + a)**2", ">", "-1"),
        (others, "16*(3 + a)", ">", "25*(1 + a)"),
        (branch, "2", ">", "25/16*(1 + a)"),
        (printed, "eta**2*u**2 - eta*(1 + eta)*u + 1", "=", "0"),
    )
    identity = Identity(
        statements,
        "x eta u v w a c",
        where={"y": "x - eta*x*(x**2 - 1)"},
        given=(
            ("eta*(u + v)", "1 + eta"),
            ("eta**2*u*v", "1"),
            ("a + c", "121/1000"),
            ("eta*u*w", "1"),
            ("u*((w - 1/2)**2 + 3/4)", "1"),
        ),
        positive="a",
        nonnegative="c",
        remainder={
            multiplier: "-3*(1 + eta)*given1 + 9*given2",
            above: "-2*(4 + 121/1000 + a)*given3",
            others: "-9*given3",
            branch: "-25/16*given3",
            printed: "eta**2*u*given5 - (2 + given4 - eta*u)*given4",
        },
        excess={
            below: "8*a + 2*a**2",
            above: "2*(501359/1000000 + 4*c + c*(121/1000 + a))",
            others: "21911/1000 + 9*c",
            branch: "3975/16000 + 25/16*c",
        },
    )
    evidence.proved("orbit and multiplier for 1 < eta <= 1.121", prove_identity(identity), identity.theorem)
    trap = prove_trap(quartic_descent(), Fraction(1), Fraction("1.121"))
    evidence.proved("every start is drawn in", trap, trap_theorem(("1", "1.121")))


@quartic.check(
    part=[("1.121", "1.236", "attracts"), ("1.2361", "1.24", "repels")],
    controls={
        "it does not attract beyond sqrt(5)-1": dict(part=("1.2361", "1.24", "attracts")),
        "it does not repel before": dict(part=("1.235", "1.236", "repels")),
    },
)
def test_the_true_range_ends_at_sqrt_5_minus_1(evidence, part):
    """Not printed: the orbit attracts well beyond 1.121, which is where F o F ceases to be monotone on the trap."""
    low, high = map(Fraction, part[:2])
    certificate = prove_two_cycle(quartic_descent(), low, high, part[2])
    evidence.proved(f"one orbit in (0, 5/4], and it {part[2]}", certificate, orbit_theorem(part[:2], part[2]))

    etas = np.repeat(np.linspace(0.9, 1.3, 300), 2)
    x = np.array(gradient_descent(problems.quartic, np.full(etas.shape, 0.3), etas, 20_000))
    x[1::2] = np.asarray(gd_step(problems.quartic, etas)(x))[1::2]
    axes = ("eta", "x in the end")
    evidence.series("gradient descent from 0.3", etas, x, axes=axes, style="points")
    evidence.series("proved: every start drawn in", [1.0, 1.121], [1.0, 1.0], axes=axes, spread=[0.4, 0.4])
    evidence.series("proved: attracts", [1.121, 1.236], [1.0, 1.0], axes=axes, spread=[0.4, 0.4])
    evidence.series("proved: repels", [1.2361, 1.24], [1.0, 1.0], axes=axes, spread=[0.4, 0.4])


@quartic.check(
    eta=[1.01, 1.05, 1.10, 1.12],
    controls={
        "below 1 the minimum is stable": dict(eta=0.99),
        "beyond sqrt(5)-1 the orbit is unstable": dict(eta=1.25),
    },
)
def test_every_generic_start_reaches_the_two_cycle(evidence, eta):
    starts = np.linspace(0.0005, 0.9995, 2001)  # none of them a preimage of 1
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.at_most("the widest gap between starts of [0, 1]", np.diff(starts, prepend=0, append=1), 0.0006)
    x = gradient_descent(problems.quartic, starts, eta, steps=3000)
    orbit = two_cycle(problems.quartic, max(eta, 1.001))
    evidence.at_most("distance to the orbit", np.abs(x[:, None] - orbit).min(1).max(), 1e-8)

    path = np.asarray(trajectory(gd_step(problems.quartic, eta), np.array([0.1]), 200))
    distance = np.abs(path - orbit).min(1)
    evidence.series("from 0.1", np.arange(60), path[:60], axes=("step", "x"), style="points")
    evidence.series(
        "from 0.1", np.arange(201), distance + 1e-17, axes=("step", "distance to the orbit"), scale="semilogy"
    )


@quartic.check(eta=[1.01, 1.05, 1.10, 1.12], controls={"beyond 3/2 the printed branch misses delta_2": dict(eta=1.55)})
def test_the_two_cycle_solves_the_printed_equation(evidence, eta):
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    orbit = two_cycle(problems.quartic, eta)
    evidence.equal("eta(delta)", quartic_step_size(orbit), eta)

    delta = np.linspace(0.75, 1.154, 200)
    evidence.series("printed eta(delta)", delta, quartic_step_size(delta), axes=("delta", "eta"))
    evidence.series("orbit", orbit, [eta, eta], axes=("delta", "eta"), style="points")


@quartic.check(eta=[1.01, 1.05, 1.10, 1.12], controls={"beyond sqrt(5)-1 it repels": dict(eta=1.25)})
def test_the_two_cycle_attracts(evidence, eta):
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    multiplier = cycle_multiplier(problems.quartic, eta, two_cycle(problems.quartic, eta))
    evidence.equal("F'(delta_1) F'(delta_2)", multiplier, 9 - 2 * (1 + eta) ** 2, scale=9)
    evidence.at_most("magnitude of the multiplier", abs(multiplier), 1)


@quartic.counterexample(eta=25 / 24, x0=3 / 5)
def test_a_preimage_of_the_fixed_point_stays(evidence, eta, x0):
    evidence.requires("0 < x0 < 1", 0 < x0 < 1)
    x = gradient_descent(problems.quartic, np.array([x0]), eta, steps=3000)
    evidence.at_most("distance to the orbit", np.abs(x[:, None] - two_cycle(problems.quartic, eta)).min(), 1e-8)
