"""Certificates of period-2 orbits, checked again in exact rational arithmetic that shares nothing with the prover."""

import itertools
from dataclasses import replace
from fractions import Fraction
from math import factorial

import pytest

from eosbench.proof import _two_cycle as two_cycle
from eosbench.proof import prove_two_cycle
from eosbench.proof._families import quartic_descent, squared_descent, taylor_descent
from eosbench.proof._intervals import ball, bounds

from .rational import Range

F = Fraction
ONE, TWO, THREE = Range.of(1), Range.of(2), Range.of(3)


def cofactor(x, eta):
    """Four times the factor of F(F(x)) - x that vanishes on the orbit, eta² x⁴ - eta (1 + eta) x² + 1, as a difference:
    (2 eta x² - 1 - eta)² - (eta - 1)(eta + 3)."""
    return (TWO * eta * x.square() - ONE - eta).square() - (eta - ONE) * (eta + THREE)


def stretch(x, eta):
    return ONE - eta * (THREE * x.square() - ONE)


def recheck(certificate, attracting=True):
    """What is wrong with a certificate of the quartic, if anything. What the prover found on a deflated F(F(x)) - x
    by Taylor enclosures, this reads off the factorization, box by box and cell by cell."""
    at = certificate.eta[0]
    for box in certificate.boxes:
        if box.eta[0] != at:
            return f"gap at {float(at)}"
        at = box.eta[1]
        eta = Range.of(*box.eta)
        (a, b), (c, d) = box.points
        if not 0 < a < b < 1 < c < d < F(5, 4):
            return "order"
        signs = [sign(end, end, *box.eta) for end in (a, b, c, d)]
        if signs != [1, -1, -1, 1]:
            return f"signs {signs} at {float(at)}"
        # d/du of the cofactor over 4 eta: one zero in each box
        if (TWO * eta * Range.of(a, b).square() - ONE - eta).sign() != -1:
            return "left point not simple"
        if (TWO * eta * Range.of(c, d).square() - ONE - eta).sign() != 1:
            return "right point not simple"
        product = stretch(Range.of(a, b), eta) * stretch(Range.of(c, d), eta)
        if attracting and not ((product - ONE).sign() == -1 and (product + ONE).sign() == 1):
            return "multiplier"
        if not attracting and (product + ONE).sign() != -1:
            return "multiplier"
        ends = [(F(0), a), (b, c), (d, F(5, 4))]
        for (low, high), part in zip(ends, box.cells, strict=True):
            if (part[0], part[-1]) != (low, high) or any(x >= y for x, y in itertools.pairwise(part)):
                return "cells do not cover"
            for x, y in itertools.pairwise(part):
                if not sign(x, y, *box.eta):
                    return f"a zero in [{float(x)}, {float(y)}]"
            # and no zero of the antisymmetric factor eta x² - eta - 2
            if (eta * Range.of(low, high).square() - eta - TWO).sign() != -1:
                return "antisymmetric orbit"
    return "" if at >= certificate.eta[1] else "end not reached"


def sign(low, high, eta_low, eta_high, depth=6):
    """The sign of the cofactor on a cell for all eta of a box, halving both where needed; 0 if it was not settled."""
    found = cofactor(Range.of(low, high), Range.of(eta_low, eta_high)).sign()
    if found or not depth:
        return found
    x, eta = (low + high) / 2, (eta_low + eta_high) / 2
    halves = [(low, high)] if low == high else [(low, x), (x, high)]
    first = sign(*halves[0], eta_low, eta, depth - 1)
    if not first:
        return 0
    rest = [(*half, *part) for part in ((eta_low, eta), (eta, eta_high)) for half in halves][1:]
    return first if all(sign(*cell, depth - 1) == first for cell in rest) else 0


@pytest.fixture(scope="module")
def certificate():
    return prove_two_cycle(quartic_descent(), F("1.001"), F("1.121"))


def test_the_printed_range_is_proved_and_the_checker_agrees(certificate):
    assert certificate.verified
    assert recheck(certificate) == ""
    assert certificate.describe()["boxes"] == len(certificate.boxes) < 100


def test_the_multiplier_encloses_the_exact_one(certificate):
    for box in certificate.boxes:
        for eta in box.eta:
            assert box.multiplier[0] <= 9 - 2 * (1 + eta) ** 2 <= box.multiplier[1]


@pytest.mark.parametrize("at", [0, 7, -1])
def test_a_missing_box_is_caught(certificate, at):
    boxes = list(certificate.boxes)
    del boxes[at]
    assert recheck(replace(certificate, boxes=tuple(boxes)))


def test_a_moved_point_is_caught_by_the_checker(certificate):
    box = certificate.boxes[5]
    (a, b), right = box.points
    moved = replace(box, points=((a, a + (b - a) / 8), right))
    broken = replace(certificate, boxes=(*certificate.boxes[:5], moved, *certificate.boxes[6:]))
    assert recheck(broken)


