"""Losses whose orbits are proved here, as formulas that take balls and power series."""

import math
from collections.abc import Callable
from fractions import Fraction
from math import factorial
from typing import Any, NamedTuple

from flint import arb_series, fmpq

from eosbench.proof._intervals import Interval, ball, rational
from eosbench.proof._two_cycle import Descent


def quartic_descent() -> Descent:
    """``¼ (x² - 1)²`` about 1, with orbits counted in [0, 5/4], which F maps into itself for eta up to 1.24."""
    return Descent(
        "¼(x² - 1)²",
        "1/4*(x**2 - 1)**2",
        lambda x: x * (x * x - 1),
        Fraction(1),
        (Fraction(0), Fraction(5, 4)),
        (Fraction(0),),
    )


def taylor_descent(derivatives: tuple[Fraction, ...]) -> Descent:
    """The polynomial with minimizer 0 and these derivatives there, from the second on."""
    coefficients = [fmpq(d.numerator, d.denominator) / factorial(k) for k, d in enumerate(derivatives, start=1)]

    def slope(x: Any) -> Any:
        total = x * 0 + coefficients[-1]
        for coefficient in coefficients[-2::-1]:
            total = total * x + coefficient
        return total * x

    shown = ", ".join(str(d) for d in derivatives)
    powers = [f"({d})/{factorial(k)}*x**{k}" for k, d in enumerate(derivatives, start=2) if d]
    return Descent(f"derivatives {shown} at 0", " + ".join(powers), slope, Fraction(0), (Fraction(-1), Fraction(1)))


class Model(NamedTuple):
    """A base model g with its derivative, and a point about which to fit it; `formula` is g(x), with x in braces."""

    formula: str
    value: Callable[[Any], Any]
    derivative: Callable[[Any], Any]
    point: Fraction


def _logistic(x: Any) -> Any:
    return 1 / (1 + (-x).exp())


def _tanh(x: Any) -> Any:
    return 2 * _logistic(2 * x) - 1


def _gaussian(x: Any) -> Any:
    return (-(x * x) / 2).exp()


MODELS = {
    "sin": Model("sin({x})", lambda x: x.sin(), lambda x: x.cos(), Fraction(1, 2)),
    "tanh": Model("2/(1 + exp(-2*{x})) - 1", _tanh, lambda x: 1 - _tanh(x) * _tanh(x), Fraction(1, 2)),
    "sigmoid": Model("1/(1 + exp(-{x}))", _logistic, lambda x: _logistic(x) * (1 - _logistic(x)), Fraction(1, 2)),
    "exp": Model("exp({x})", lambda x: x.exp(), lambda x: x.exp(), Fraction(0)),
    "log": Model("log({x})", lambda x: x.log(), lambda x: 1 / x, Fraction(1)),
    "square": Model("{x}**2", lambda x: x * x, lambda x: 2 * x, Fraction(1)),
    "cube": Model("{x}**3", lambda x: x * x * x, lambda x: 3 * x * x, Fraction(1)),
    "gaussian": Model("exp(-{x}**2/2)", _gaussian, lambda x: -x * _gaussian(x), Fraction(1, 2)),
    "identity": Model("{x}", lambda x: x, lambda x: x * 0 + 1, Fraction(1, 2)),
    "sinh": Model(
        "(exp({x}) - exp(-{x}))/2",
        lambda x: (x.exp() - (-x).exp()) / 2,
        lambda x: (x.exp() + (-x).exp()) / 2,
        Fraction(1, 5),
    ),
}


def squared_descent(name: str, beyond: Interval) -> tuple[Descent, Interval]:
    """The loss ``(g(x) - g(m))²`` of a model about its point m, and step sizes from `beyond`, in units of 2/f''(m).

    Orbits are counted within twice the distance that the amplitude law gives for the largest of them, rounded up to
    hundredths, or within 1/10 where it gives none.
    """
    model = MODELS[name]
    m = model.point
    target = model.value(arb_series([ball(m)], prec=1))[0]

    def slope(x: arb_series) -> arb_series:
        return 2 * (model.value(x) - target) * model.derivative(x)

    _, f2, f3, f4 = (float((slope(arb_series([ball(m), 1], prec=4))[k] * factorial(k)).mid()) for k in range(4))
    law = (3 * f3**2 - f2 * f4) / (3 * f2**3)
    twice = 2 * ((float(beyond[1]) - 1) * 2 / f2 / law) ** 0.5 if law > 0 else 0.1
    reach = Fraction(math.ceil(100 * twice - 1e-9), 100)
    margin = Fraction(1, 2**42)  # the edge is known to rounding
    etas = rational(float(beyond[0]) * 2 / f2) - margin, rational(float(beyond[1]) * 2 / f2) + margin
    loss = f"({model.formula.format(x='x')} - ({model.formula.format(x=f'({m})')}))**2"
    return Descent(f"({name}(x) - {name}({m}))²", loss, slope, m, (m - reach, m + reach)), etas
