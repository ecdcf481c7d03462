"""One law for the end of the edge: the expansion it comes from, the curve that leads there, and where that ends."""

import numpy as np

from eosbench import Claim, Source
from eosbench.proof import Identity, prove_identity

from .setting import LOSSES, Loss, balance, descend, ends, excess, extrapolated, factors_of, law

expansion = Claim(
    "end-of-edge/expansion",
    source=Source("eosbench-statements", "End of the edge, expansion"),
    printed=(
        r"For gradient descent on $\ell(xy)$ near a minimum $z_*$ of $\ell$, whose derivatives there are $f_2 > 0$, "
        r"$f_3$, $f_4$ and a fifth one, let $u = xy - z_*$ and $\delta = \eta f_2\sqrt{(x^2 - y^2)^2 + 4z_*^2} - 2$. "
        r"Where $u$ and $\eta$ are $O(\varepsilon)$ and $\delta$ is $O(\varepsilon^2)$, two steps take $u$ to $u(1 + "
        r"2\delta - 2Cu^2) + O(\varepsilon^4)$ and $(2 + \delta)^2$ to $(2 + \delta)^2 - 16\eta^2 f_2^2 u^2 + "
        r"O(\varepsilon^5)$, which is $\delta$ to $\delta - 4\eta^2 f_2^2 u^2 + O(\varepsilon^5)$, with $C = "
        r"\frac{3f_3^2 - f_2f_4}{3f_2^2}$."
    ),
    expected="holds",
)


@expansion.check(
    proves=True,
    controls={
        "4.08 b² for 4 b² in C": dict(four="102/25"),
        "16.32 for 16 in the loss of sharpness": dict(drift="408/25"),
    },
)
def test_two_steps_for_every_loss(evidence, four="4", drift="16"):
    """With eta = e, u = e v and an excess e² d at the point itself, where x² + y² = s and h s = 2 + e² d, h = e f2.

    By Taylor, l'(z* + u) = f2 (u + b u² + (c + r) u³), where 2b f2 = f3, 6c f2 = f4 and r = O(u) by the fifth
    derivative; at the point after a step r is another one, r1. A name in capitals is what the small one is after a
    step. So eta l' = e² p with p = f2 v (1 + e n). What has p, z or their capitals may take them for any bounded
    numbers, and `rest`, `more` and `spread` are polynomials: bounded, too. By the last two equations (2 + e² d)² is
    (2 + δ)² = h² (x² - y²)² + 4 h² z*² up to O(e³), so that e² d may stand for δ; and (2 + δ)² changes by what its
    first term does.
    """
    where = {
        # after one step
        "n": "b*v + e*(c + r)*v**2",
        "m1": "0 - d*v*(1 + e*n) - 2*(c + r)*v**3 + e*p**2*z",
        "m": "e*m1 - 2*b*v**2",
        "V": "e*m - v",
        "dl": "e*p**2*(2 + e**2*d) - 4*f2*p*z",
        "D": "d + e*dl",
        # after two
        "N": "b*V + e*(c + r1)*V**2",
        "rest": "d*v*n - p**2*z + 4*b*v*m1 - 2*b*m**2 + dl*(v - e*m)*(1 + e*N) + d*v*N - d*m*(1 + e*N)"
        " - 2*(c + r1)*(3*v**2*m - 3*e*v*m**2 + e**2*m**3) + P**2*Z",
        "f3": "2*b*f2",
        "f4": "6*c*f2",
        "C": f"{four}*b**2 - 2*c",
        # h² (x² - y²)², by h² ((x² + y²)² - 4 (xy)²), with a = p² and A = P²
        "k": "4*d + e**2*d**2 - 4*f2**2*z**2",
        "hq": "4 + e**2*k",
        "more": "e**3*hq*(a**2 + A**2 + 4*a*A) - 2*e*k*(a + A) - 2*e**7*hq*a*A*(a + A) + e**11*hq*a**2*A**2",
        "spread": "v**2*(2*n + e*n**2) + (e*w**2 - 2*v*w)*(1 + e*W)**2 + v**2*(2*W + e*W**2)",
    }
    # x, y -> x - g y, y - g x with g = eta l'
    X, Y = "(x - g*y)", "(y - g*x)"
    statements = (
        ("xy after a step", f"{X}*{Y}", "=", "x*y - g*(x**2 + y**2) + g**2*(x*y)"),
        ("x² + y² after a step", f"{X}**2 + {Y}**2", "=", "x**2 + y**2 - 4*g*(x*y) + g**2*(x**2 + y**2)"),
        ("x² - y² after a step", f"{X}**2 - {Y}**2", "=", "(x**2 - y**2)*(1 - g**2)"),
        ("(x² + y²)²", "(x**2 + y**2)**2", "=", "(x**2 - y**2)**2 + 4*(x*y)**2"),
        ("v after a step", "v - (2 + e**2*d)*v*(1 + e*n) + e**3*p**2*z", "=", "V"),
        ("d after a step", "d - 4*e*f2*p*z + e**2*p**2*(2 + e**2*d)", "=", "D"),
        (
            "v after two",
            "V - (2 + e**2*D)*V*(1 + e*N) + e**3*P**2*Z",
            "=",
            "v + e**2*(2*d*v - 2*C*v**3 + 2*(r + r1)*v**3) + e**3*rest",
        ),
        ("C", "3*f2**2*C", "=", "3*f3**2 - f2*f4"),
        ("h² (x² - y²)² after two", "hq*(1 - e**4*a)**2*(1 - e**4*A)**2", "=", "hq - 8*e**4*(a + A) + e**5*more"),
        (
            "p² + P², where V = e w - v and N = W",
            "(f2*v*(1 + e*n))**2 + (f2*(e*w - v)*(1 + e*W))**2",
            "=",
            f"{drift}/8*f2**2*v**2 + e*f2**2*spread",
        ),
        ("h² (x² + y²)²", "(2 + e**2*d)**2", "=", "hq + 4*(e*f2)**2*z**2"),
        ("z²", "(zs + e*v)**2", "=", "zs**2 + e*(2*zs*v + e*v**2)"),
    )
    identity = Identity(
        statements,
        "x y g e v d b c r r1 p z P Z f2 zs a A w W",
        where=where,
    )
    evidence.proved("two steps", prove_identity(identity), identity.theorem)


