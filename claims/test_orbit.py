"""Period-2 orbits of gradient descent beyond the edge of stability (Chen and Bruna 2023)."""

from fractions import Fraction

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from eosbench import Claim, Source
from eosbench.dynamics import (
    amplitude_law,
    cycle_multiplier,
    gd_step,
    gradient_descent,
    scalar_derivatives,
    trajectory,
    two_cycle,
)
from eosbench.problems import SquaredError, quartic, quartic_step_size, scalar_factorization
from eosbench.proof import IdentityCertificate, prove_existence, prove_trap, prove_two_cycle, variables
from eosbench.proof.families import quartic_descent, squared_descent, taylor_descent
from eosbench.proof.planar import prove_basin

existence = Claim(
    "orbit/existence-1d",
    source=Source("chen-bruna-poster", "II, Existence: general 1D functions"),
    printed=(
        r"Consider any 1D differentiable function $f(x)$ around a local minima $\bar{x}$, satisfying "
        r"$f^{(3)}(\bar{x}) \neq 0$, and $3[f^{(3)}]^2 - f''f^{(4)} > 0$ at $\bar{x}$. Then, there exists $\epsilon$ "
        r"with "
        r"sufficiently small $|\epsilon|$ and $\epsilon \cdot f^{(3)} > 0$ such that: for any point $x_0$ between "
        r"$\bar{x}$ and $\bar{x} - \epsilon$, there exists a learning rate $\eta$ such that $F_\eta^2(x_0) = x_0$, and "
        r"$\frac{2}{f''(\bar{x})} < \eta < \frac{2}{f''(\bar{x}) - \epsilon \cdot f^{(3)}(\bar{x})}$."
    ),
    expected="holds",
)

QUARTIC = ("2", "6", "6")  # f'', f''', f'''' of ¼(x² - 1)² at 1


def exact(numbers):
    return tuple(Fraction(number) for number in numbers)


@existence.check(
    # f'', f''' and f'''' at the minimizer, and epsilon; exact decimals
    loss=[
        (QUARTIC, "0.3"),
        (("2", "-6", "6"), "-0.3"),
        (("1", "1", "0"), "0.1"),
        (("1", "1", "2.9"), "0.05"),
        (("1", "1", "-5"), "0.1"),
        (("1", "-2", "11"), "-0.02"),
    ],
    controls={
        "3f'''² < f''f'''', by little": dict(loss=(("1", "1", "3.1"), "0.05")),
        "3f'''² < f''f'''', by much": dict(loss=(("1", "1", "12"), "0.05")),
        "a quadratic, for which the interval is empty": dict(loss=(("1", "0", "0"), "0.05")),
    },
)
def test_every_start_is_on_an_orbit_at_some_step_size_of_the_bracket(evidence, loss):
    """Proved for all starts within a given epsilon, by the sign of F(F(x0)) - x0 at both ends of the bracket.

    That epsilon f''' > 0 only keeps the printed interval from being empty, and so does the magnitude here: on the other
    side of the minimizer there are orbits just as well.
    """
    (f2, f3, f4), epsilon = exact(loss[0]), Fraction(loss[1])
    evidence.requires("f''' ≠ 0", f3 != 0)
    evidence.requires("3f'''² - f''f'''' > 0", 3 * f3**2 - f2 * f4 > 0)
    evidence.requires("epsilon f''' > 0", epsilon * f3 > 0)
    bracket = 2 / f2, 2 / (f2 - abs(epsilon * f3))
    evidence.proved("an orbit for every start", prove_existence(taylor_descent((f2, f3, f4)), -epsilon, bracket))