def test_missing_cells_are_caught_by_the_checker(certificate):
    box = certificate.boxes[3]
    broken = replace(
        certificate, boxes=(*certificate.boxes[:3], replace(box, cells=(box.cells[0][1:], *box.cells[1:])))
    )
    assert recheck(broken) == "cells do not cover"


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [("1.121", "1.236", "attracts"), ("1.2361", "1.24", "repels"), ("1.236", "1.2361", "exists")],
)
def test_beyond_the_printed_range(low, high, kind):
    proved = prove_two_cycle(quartic_descent(), F(low), F(high), kind)
    assert proved.verified
    if kind != "exists":
        assert recheck(proved, attracting=kind == "attracts") == ""


@pytest.mark.parametrize(("low", "high"), [("0.95", "0.951"), ("0.9995", "1.0005"), ("1.2365", "1.237")])
def test_nothing_is_proved_where_there_is_nothing(low, high):
    nothing = prove_two_cycle(quartic_descent(), F(low), F(high))
    assert not nothing.verified
    assert not nothing.boxes


def test_a_range_across_the_end_is_proved_up_to_there():
    partly = prove_two_cycle(quartic_descent(), F("1.23"), F("1.24"))
    assert not partly.verified
    assert F("1.2360") < partly.failed[0][0] < F("1.23607")


@pytest.mark.parametrize("model", ["exp", "square", "gaussian"])
def test_squared_losses_of_other_models(model):
    family, etas = squared_descent(model, (F("1.005"), F("1.01")))
    proved = prove_two_cycle(family, *etas)
    assert proved.verified
    # The normal form: multiplier 1 - 8 (eta f''/2 - 1) + ...
    edge = 2 / float(family.curvature(family_point(family)).mid())
    for box in proved.boxes:
        middle = float(sum(box.eta)) / 2
        assert float(sum(box.multiplier)) / 2 == pytest.approx(1 - 8 * (middle / edge - 1), abs=5e-3)


def family_point(family):
    return ball(family.minimizer)


def odd_slope(*coefficients, within):
    """The loss with f'(z) the sum of coefficients[k] z^(2k + 1), and orbits counted up to `within` from 0."""
    derivatives = [F(0)] * (2 * len(coefficients) - 1)
    derivatives[::2] = [a * factorial(2 * k + 1) for k, a in enumerate(coefficients)]
    return replace(taylor_descent(tuple(derivatives)), search=(-within, within))


def guess(monkeypatch, left, right):
    """Where to look for the orbit is no part of the proof: whatever it is, nothing false follows."""
    monkeypatch.setattr(two_cycle, "_guess", lambda *_: (left, right))


def test_points_of_two_orbits_are_not_taken_for_one(monkeypatch):
    """At eta = 1 this loss has the orbits {-2/5, 3/5} and {-3/5, 2/5}: only the partners lie outside the interval."""
    family = odd_slope(F(19, 6), F(-25, 6), within=F(1, 2))
    for x in (F(2, 5), F(3, 5)):
        assert F(19, 6) * x - F(25, 6) * x**3 == 1
    near = F(1, 1000)
    guess(monkeypatch, (F(-2, 5) - near, F(-2, 5) + near), (F(2, 5) - near, F(2, 5) + near))
    assert two_cycle.orbit_box(family, F(1), F(1), "exists") is None


def test_two_critical_points_are_not_taken_for_an_orbit(monkeypatch):
    """f'(z) = z - z³ at eta = 1, where F(z) = z³ and H(z) = z - z⁹: no orbit, and fixed points 0, 1 and -1."""
    near = F(1, 100)
    guess(monkeypatch, (-1 - near, -1 + near), (1 - near, 1 + near))
    assert two_cycle.orbit_box(odd_slope(F(1), F(-1), within=F(5, 4)), F(1), F(1), "exists") is None


def test_three_orbits_are_not_taken_for_one(monkeypatch):
    """f'(z) = z + z (z² - a)(z² - b)(z² - c) at eta = 2, where F(z) = -z for the square roots of a, b and c."""
    a, b, c = F(48, 100) ** 2, F(50, 100) ** 2, F(52, 100) ** 2
    family = odd_slope(1 - a * b * c, a * b + b * c + c * a, -(a + b + c), F(1), within=F(3, 4))
    guess(monkeypatch, (F(-54, 100), F(-46, 100)), (F(46, 100), F(54, 100)))
    assert two_cycle.orbit_box(family, F(2), F(2), "exists") is None


@pytest.mark.parametrize("beyond", [F(1, 10**10), -F(1, 10**10)])
def test_the_image_must_lie_in_the_search_interval(monkeypatch, beyond):
    """Which ends just before or beyond the bound on what F makes of a wide box around delta_1."""
    eta, family, left = F("1.1"), quartic_descent(), (F("0.8135"), F("0.8155"))
    guess(monkeypatch, left, (F("1.115"), F("1.117")))
    end = bounds(family.step(ball(*left), ball(eta)))[1] + beyond
    found = two_cycle.orbit_box(replace(family, search=(F(0), end)), eta, eta, "exists")
    assert (found is not None) == (beyond > 0)