slow_curve = Claim(
    "end-of-edge/slow-curve",
    source=Source("eosbench-statements", "End of the edge, slow curve"),
    printed=(
        r"In the mean over an oscillation, with $w$ its squared amplitude, that is $\dot\delta = -2\eta^2 f_2^2 w$ and "
        r"$\dot w = 2w(\delta - Cw)$ per step. Where $C > 0$, with $\theta = \eta^2 f_2^2/C$, the curve $\delta + "
        r"\theta = Cw$ is invariant and attracts: what is off it shrinks at the rate $2Cw$. Along it $\delta + \theta$ "
        r"decays at the rate $2\theta$. Gradient descent that starts with $\theta \ll \delta \ll 1$ does the same, up "
        r"to a share of $O(\theta)$ at a given $\delta/\theta$."
    ),
    expected="holds",
)


@slow_curve.check(controls={"2.04 for 2 in the drift": dict(two="51/25"), "w with twice its rate": dict(rate="4")})
def test_the_curve_of_the_averaged_equations(evidence, two="2", rate="2"):
    """With c for C and k = eta² f2²; the last two equations hold on the curve."""
    slopes = {"d1": f"0 - {two}*k*w", "w1": f"{rate}*w*(d - c*w)", "off": "d + theta - c*w"}
    statements = (
        ("d/dt of what is off the curve", "d1 - c*w1", "=", "0 - 2*c*w*off"),
        ("d/dt (delta + theta) on it", "d1", "=", "0 - 2*theta*(d + theta)"),
        ("d/dt w on it", "w1", "=", "0 - 2*theta*w"),
    )
    on = "given2"  # d + theta - c w = 0
    remainder = {
        "d/dt of what is off the curve": "2*w*given1",
        "d/dt (delta + theta) on it": f"2*w*given1 + 2*theta*{on}",
        "d/dt w on it": f"2*w*{on}",
    }
    given = (("c*theta", "k"), ("d + theta", "c*w"))
    identity = Identity(statements, "d w c k theta", where=slopes, given=given, remainder=remainder)
    evidence.proved("an invariant curve", prove_identity(identity), identity.theorem)


@slow_curve.check(
    loss=list(LOSSES),
    controls={
        "without theta": dict(shift=0.0),
        "theta 2 % larger": dict(shift=1.02),
        "twice f2 f4 in C": dict(times=2.0),
        "C 2 % larger": dict(size=1.02),
    },
)
def test_descent_follows_it(evidence, loss, shift=1.0, times=1.0, size=1.0):
    """From a quarter of the w of the curve, with an excess of 40 theta; the curve is met before that has halved.

    w is the square of half the difference of two iterates. From record 10 to 30, delta + theta falls by exp(-2).
    """
    f2, C, _ = law(LOSSES[loss])
    claimed, thetas, minimizer = size * law(LOSSES[loss], times).C, np.array([2e-4, 1e-4]), LOSSES[loss].minimizer
    evidence.requires("C > 0", C > 0)
    eta = np.sqrt(thetas * C) / f2
    start = factors_of(minimizer + np.sqrt(41 * thetas / C / 4), balance(eta, 40 * thetas, f2, minimizer))
    pairs = np.asarray(descend(LOSSES[loss].of, start, eta, np.ceil(0.05 / thetas).astype(int), records=60))
    w = (np.diff(pairs.prod(-1), axis=-1)[..., 0] / 2) ** 2
    delta = np.stack([excess(e, p[:, 0], f2, minimizer) for e, p in zip(eta, pairs, strict=True)])
    above = delta + shift * thetas[:, None]
    ratio = extrapolated(*(above / (claimed * w)))[9:]
    evidence.constant("(delta + theta)/(C w), at theta = 0", 1.0, ratio, 2e-3)
    decay = np.log(above[:, 9] / above[:, 29]) / (20 * 0.05)
    evidence.constant("rate of delta + theta over theta, at theta = 0", 2.0, extrapolated(*decay), 2e-3)
    axes = ("w C/θ", "δ/θ")
    evidence.series(loss, C * w[1] / thetas[1], delta[1] / thetas[1], axes=axes, style="points")
    if loss == "log cosh z":
        line = np.linspace(0, 25, 2)
        evidence.series("δ + θ = C w", line, line - 1, axes=axes, style="reference")


