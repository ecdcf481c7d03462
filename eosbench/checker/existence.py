"""A period-2 orbit through every start of an interval, at a step size inside a bracket; for polynomial losses, exactly.

With z = x - m and F(z) = z - eta f'(z), a start that is not critical has period two where H(z) = f'(z) + f'(F(z))
vanishes, and H is continuous in eta. It is checked that f'(m) = 0, that H/z^k at the lower end of the bracket and H/z
at the upper have opposite signs for every start, and that k is odd: then H changes its sign in between. Where f'
vanished, H would for every eta.
"""

from fractions import Fraction

from eosbench.checker.formulas import parse, value
from eosbench.checker.polynomials import Polynomial
from eosbench.checker.steps import Fields, Refused, Steps, cells


def check_existence(theorem: Fields, proof: Fields, steps: Steps) -> None:
    """Check a certificate of kind "existence"."""
    loss, m = theorem.text("loss"), theorem.fraction("minimizer")
    end, bracket = theorem.fraction("end"), theorem.interval("bracket")
    steps.hold(bracket[0] < bracket[1], "the bracket of step sizes is empty")
    steps.hold(end != m, "there is no start between the minimizer and the end")
    low, high = sorted((Fraction(0), end - m))
    f = value(parse(loss), {"x": Polynomial([m, Fraction(1)])})
    if not isinstance(f, Polynomial):
        raise Refused("the loss is constant")
    slope = f.derivative()
    steps.hold(slope.c[0] == 0, f"f' does not vanish at the minimizer {m}")
    signs: list[int] = []
    for name, eta, most in (("lower", bracket[0], None), ("upper", bracket[1], 1)):
        h = slope + slope.at(Polynomial([Fraction(0), Fraction(1)]) - eta * slope)
        order = h.order if most is None else most
        steps.hold(order is not None and h.c[:order] == [0] * order, f"H at the {name} end of the bracket is zero")
        if order is None or order % 2 == 0:
            raise Refused(
                f"H at the {name} end of the bracket has a zero of even order, so that its sign tells nothing"
            )
        quotient, found = Polynomial(h.c[order:]), set()
        for a, b in cells(sorted(p - m for p in proof.points(name)), low, high, f"the cells of the {name} end"):
            sign = quotient.sign(a, b)
            where = f"[{float(a + m):.9g}, {float(b + m):.9g}]"
            steps.hold(sign != 0, f"H at the {name} end of the bracket has no sign on {where}")
            steps.count("cells")
            found.add(sign)
        steps.hold(len(found) == 1, f"H at the {name} end of the bracket changes its sign")
        signs += found
    steps.hold(signs[0] == -signs[1], "H has the same sign at both ends of the bracket")
