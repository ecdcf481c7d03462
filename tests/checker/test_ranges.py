"""Ranges hold what they should: against exact fractions, and against mpmath with 60 digits."""

import operator
import random
from fractions import Fraction

import mpmath
import pytest

from eosbench.checker.formulas import parse
from eosbench.checker.grids import UNIT, Grid
from eosbench.checker.jets import derivatives
from eosbench.checker.ranges import BITS, Range
from eosbench.checker.steps import Refused

F = Fraction
OPERATIONS = [operator.add, operator.sub, operator.mul, operator.truediv]


def holds(found, exact):
    return found.low <= exact * 2**BITS <= found.high


def numbers(count, seed=0):
    draw = random.Random(seed)
    return [F(draw.randint(-(10**6), 10**6), draw.randint(1, 10**5)) for _ in range(count)]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_an_operation_holds_what_it_does_to_the_numbers_in_its_ranges(operation):
    draw = numbers(1200)
    for a, b, c, d in zip(*[iter(draw)] * 4, strict=True):
        x, y = Range.of(*sorted((a, b))), Range.of(*sorted((c, d)))
        if operation is operator.truediv and y.low <= 0 <= y.high:
            with pytest.raises(Refused, match="holds zero"):
                operation(x, y)
            continue
        found = operation(x, y)
        for u in (a, b, (a + b) / 2):
            for v in (c, d, (c + d) / 2):
                assert holds(found, operation(u, v))


@pytest.mark.parametrize("operation", OPERATIONS[:3], ids=lambda operation: operation.__name__)
def test_it_is_no_wider_than_rounding_makes_it(operation):
    for a, b in zip(numbers(50, 1), numbers(50, 2), strict=True):
        found = operation(Range.of(a), Range.of(b))
        assert found.width <= 2 + abs(a) + abs(b)
    assert not holds(Range.of(F(1, 3)), F(1, 3) + F(1, 2**90))


@pytest.mark.parametrize("power", [0, 1, 2, 3, 4])
def test_a_power_holds_those_of_its_numbers_and_an_even_one_nothing_negative(power):
    found = Range.of(F(-1, 3), F(1, 2)) ** power
    assert all(holds(found, x**power) for x in (F(-1, 3), F(0), F(1, 5), F(1, 2)))
    assert power % 2 or found.low >= 0


@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos"])
def test_an_elementary_function_holds_its_values_to_25_digits(name):
    mpmath.mp.dps = 60
    for x in [abs(x) + F(1, 10**6) if name == "log" else x % 40 - 20 for x in numbers(200, 3)]:
        found, exact = getattr(Range.of(x), name)(), getattr(mpmath, name)(mpmath.mpf(x.numerator) / x.denominator)
        scale = mpmath.mpf(2) ** BITS
        assert found.low <= exact * scale <= found.high
        assert found.width <= 2**16 * max(1, abs(exact))


@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos"])
@pytest.mark.parametrize("width", [F(1, 10**6), F(1, 10), F(3)])
def test_an_elementary_function_holds_its_values_within_a_range(name, width):
    mpmath.mp.dps = 40
    for low in [abs(x) % 9 + F(1, 100) for x in numbers(60, 4)]:
        found = getattr(Range.of(low, low + width), name)()
        for k in range(11):
            x = low + width * k / 10
            exact = getattr(mpmath, name)(mpmath.mpf(x.numerator) / x.denominator)
            assert found.low <= exact * mpmath.mpf(2) ** BITS <= found.high


def test_what_cannot_be_enclosed_is_refused():
    for x, name in ((Range.of(-1, 1), "log"), (Range.of(100), "exp")):
        with pytest.raises(Refused):
            getattr(x, name)()


@pytest.mark.parametrize(
    ("formula", "of"),
    [
        ("sin(2*x)*exp(-x**2/2)", lambda x: mpmath.sin(2 * x) * mpmath.exp(-(x**2) / 2)),
        ("1/(1 + exp(-x)) - log(3 + cos(x))", lambda x: 1 / (1 + mpmath.exp(-x)) - mpmath.log(3 + mpmath.cos(x))),
        ("(x**3 - 2/7*x)/(2 + x**2)", lambda x: (x**3 - mpmath.mpf(2) / 7 * x) / (2 + x**2)),
    ],
)
def test_derivatives_of_formulas_are_those_of_the_functions(formula, of):
    mpmath.mp.dps = 40
    found = derivatives(parse(formula), 3)(Range.of(F(7, 10)))
    for order, value in enumerate(found):
        exact = mpmath.diff(of, mpmath.mpf(7) / 10, order) * mpmath.mpf(2) ** BITS
        slack = mpmath.mpf(2) ** (BITS - 60)  # mpmath's difference quotients are good for that much
        assert value.low - slack <= exact <= value.high + slack
        assert value.width <= 2**20


def test_derivatives_are_exact_where_all_is_rational():
    assert derivatives(parse("x - log(1 + x)"), 2)(F(0)) == [0, 0, 1]
    assert derivatives(parse("1/4*(x**2 - 1)**2"), 3)(F(1, 2)) == [F(9, 64), F(-3, 8), F(-1, 4), F(3)]
    with pytest.raises(Refused, match="sin of 1/2 is no rational number"):
        derivatives(parse("sin(x)"), 1)(F(1, 2))


@pytest.mark.parametrize(
    "text", ["x +", "x if x else 1", "f(x)", "x**y", "1.5*x", "__import__('os')", "[x]", "x/0", "y"]
)
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(Refused):
        derivatives(parse(text), 1)(F(1))


@pytest.mark.parametrize("operation", OPERATIONS[:3], ids=lambda operation: operation.__name__)
def test_many_intervals_at_once_hold_what_they_should(operation):
    draw = [x % 8 - 4 for x in numbers(800, 5)]
    for a, b, c, d in zip(*[iter(draw)] * 4, strict=True):
        found = operation(Grid.of(*sorted((a, b))), Grid.of(*sorted((c, d))))
        for u in (a, b):
            for v in (c, d):
                assert found.low <= operation(u, v) * UNIT <= found.high
        assert Grid.of(*sorted((a, b))).square().low <= min(a * a, b * b) * UNIT
