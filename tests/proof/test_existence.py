"""Certificates of existence, checked again in rational arithmetic without rounding: H is a polynomial in z = x - m."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, zip_longest
from math import comb, factorial

import numpy as np
import pytest
from scipy.optimize import brentq

from eosbench.proof import prove_existence
from eosbench.proof._families import quartic_descent, taylor_descent

F = Fraction


def derivatives(*numbers):
    return tuple(F(n) for n in numbers)


def times(p, q):
    product = [F(0)] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] += a * b
    return product


def displacement(slope, eta):
    """The coefficients of H(z) = f'(z) + f'(z - eta f'(z)) from those of f'."""
    step = [-eta * a for a in slope]
    step[1] += 1
    after = [F(0)]
    for a in reversed(slope):
        after = times(after, step)
        after[0] += a
    return [a + b for a, b in zip_longest(slope, after, fillvalue=F(0))]


def sign(p, low, high, depth=12):
    """The sign of a polynomial that has no zero in [low, high]; 0 if that was not settled.

    It has none where, about the middle, the constant term outweighs all others.
    """
    centre, radius = (low + high) / 2, (high - low) / 2
    about = [sum(a * comb(k, j) * centre ** (k - j) for k, a in enumerate(p[j:], start=j)) for j in range(len(p))]
    if abs(about[0]) > sum(abs(a) * radius**j for j, a in enumerate(about[1:], start=1)):
        return 1 if about[0] > 0 else -1
    if not depth:
        return 0
    signs = {sign(p, *half, depth - 1) for half in ((low, centre), (centre, high))}
    return signs.pop() if len(signs) == 1 else 0


def recheck(certificate, of_f, minimizer=0):
    """What is wrong with a certificate for the loss with these derivatives at the minimizer, if anything."""
    slope = [F(0)] + [F(d) / factorial(k) for k, d in enumerate(of_f, start=1)]
    ends = tuple(sorted((minimizer, certificate.end)))
    first, last = (displacement(slope, eta) for eta in certificate.bracket)
    order = next(k for k, a in enumerate(first) if a)
    if order != certificate.order or last[0]:
        return f"order {order}"
    parts = (
        ("lower", certificate.lower, first[order:], certificate.signs[0]),
        ("upper", certificate.upper, last[1:], certificate.signs[1]),
    )
    for name, cells, quotient, claimed in parts:
        if (cells[0], cells[-1]) != ends or any(x >= y for x, y in pairwise(cells)):
            return f"cells of {name} do not cover"
        for x, y in pairwise(cells):
            if sign(quotient, x - minimizer, y - minimizer) != claimed:
                return f"{name} on [{float(x)}, {float(y)}]"
    if not certificate.bracket[0] < certificate.bracket[1]:
        return "empty bracket"
    # H has the sign of z^order times the first at one end, and of z times the second at the other.
    return "" if order % 2 and sum(certificate.signs) == 0 else "no change of sign"


def test_all_starts_of_the_quartic_from_seven_tenths_on():
    proved = prove_existence(quartic_descent(), F("0.7"), (F(1), 2 / (2 - F("0.3") * 6)))
    assert proved.verified
    assert proved.order == 3
    assert recheck(proved, derivatives(2, 6, 6), F(1)) == ""

    def excess(eta, x):
        y = x - eta * x * (x * x - 1)
        return y - eta * y * (y * y - 1) - x

    for x in np.linspace(0.7, 0.999, 20):
        eta = brentq(excess, 1 + 1e-9, 10 - 1e-9, args=(x,))
        # delta² is a root u of eta² u² - eta (1 + eta) u + 1
        assert eta**2 * x**4 - eta * (1 + eta) * x**2 + 1 == pytest.approx(0, abs=1e-8)


def prove(of_f, epsilon):
    """With the bracket 2/f'' < eta < 2/(f'' - |f^(k) epsilon^(k - 2)|)."""
    k, f_k = next((k, f) for k, f in enumerate(of_f[1:], start=3) if f)
    bend = abs(f_k * epsilon ** (k - 2))
    return prove_existence(taylor_descent(of_f), -epsilon, (2 / of_f[0], 2 / (of_f[0] - bend)))


@pytest.mark.parametrize(
    ("of_f", "epsilon", "order"),
    [
        (derivatives(2, 6, 6), F("0.3"), 3),
        (derivatives(2, -6, 6), F("-0.3"), 3),
        (derivatives(1, 1, 0), F("0.1"), 3),
        (derivatives(1, 1, "2.9"), F("0.05"), 3),
        (derivatives(1, 1, -5), F("0.1"), 3),
        (derivatives(1, -2, 11), F("-0.02"), 3),
        (derivatives(1, 0, -1), F("0.2"), 3),
        (derivatives(1, 0, -1, 1), F("0.1"), 3),
        (derivatives(1, 0, 0, 1, -1), F("0.1"), 5),
        (derivatives(1, 0, 0, -1, -1), F("-0.1"), 5),
        (derivatives(1, 0, 0, 0, -1), F("0.3"), 5),
        (derivatives(1, 1, 0), F("-0.1"), 3),  # on the other side of the minimizer, too
        (derivatives(1, 0, 0, 1, -1), F("-0.1"), 5),
    ],
)
def test_polynomials_and_the_checker_agrees(of_f, epsilon, order):
    proved = prove(of_f, epsilon)
    assert proved.verified
    assert proved.order == order
    assert recheck(proved, of_f) == ""


@pytest.mark.parametrize(
    ("of_f", "epsilon"),
    [
        (derivatives(1, 1, "3.1"), F("0.05")),  # 3f'''² < f''f'''': both signs are the same, and proved so
        (derivatives(1, 1, 12), F("0.05")),
        (derivatives(1, 0, 1), F("0.2")),
        (derivatives(1, 0, 0, 1, 1), F("0.1")),
        (derivatives(1, 0, 0, 0, 1), F("0.3")),
    ],
)
def test_no_change_of_sign_where_the_condition_fails(of_f, epsilon):
    refused = prove(of_f, epsilon)
    assert not refused.verified
    assert refused.signs == (-1, -1)
    assert recheck(refused, of_f) == "no change of sign"


FAULTS = {
    "a sign at the lower end": ({"signs": (-1, -1)}, "lower on"),
    "a sign at the upper end": ({"signs": (1, 1)}, "upper on"),
    "both signs": ({"signs": (-1, 1)}, "lower on"),
    "the order": ({"order": 1}, "order 3"),
    "an empty bracket": ({"bracket": (F(2), F(2))}, "upper on"),
    "a bracket that begins beyond the edge": ({"bracket": (F("2.01"), F("2.1"))}, "order 1"),
    "more starts": ({"end": F("-0.06")}, "cells of lower"),
}


@pytest.fixture(scope="module")
def close():
    """3f'''² > f''f'''' by little."""
    return prove(derivatives(1, 1, "2.9"), F("0.05"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(close, fault):
    assert recheck(close, derivatives(1, 1, "2.9")) == ""
    changes, reason = FAULTS[fault]
    assert recheck(replace(close, **changes), derivatives(1, 1, "2.9")).startswith(reason)


@pytest.mark.parametrize("part", ["lower", "upper"])
def test_a_missing_cell_is_caught(close, part):
    broken = replace(close, **{part: getattr(close, part)[1:]})
    assert recheck(broken, derivatives(1, 1, "2.9")) == f"cells of {part} do not cover"


def test_another_loss_is_caught(close):
    assert recheck(close, derivatives(1, 1, "3.1")).startswith("lower on")


def test_an_inverted_bracket_proves_nothing():
    inverted = prove_existence(taylor_descent(derivatives(1, 0, 1)), F("-0.2"), (F(2), 2 / (1 + F("0.04"))))
    assert inverted.signs == (-1, 1)  # the sign changes, over an empty bracket
    assert not inverted.verified
    assert recheck(inverted, derivatives(1, 0, 1)) == "empty bracket"


def test_a_quadratic_has_no_order():
    assert not prove_existence(taylor_descent(derivatives(1, 0, 0)), F("-0.1"), (F(2), F("2.1"))).verified
