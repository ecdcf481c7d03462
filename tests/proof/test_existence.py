from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import brentq

from eosbench.proof import IdentityCertificate, prove_existence, variables
from eosbench.proof.families import quartic_descent, taylor_descent

F = Fraction


def derivatives(*numbers):
    return tuple(F(n) for n in numbers)


def test_all_starts_of_the_quartic_from_seven_tenths_on():
    proved = prove_existence(quartic_descent(), F("0.7"), (F(1), 2 / (2 - F("0.3") * 6)))
    assert proved.verified
    assert proved.order == 3

    def displacement(eta, x):
        y = x - eta * x * (x * x - 1)
        return y - eta * y * (y * y - 1) - x

    for x in np.linspace(0.7, 0.999, 20):
        eta = brentq(displacement, 1 + 1e-9, 10 - 1e-9, args=(x,))
        # delta² is a root u of eta² u² - eta (1 + eta) u + 1
        assert eta**2 * x**4 - eta * (1 + eta) * x**2 + 1 == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
    ("of_f", "epsilon", "bend", "order"),
    [
        (derivatives(1, 1, "2.9"), F("0.05"), F("0.05"), 3),
        (derivatives(1, 0, -1), F("0.2"), F("0.04"), 3),
        (derivatives(1, 0, 0, 1, -1), F("0.1"), F("0.001"), 5),
    ],
)
def test_polynomials(of_f, epsilon, bend, order):
    proved = prove_existence(taylor_descent(of_f), -epsilon, (F(2), 2 / (1 - bend)))
    assert proved.verified
    assert proved.order == order


@pytest.mark.parametrize(
    ("of_f", "epsilon", "bend"),
    [
        (derivatives(1, 1, "3.1"), F("0.05"), F("0.05")),  # 3f'''² < f''f'''': both signs are the same, and proved so
        (derivatives(1, 1, 12), F("0.05"), F("0.05")),
        (derivatives(1, 0, 0, 1, 1), F("0.1"), F("0.001")),
    ],
)
def test_no_change_of_sign_where_the_condition_fails(of_f, epsilon, bend):
    refused = prove_existence(taylor_descent(of_f), -epsilon, (F(2), 2 / (1 - bend)))
    assert not refused.verified
    assert refused.signs == (-1, -1)


def test_an_inverted_bracket_proves_nothing():
    inverted = prove_existence(taylor_descent(derivatives(1, 0, 1)), F("-0.2"), (F(2), 2 / (1 + F("0.04"))))
    assert inverted.signs == (-1, 1)  # the sign changes, over an empty bracket
    assert not inverted.verified


def test_a_quadratic_has_no_order():
    assert not prove_existence(taylor_descent(derivatives(1, 0, 0)), F("-0.1"), (F(2), F("2.1"))).verified


def test_identities_are_compared_coefficient_by_coefficient():
    x, y = variables("x", "y")
    assert IdentityCertificate((("square", (x + y) ** 2, x**2 + 2 * x * y + y**2),)).verified
    wrong = IdentityCertificate((("square", (x + y) ** 2, x**2 + y**2),))
    assert not wrong.verified
    assert wrong.describe()["failed"] == "square"
    assert not IdentityCertificate(()).verified
