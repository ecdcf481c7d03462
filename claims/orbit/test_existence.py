"""Losses of one variable that have an orbit of period two just beyond the edge."""

from fractions import Fraction
from math import factorial

from eosbench import Claim, Source
from eosbench.proof import Identity, prove_existence, prove_identity, taylor_descent


def exact(numbers):
    return tuple(Fraction(number) for number in numbers)


def theorem(derivatives, end, bracket):
    """Every start between the minimizer 0 and `end` has period two at some step size strictly inside the bracket."""
    terms = [f"({d})/{factorial(k)}*x**{k}" for k, d in enumerate(derivatives, start=2) if d]
    return dict(kind="existence", loss=" + ".join(terms), minimizer="0", end=str(end), bracket=[*map(str, bracket)])


QUARTIC = ("2", "6", "6")  # f'', f''', f'''' of ¼(x² - 1)² at 1

existence_1d = Claim(
    "orbit/existence-1d",
    source=Source("chen-bruna-poster", "II, Existence: general 1D functions"),
    printed=(
        r"Consider any 1D differentiable function $f(x)$ around a local minima $\bar{x}$, satisfying $f^{(3)}(\bar{x}) "
        r"\neq 0$, and $3[f^{(3)}]^2 - f''f^{(4)} > 0$ at $\bar{x}$. Then, there exists $\epsilon$ with sufficiently "
        r"small $|\epsilon|$ and $\epsilon \cdot f^{(3)} > 0$ such that: for any point $x_0$ between $\bar{x}$ and "
        r"$\bar{x} - \epsilon$, there exists a learning rate $\eta$ such that $F_\eta^2(x_0) = x_0$, and "
        r"$\frac{2}{f''(\bar{x})} < \eta < \frac{2}{f''(\bar{x}) - \epsilon \cdot f^{(3)}(\bar{x})}$."
    ),
    expected="holds",
    coarse=(
        r"The upper end of the interval is not told: the step size lies above $2/f''$ by the order of $\epsilon^2$, "
        r"and the interval is as wide as $\epsilon$, so that a narrower one would hold too; its lower end and the 3 "
        "of the condition are told to 2 %."
    ),
)


@existence_1d.check(
    # f'', f''' and f'''' at the minimizer, and epsilon; exact decimals
    loss=[
        (QUARTIC, "0.3"),
        (("2", "-6", "6"), "-0.3"),
        (("1", "1", "0"), "0.1"),
        (("1", "1", "2.95"), "0.02"),
        (("1", "1", "-5"), "0.1"),
        (("1", "-2", "11"), "-0.02"),
    ],
    controls={
        "3f'''² < f''f'''', by little": dict(loss=(("1", "1", "3.05"), "0.02")),
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
    certificate = prove_existence(taylor_descent((f2, f3, f4)), -epsilon, bracket)
    evidence.proved("an orbit for every start", certificate, theorem((f2, f3, f4), -epsilon, bracket))


@existence_1d.check(controls={"f'''' with twice its weight": dict(weight="4"), "by 2 %": dict(weight="51/25")})
def test_the_signs_at_both_ends_for_every_loss(evidence, weight="2"):
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
    lead = f"(4*b**2 - {weight}*c - r - r1)"
    statements = (
        ("H/f'' at 2/f'', up to z⁴", "g + moved + b*moved**2 + C1*moved**3", "=", f"{lead}*z**3 + z**4*rest"),
        ("3 f'''² - f'' f''''", "3*f3**2 - f2*f4", "=", f"3*f2**2*({lead} + r + r1)"),
        (
            "H/f'' at the upper end, up to epsilon³",
            "q**3*G + q**2*Moved + q*b*Moved**2 + C1*Moved**3",
            "=",
            "4*b*t*e**2 + e**3*Rest",
        ),
    )
    where = {
        "C": "c + r",
        "C1": "c + r1",
        # at 2/f''
        "g": "z + b*z**2 + C*z**3",
        "moved": "z - 2*g",
        "n": "2*b + 2*C*z",
        "rest": "b*(n**2 + 4*C) - C1*(3*n + 3*z*n**2 + z**2*n**3)",
        "f3": "2*b*f2",
        "f4": "6*c*f2",
        # at the upper end, 2/q in units of 1/f'', from -t epsilon
        "q": "1 - 2*b*e",
        "s": "-t",
        "G": "s*e + b*(s*e)**2 + C*(s*e)**3",
        "Moved": "q*s*e - 2*G",
        "p": "2*b*s + 2*b*s**2",
        "P": "p + 2*e*C*s**3",
        "cube": "12*b**2 - 8*b**3*e",
        "Rest": "-6*b**2*s**2 + cube*(s + b*e*s**2 + e**2*C*s**3) + C*s**3*(1 - 6*b*e)"
        " - 2*C*s**3*q**2 + 4*b*p - 4*b**2*(s + e*p) + b*(2*s*P + e*P**2)*q - 2*b**2*s**2 - C1*(s + e*P)**3",
    }
    identity = Identity(statements, "z b c r r1 t e f2", where=where)
    evidence.proved("opposite signs at the ends for small epsilon", prove_identity(identity), identity.theorem)


def first_beyond_the_second(derivatives):
    """k, and f^(k)."""
    return next((k, f) for k, f in enumerate(derivatives[1:], start=3) if f)


existence_higher_order = Claim(
    "orbit/existence-higher-order",
    source=Source("chen-bruna-poster", "II, Existence: general 1D functions"),
    printed=(
        r"For a function $f$ that the lowest order non-zero derivative (except the $f''$) at $\bar{x}$ is "
        r"$f^{(k)}(\bar{x})$ with $k \geq 4$, the above conditions are changed to: if $k$ is odd and $\epsilon \cdot "
        r"f^{(k)}(\bar{x}) > 0$, $f^{(k+1)}(\bar{x}) < 0$, or if $k$ is even and $f^{(k)}(\bar{x}) < 0$. [No "
        r"interval of step sizes is printed for it; checked is $\frac{2}{f''} < \eta < \frac{2}{f'' - |f^{(k)} "
        r"\epsilon^{k-2}|}$.]"
    ),
    expected="holds",
    coarse=(
        "It prints signs and orders of derivatives, and no number that could be off by 2 %; the lower end of the "
        "interval is told to 2 %, and its upper end is not."
    ),
)


@existence_higher_order.check(
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
    certificate = prove_existence(taylor_descent(derivatives), -epsilon, bracket)
    evidence.proved("an orbit for every start", certificate, theorem(derivatives, -epsilon, bracket))