@existence.check(controls={"f'''' with twice its weight": dict(weight=4)})
def test_the_signs_at_both_ends_for_every_loss(evidence, weight=2):
    """There is such an epsilon for every f that has four derivatives at the minimizer, with f'' > 0.

    There f' = f'' g with g(z) = z + b z² + (c + r) z³, where z = x - x̄, 2b f'' = f''', 6c f'' = f'''' and r -> 0 as
    z -> 0 (Taylor, Peano); after the step g has another r, written r' here. With H(x) = f'(x) + f'(F(x)), as power
    series whose coefficients stay bounded,

    at eta = 2/f'': H/f'' = (4b² - 2c - r - r') z³ + O(z⁴), and (4b² - 2c) 3f''² = 3f'''² - f'' f'''' > 0;
    at eta = 2/(f'' - epsilon f'''), for z = -t epsilon, 0 < t <= 1: (1 - 2b epsilon)³ H/(f'' z) = -4b epsilon +
    O(epsilon²), and 2b epsilon f'' = epsilon f''' > 0.

    For every small enough epsilon H/z thus has opposite signs at the two ends, for all t at once, and F(F(x0)) = x0
    at some eta between them. How small that is the identity does not say; the boxes prove a given one.
    """
    z, b, c, r, after, t, e, f2 = variables("z", "b", "c", "r", "r'", "t", "epsilon", "f''")
    bend, lead = 2 * b * e, 4 * b**2 - weight * c - r - after  # 2/(1 - bend) is the upper end, in units of 1/f''

    def displacement(z, denominator):
        """The cube of the denominator times H/f'' after a step of size 2/(denominator f'')."""
        g = z + b * z**2 + (c + r) * z**3
        moved = denominator * z - 2 * g  # the denominator times what z is after the step
        return denominator**3 * g + denominator**2 * moved + denominator * b * moved**2 + (c + after) * moved**3

    lower, upper = displacement(z, 1 + 0 * z), displacement(-t * e, 1 - bend)
    f3, f4 = 2 * b * f2, 6 * c * f2
    equations = (
        ("H/f'' at 2/f'', up to z⁴", lower, lead * z**3 + (lower // z**4) * z**4),
        ("3 f'''² - f'' f''''", 3 * f3**2 - f2 * f4, 3 * f2**2 * (lead + r + after)),
        ("H/f'' at the upper end, up to epsilon³", upper, 4 * b * t * e**2 + (upper // e**3) * e**3),
    )
    evidence.proved("opposite signs at the ends for small epsilon", IdentityCertificate(equations))


higher = Claim(
    "orbit/existence-higher-order",
    source=Source("chen-bruna-poster", "II, Existence: general 1D functions"),
    printed=(
        r"For a function $f$ that the lowest order non-zero derivative (except the $f''$) at $\bar{x}$ is "
        r"$f^{(k)}(\bar{x})$ with $k \geq 4$, the above conditions are changed to: if $k$ is odd and $\epsilon \cdot "
        r"f^{(k)}(\bar{x}) > 0$, $f^{(k+1)}(\bar{x}) < 0$, or if $k$ is even and $f^{(k)}(\bar{x}) < 0$. [The step "
        r"size "
        r"still has $\frac{2}{f''(\bar{x})} < \eta < \frac{2}{f''(\bar{x}) - \epsilon \cdot f^{(3)}(\bar{x})}$.]"
    ),
    corrected=(
        r"For a function $f$ that the lowest order non-zero derivative (except the $f''$) at $\bar{x}$ is "
        r"$f^{(k)}(\bar{x})$ with $k \geq 4$, the above conditions are changed to: if $k$ is odd and $\epsilon \cdot "
        r"f^{(k)}(\bar{x}) > 0$, $f^{(k+1)}(\bar{x}) < 0$, or if $k$ is even and $f^{(k)}(\bar{x}) < 0$. The step "
        r"size then has $\frac{2}{f''} < \eta < \frac{2}{f'' - f^{(k)} \epsilon^{k-2}}$ for odd $k$ and "
        r"$\frac{2}{f''} < \eta < \frac{2}{f'' + f^{(k)} \epsilon^{k-2}}$ for even $k$."
    ),
    expected="corrected",
)


def first_beyond_the_second(derivatives):
    """k, and f^(k)."""
    return next((k, f) for k, f in enumerate(derivatives[1:], start=3) if f)


@higher.check(
    loss=[
        (("1", "0", "-1"), "0.2"),
        (("1", "0", "-1", "1"), "0.1"),
        (("1", "0", "0", "1", "-1"), "0.1"),
        (("1", "0", "0", "-1", "-1"), "-0.1"),
        (("1", "0", "0", "0", "-1"), "0.3"),
    ],
    controls={
        "k = 4, f'''' > 0": dict(loss=(("1", "0", "1"), "0.2")),
        "k = 5, the sixth derivative > 0": dict(loss=(("1", "0", "0", "1", "1"), "0.1")),
        "k = 6, the sixth derivative > 0": dict(loss=(("1", "0", "0", "0", "1"), "0.3")),
    },
)
def test_every_start_is_on_an_orbit_at_higher_order(evidence, loss):
    derivatives, epsilon = exact(loss[0]), Fraction(loss[1])
    k, f_k = first_beyond_the_second(derivatives)
    if k % 2:
        evidence.requires("epsilon f^(k) > 0", epsilon * f_k > 0)
        evidence.requires("f^(k+1) < 0", derivatives[k - 1] < 0)
    else:
        evidence.requires("f^(k) < 0", f_k < 0)
    bracket = 2 / derivatives[0], 2 / (derivatives[0] - abs(f_k * epsilon ** (k - 2)))
    evidence.proved("an orbit for every start", prove_existence(taylor_descent(derivatives), -epsilon, bracket))


@higher.counterexample(loss=(("1", "0", "-1"), "0.2"))
def test_the_printed_interval_of_step_sizes_is_empty(evidence, loss):
    f2, f3, f4 = exact(loss[0])
    evidence.requires("f^(k) < 0 for k = 4", f3 == 0 and f4 < 0)
    width = 2 / (f2 - Fraction(loss[1]) * f3) - 2 / f2
    evidence.at_least("width of the interval of step sizes", float(width), 1e-6)


l2 = Claim(
    "orbit/l2-loss",
    source=Source("chen-bruna-poster", "II, Existence: L2 loss on general 1D functions"),
    printed=(
        r"Base model: $g(x)$. Loss: $f(x) = (g(x) - y)^2$. Stable oscillation exists around $\bar{x} = g^{-1}(y)$ if "
        r"$g'(\bar{x}) \neq 0$, $g'(\bar{x})g^{(3)}(\bar{x}) < 6[g''(\bar{x})]^2$. Examples: sin(x), tanh(x), "
        r"high-order "
        r"monomial, exp(x), log(x), sigmoid, gaussian..."
    ),
    expected="holds",
    uses=("orbit/existence-1d",),
)

MODELS = {
    "sin": (jnp.sin, (0.0, 0.5, 1.2)),
    "tanh": (jnp.tanh, (0.0, 0.4, -0.8)),
    "sigmoid": (lambda x: 1 / (1 + jnp.exp(-x)), (0.0, 0.7, -1.5)),
    "exp": (jnp.exp, (0.0, 1.0)),
    "log": (jnp.log, (1.0, 2.5)),
    "x²": (lambda x: x**2, (1.0, -0.6)),
    "x³": (lambda x: x**3, (1.0, 0.5)),
    "x⁷": (lambda x: x**7, (1.0, 0.8)),
    "gaussian": (lambda x: jnp.exp(-(x**2) / 2), (0.5, 1.0, 1.7)),
    "tan": (jnp.tan, (0.5,)),
    "sinh": (jnp.sinh, (1.0,)),
    "x": (lambda x: x, (0.5,)),
    "x + x³": (lambda x: x + x**3, (0.0,)),
}


@eqx.filter_jit
def last_three(loss, x0, eta, steps):
    x = gradient_descent(loss, x0, eta, steps)
    step = gd_step(loss, eta)
    return x, step(x), step(step(x))


@l2.check(
    model=["sin", "tanh", "sigmoid", "exp", "log", "x²", "x³", "x⁷", "gaussian", "tan", "sinh"],
    beyond=0.004,
    controls={
        "g = x": dict(model="x"),
        "x + x³ at 0": dict(model="x + x³"),
        "tan at 0.2, where tan² < 1/9": dict(model="tan", points=(0.2,)),
        "sinh at 0.2": dict(model="sinh", points=(0.2,)),
        "below the edge": dict(beyond=-0.004),
    },
)
def test_gradient_descent_settles_on_an_orbit(evidence, model, beyond, points=None):
    """At eta = (1 + beyond) 2/f'', against the amplitude and the multiplier 1 - 8 beyond of the normal form."""
    g, listed = MODELS[model]
    settled, moving, amplitude, multiplier, sixes = [], [], [], [], []
    for m in points or listed:
        g1, g2, g3 = scalar_derivatives(g, m, 3)
        f = SquaredError(g, m)
        of_f = scalar_derivatives(f, m)
        law, eta = amplitude_law(of_f), (1 + beyond) * 2 / of_f[1]
        evidence.requires("g' ≠ 0", g1 != 0)
        evidence.requires("g' g''' < 6 g''²", g1 * g3 < 6 * g2**2)
        evidence.requires("eta > 2/f''", beyond > 0)
        predicted = np.sqrt(np.abs(beyond * 2 / of_f[1] / law)) if abs(law) > 1e-9 else 0.01
        x, y, z = (float(v) for v in last_three(f, m + 0.3 * predicted, eta, 20000))
        settled.append(abs(z - x) / predicted)
        moving.append(abs(y - x) / predicted)
        amplitude.append(law * ((x - m) ** 2 + (y - m) ** 2) / 2 / (eta - 2 / of_f[1]))
        multiplier.append(cycle_multiplier(f, eta, np.array([x, y])))
        if abs(g2) > 1e-3:
            sixes.append(((3 * of_f[2] ** 2 - of_f[1] * of_f[3]) / (16 * g1**2) + g1 * g3) / g2**2)
    evidence.at_most("change in two steps / amplitude", settled, 1e-8)
    evidence.at_least("change in one step / amplitude", moving, 1)
    evidence.constant("1 in c z²/(eta - 2/f'')", 1, amplitude, 0.03)
    evidence.constant("8 in the multiplier 1 - 8 (eta f''/2 - 1)", 8, (1 - np.array(multiplier)) / abs(beyond), 0.2)
    if sixes:
        evidence.constant("6 in g' g''' < 6 g''²", 6, sixes, 1e-6)


@l2.check(
    model=["sin", "tanh", "sigmoid", "exp", "log", "square", "cube", "gaussian"],
    controls={"g = x": dict(model="identity"), "sinh at 1/5": dict(model="sinh")},
)
def test_the_orbit_is_proved_for_an_interval_of_step_sizes(evidence, model):
    family, etas = squared_descent(model, (Fraction("1.002"), Fraction("1.01")))
    evidence.proved("one orbit near the minimizer, and it attracts", prove_two_cycle(family, *etas))


composition = Claim(
    "orbit/composition",
    source=Source("chen-bruna-poster", "II, Existence: L2 loss on general 1D functions, Composition rule"),
    printed=(
        r"If both $p(x)$, $q(y)$ satisfy the above conditions [$g' \neq 0$, $g' g^{(3)} < 6 [g'']^2$] at $x = "
        r"\bar{x}$, "
        r"$y = p(\bar{x})$, then $q(p(x))$ also satisfies the conditions to allow stable oscillation around $x = "
        r"\bar{x}$."
    ),
    corrected=(
        r"If both have $g' \neq 0$ and a negative Schwarzian derivative, $2 g' g^{(3)} < 3 [g'']^2$, then so has "
        r"$q(p(x))$, and it satisfies the conditions."
    ),
    expected="corrected",
)


def composed(p, q):
    """The first three derivatives of q(p(x)) from those of p and of q, by Faà di Bruno's formula."""
    (p1, p2, p3), (q1, q2, q3) = p, q
    return q1 * p1, q2 * p1**2 + q1 * p2, q3 * p1**3 + 3 * q2 * p1 * p2 + q1 * p3


def excess(g, weight):
    """2 g' g''' - weight g''², negative under the condition: weight 3 for Schwarz, 12 for the poster's."""
    return 2 * g[0] * g[2] - weight * g[1] ** 2


@composition.check(weight=3, controls={"with the poster's 6 in place of 3/2": dict(weight=12)})
def test_the_condition_is_closed_under_composition(evidence, weight):
    """The excess of a composition is a sum with positive factors, as polynomials; then on random derivatives."""
    *p, q1, q2, q3 = variables("p1", "p2", "p3", "q1", "q2", "q3")
    q = q1, q2, q3
    whole, parts = excess(composed(p, q), weight), p[0] ** 4 * excess(q, weight) + q1**2 * excess(p, weight)
    name = "excess(q∘p) = p'⁴ excess(q) + q'² excess(p)"
    evidence.proved("additivity", IdentityCertificate(((name, whole, parts),)))
    p, q = np.random.default_rng(evidence.seed()).standard_normal((2, 3, 400_000))
    both = (excess(p, weight) < 0) & (excess(q, weight) < 0)
    evidence.requires("some pairs meet the condition", both.any())
    fail = excess(composed(p[:, both], q[:, both]), 12) >= 0
    evidence.equal("pairs whose composition violates g' g''' < 6 g''²", int(fail.sum()), 0)


EXAMPLES = {
    "log∘exp": (jnp.exp, jnp.log, 0.0),
    "log∘exp(x + x³/2)": (lambda x: jnp.exp(x + x**3 / 2), jnp.log, 0.0),
}


@composition.counterexample(pair="log∘exp")
def test_the_logarithm_of_the_exponential(evidence, pair):
    """It is the identity: its squared loss is a quadratic, on which gradient descent explodes beyond the edge."""
    p, q, x = EXAMPLES[pair]
    for name, g, at in (("p", p, x), ("q", q, float(p(x)))):
        evidence.requires(f"{name}' {name}''' < 6 {name}''²", excess(scalar_derivatives(g, at, 3), 12) < 0)
    g = scalar_derivatives(lambda x: q(p(x)), x, 3)
    evidence.at_most("g' g''' - 6 g''² of q∘p", excess(g, 12) / 2, -1e-3)
    far = gradient_descent(SquaredError(lambda x: q(p(x)), x), np.array([0.01]), 1.004, 5000)
    evidence.at_most("distance from the minimizer", np.abs(far), 1)


@composition.counterexample(pair="log∘exp(x + x³/2)")
def test_a_composition_with_the_condition_reversed(evidence, pair):
    p, q, x = EXAMPLES[pair]
    for name, g, at in (("p", p, x), ("q", q, float(p(x)))):
        evidence.requires(f"{name}' {name}''' < 6 {name}''²", excess(scalar_derivatives(g, at, 3), 12) < 0)
    g = scalar_derivatives(lambda x: q(p(x)), x, 3)
    evidence.at_most("g' g''' - 6 g''² of q∘p", excess(g, 12) / 2, 0)


special = Claim(
    "orbit/quartic",
    source=Source("chen-bruna-poster", "II, Convergence: a special 1D function"),
    printed=(
        r"Loss: $f(x) = \frac{1}{4}(x^2 - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: any point "
        r"$x_0 \in (0, 1)$. Convergence: it converges to a period-2 orbit $\{x = \delta_i \mid i = 1, 2\}$ where "
        r"$\delta_1, \delta_2$ are the positive solutions of "
        r"$\eta = \frac{1}{\delta^2 (\sqrt{\frac{1}{\delta^2} - \frac{3}{4}} + \frac{1}{2})}$."
    ),
    corrected=(
        r"Loss: $f(x) = \frac{1}{4}(x^2 - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: any point $x_0 "
        r"\in (0, 1)$ that is not one of the countably many preimages of the fixed point 1. Convergence: it converges "
        r"to a period-2 orbit $\{x = \delta_i \mid i = 1, 2\}$ where $\delta_1, \delta_2$ are the positive solutions "
        r"of $\eta = \frac{1}{\delta^2 (\sqrt{\frac{1}{\delta^2} - \frac{3}{4}} + \frac{1}{2})}$."
    ),
    expected="corrected",
)


@special.check(
    etas=("1.001", "1.121"),
    controls={
        "below the edge": dict(etas=("0.95", "0.951")),
        "across the edge": dict(etas=("0.9995", "1.0005")),
        "beyond sqrt(5)-1": dict(etas=("1.2365", "1.237")),
    },
)
def test_the_orbit_is_proved_for_every_step_size(evidence, etas):
    """Two points, alone in (0, 5/4], which attract; every start in (0, 1) ends there or, in finite time, at 1."""
    low, high = exact(etas)
    evidence.requires("1 < eta <= 1.121", low > 1 and high <= Fraction("1.121"))
    evidence.proved("one orbit in (0, 5/4], and it attracts", prove_two_cycle(quartic_descent(), low, high))
    evidence.proved("every start is drawn in", prove_trap(quartic_descent(), low, high))


@special.check(nine=9, controls={"8 in place of 9": dict(nine=8)})
def test_the_rest_of_the_range_by_exact_identities(evidence, nine):
    """For eta from 1 to sqrt(5)-1: two positive period-2 points, with multiplier 9 - 2(1 + eta)² in (-1, 1).

    With u = x² they solve eta² u² - eta (1 + eta) u + 1 = 0, with discriminant eta² (eta - 1)(eta + 3); the other
    factor has the roots ±sqrt((2 + eta)/eta), which lie beyond sup F. The trap that draws every start in is proved by
    boxes from eta = 1 on.
    """
    x, eta, u, v = variables("x", "eta", "u", "v")

    def step(x):
        return x - eta * x * (x**2 - 1)

    orbit = eta**2 * x**4 - eta * (1 + eta) * x**2 + 1
    factors = eta * x * (x**2 - 1) * (eta * x**2 - eta - 2) * orbit
    # Modulo the sums of the roots, eta (u + v) = 1 + eta and eta² u v = 1:
    multiplier = (1 + eta - 3 * eta * u) * (1 + eta - 3 * eta * v)
    relations = -3 * (1 + eta) * (eta * (u + v) - 1 - eta) + 9 * (eta**2 * u * v - 1)
    discriminant = (eta * (1 + eta)) ** 2 - 4 * eta**2
    equations = (
        ("F(F(x)) - x", step(step(x)) - x, factors),
        ("discriminant", discriminant, eta**2 * (eta - 1) * (eta + 3)),
        ("multiplier", multiplier, nine - 2 * (1 + eta) ** 2 + relations),
    )
    evidence.proved("orbit and multiplier for 1 < eta < sqrt(5)-1", IdentityCertificate(equations))
    evidence.proved("every start is drawn in", prove_trap(quartic_descent(), Fraction(1), Fraction("1.121")))


@special.check(
    part=[("1.121", "1.236", "attracts"), ("1.2361", "1.24", "repels")],
    controls={
        "it does not attract beyond sqrt(5)-1": dict(part=("1.2361", "1.24", "attracts")),
        "it does not repel before": dict(part=("1.235", "1.236", "repels")),
    },
)
def test_the_true_range_ends_at_sqrt_5_minus_1(evidence, part):
    """Not printed: the orbit attracts well beyond 1.121, which is where F o F ceases to be monotone on the trap."""
    low, high = exact(part[:2])
    evidence.proved(f"one orbit in (0, 5/4], and it {part[2]}", prove_two_cycle(quartic_descent(), low, high, part[2]))

    etas = np.repeat(np.linspace(0.9, 1.3, 300), 2)
    x = np.array(gradient_descent(quartic, np.full(etas.shape, 0.3), etas, 20_000))
    x[1::2] = np.asarray(gd_step(quartic, etas)(x))[1::2]
    axes = ("eta", "x in the end")
    evidence.series("gradient descent from 0.3", etas, x, axes=axes, style="points")
    evidence.series("proved: every start drawn in", [1.0, 1.121], [1.0, 1.0], axes=axes, spread=[0.4, 0.4])
    evidence.series("proved: attracts", [1.121, 1.236], [1.0, 1.0], axes=axes, spread=[0.4, 0.4])
    evidence.series("proved: repels", [1.2361, 1.24], [1.0, 1.0], axes=axes, spread=[0.4, 0.4])


@special.check(
    eta=[1.01, 1.05, 1.10, 1.12],
    controls={
        "below 1 the minimum is stable": dict(eta=0.99),
        "beyond sqrt(5)-1 the orbit is unstable": dict(eta=1.25),
    },
)
def test_every_generic_start_reaches_the_two_cycle(evidence, eta):
    starts = np.linspace(0.0005, 0.9995, 2001)  # none of them a preimage of 1
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    x = gradient_descent(quartic, starts, eta, steps=3000)
    orbit = two_cycle(quartic, max(eta, 1.001))
    evidence.at_most("distance to the orbit", np.abs(x[:, None] - orbit).min(1).max(), 1e-8)

    path = np.asarray(trajectory(gd_step(quartic, eta), np.array([0.1]), 200))
    distance = np.abs(path - orbit).min(1)
    evidence.series("from 0.1", np.arange(60), path[:60], axes=("step", "x"), style="points")
    evidence.series(
        "from 0.1", np.arange(201), distance + 1e-17, axes=("step", "distance to the orbit"), scale="semilogy"
    )


@special.check(eta=[1.01, 1.05, 1.10, 1.12], controls={"beyond 3/2 the printed branch misses delta_2": dict(eta=1.55)})
def test_the_two_cycle_solves_the_printed_equation(evidence, eta):
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    orbit = two_cycle(quartic, eta)
    evidence.equal("eta(delta)", quartic_step_size(orbit), eta)

    delta = np.linspace(0.75, 1.154, 200)
    evidence.series("printed eta(delta)", delta, quartic_step_size(delta), axes=("delta", "eta"))
    evidence.series("orbit", orbit, [eta, eta], axes=("delta", "eta"), style="points")


@special.check(eta=[1.01, 1.05, 1.10, 1.12], controls={"beyond sqrt(5)-1 it repels": dict(eta=1.25)})
def test_the_two_cycle_attracts(evidence, eta):
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    multiplier = cycle_multiplier(quartic, eta, two_cycle(quartic, eta))
    evidence.equal("F'(delta_1) F'(delta_2)", multiplier, 9 - 2 * (1 + eta) ** 2, scale=9)
    evidence.at_most("magnitude of the multiplier", abs(multiplier), 1)


@special.counterexample(eta=25 / 24, x0=3 / 5)
def test_a_preimage_of_the_fixed_point_stays(evidence, eta, x0):
    evidence.requires("0 < x0 < 1", 0 < x0 < 1)
    x = gradient_descent(quartic, np.array([x0]), eta, steps=3000)
    evidence.at_most("distance to the orbit", np.abs(x[:, None] - two_cycle(quartic, eta)).min(), 1e-8)


plane = Claim(
    "orbit/scalar-factorization",
    source=Source("chen-bruna-poster", "II, Convergence: a special 2D function"),
    printed=(
        r"Loss: $f(x, y) = \frac{1}{2}(xy - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: some "
        r"conditions that "
        r"guarantee $x, y > 0$ always. Convergence: it converges to a period-2 orbit as $\{(x = y = \delta_i) \mid i "
        r"= 1, 2\}$ "
        r"where $\delta_1, \delta_2$ are the same as above."
    ),
    corrected=(
        r"Loss: $f(x, y) = \frac{1}{2}(xy - 1)^2$. Learning rate: $1 < \eta < 1.121$. Initialization: some conditions "
        r"that guarantee $x, y > 0$ always, outside the stable set of the minimizers $xy = 1$. Convergence: it "
        r"converges to a period-2 orbit as $\{(x = y = \delta_i) \mid i = 1, 2\}$ where $\delta_1, \delta_2$ are "
        r"those of $\frac{1}{4}(x^2 - 1)^2$; proved from most starts of a region, at three step sizes."
    ),
    expected="corrected",
    uses=("orbit/quartic",),
)


def positive(factors):
    return jnp.all(factors > 0, axis=0)


def plane_orbit(eta):
    return two_cycle(quartic, max(eta, 1.001))


@plane.check(
    eta=[1.01, 1.05, 1.10, 1.12],
    controls={"below the edge": dict(eta=0.9), "beyond sqrt(5)-1": dict(eta=1.25)},
)
def test_starts_that_stay_positive_reach_the_orbit(evidence, eta):
    side = np.linspace(0.03, 2.97, 80)
    starts = np.stack(np.meshgrid(side, side)).reshape(2, -1)
    starts = starts[:, np.abs(starts.prod(0) - 1) > 1e-3]  # where xy = 1 gradient descent does not move
    kept = np.asarray(trajectory(gd_step(scalar_factorization, eta), starts, 4000, positive)).all(0)
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("x, y > 0 always, for some starts", kept.any())
    x, y = np.asarray(gradient_descent(scalar_factorization, starts[:, kept], eta, 4000))
    evidence.at_most("|x - y|", np.abs(x - y), 1e-8)
    evidence.at_most("distance of x to the orbit", np.abs(x[:, None] - plane_orbit(eta)).min(1), 1e-8)


@plane.check(
    eta=["1.05", "1.1", "1.12"],
    controls={"below the edge": dict(eta="0.98"), "beyond sqrt(5)-1": dict(eta="1.25")},
)
def test_a_region_of_starts_is_proved(evidence, eta):
    """Boxes that make up most of x + y from 0.05 to 2.6 and (x - y)² up to 1, for one step size at a time.

    The rest cannot all be proved: it holds the minimizers with their preimages, and starts that end elsewhere. The
    orbit draws in some starts that turn negative, too.
    """
    evidence.requires("1 < eta < 1.121", 1 < Fraction(eta) < Fraction("1.121"))
    basin = prove_basin(Fraction(eta), float(plane_orbit(float(eta))[0]))
    evidence.proved("every start of the proved boxes ends on the orbit", basin)
    evidence.at_least("share of the domain that is proved", basin.fraction, 0.75)

    x, y = (side.ravel() for side in np.meshgrid(np.linspace(0.05, 1.95, 24), np.linspace(0.05, 1.95, 24)))
    proved = basin.contains(x, y)
    path = trajectory(gd_step(scalar_factorization, float(eta)), np.stack([x, y]), 300, positive)
    always = np.asarray(path).all(0)
    axes = (f"x, eta = {eta}", "y")
    if proved.any():
        evidence.series("proved", x[proved], y[proved], axes=axes, style="points")
    other = always & ~proved & (np.abs(x - y) < 1) & (x + y < 2.6)
    if other.any():
        evidence.series("stays positive, not proved", x[other], y[other], axes=axes, style="points")


@plane.counterexample(start=(2.0, 0.5), eta=1.1)
def test_a_positive_minimizer_stays(evidence, start, eta):
    path = trajectory(gd_step(scalar_factorization, eta), np.array(start)[:, None], 3000)
    evidence.requires("1 < eta < 1.121", 1 < eta < 1.121)
    evidence.requires("x, y > 0 always", np.all(np.asarray(path) > 0))
    x, y = np.asarray(path[-1, :, 0])
    evidence.at_most("|x - y|", abs(x - y), 1e-8)