def half_square(z):
    return z**2 / 2


def stiffening(z):
    return z**2 / 2 + z**4 / 24


OTHERS = {"a quadratic": Loss(half_square, 0.0), "C = -1/3": Loss(stiffening, 0.0)}


sharpness = Claim(
    "end-of-edge/sharpness",
    source=Source("eosbench-statements", "End of the edge, sharpness"),
    printed=(
        r"Gradient descent on $\ell(xy)$ that starts beyond the edge, with $\theta \ll \delta \ll 1$ and $C > 0$, ends "
        r"in a minimum of sharpness $\frac{2}{\eta} - K\eta + O(\eta^3)$ with $K = \frac{3f_2^4}{3f_3^2 - f_2f_4}$, "
        r"wherever it began. $K$ is $\frac{3}{2}$ for $\log\cosh z$, 1 for $\sqrt{1 + z^2}$ and $\frac{1}{2}$ for "
        r"$\frac{1}{4}(1 - z^2)^2$."
    ),
    expected="holds",
    uses=("end-of-edge/expansion", "end-of-edge/slow-curve"),
)


@sharpness.check(
    loss=list(LOSSES),
    controls={
        "a quadratic, C = 0": dict(loss="a quadratic"),
        "C < 0": dict(loss="C = -1/3"),
        "K without f4": dict(times=0.0),
        "K with twice f2 f4": dict(loss="p = 0.8", times=2.0),
        "below the edge": dict(above=-3.0),
    },
)
def test_where_the_edge_ends(evidence, loss, times=1.0, above=20.0):
    """A start below the edge is put on the minimum that has such an excess, and has nowhere to go."""
    of = LOSSES.get(loss) or OTHERS[loss]
    C = law(of).C
    evidence.requires("C > 0", C > 0)
    evidence.requires("a start beyond the edge", above > 0)
    thetas = np.array([8e-4, 4e-4, 2e-4])
    assumed = C if C > 0 else 0.5  # for the start and the step sizes of a control
    K = law(of, times).K if C > 0 else law(of).f2 ** 2 / assumed
    found = ends(of, thetas, assumed, above)
    evidence.finite("(2/eta - S)/eta", found.below)
    evidence.at_most("distance from the minimum", found.off, 1e-8)
    ratio = found.below / K
    evidence.constant("K, at theta = 0, over what it is by derivatives", 1.0, extrapolated(*ratio[1:]), 2e-4)
    if loss in LOSSES:
        evidence.rate("what is left of it", thetas, np.abs(ratio - 1), exponent=1, tolerance=0.05)
    axes = ("θ", "(2/η - S)/(K η)")
    if np.isfinite(ratio).all():
        evidence.series(loss, thetas, ratio, axes=axes, scale="semilogx", style="points")


@sharpness.check(
    loss=["log cosh z", "(1 - z²)²/4"],
    above=[15.0, 40.0],
    share=[0.25, 2.0],
    controls={"theta beyond the edge, off the curve": dict(above=1.0)},
)
def test_wherever_it_began(evidence, loss, above, share):
    of = LOSSES[loss]
    evidence.requires("a start well beyond the edge", above >= 10)
    found = ends(of, [4e-4, 2e-4], law(of).C, above, share)
    evidence.constant(
        "K, at theta = 0, over what it is by derivatives", 1.0, extrapolated(*found.below / law(of).K), 2e-4
    )


@sharpness.check(
    loss=["log cosh z", "sqrt(1 + z²)", "(1 - z²)²/4"],
    controls={"2 % off": dict(size=1.02), "that of another loss": dict(shift=1)},
)
def test_three_values_of_it(evidence, loss, size=1.0, shift=0):
    names = ["log cosh z", "sqrt(1 + z²)", "(1 - z²)²/4"]
    printed = dict(zip(names, np.roll([1.5, 1.0, 0.5], shift), strict=True))
    evidence.equal("K by derivatives", law(LOSSES[loss]).K, size * printed[loss])
