"""Certificates of period-2 orbits, checked again in exact rational arithmetic that shares nothing with the prover."""

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest

from eosbench.proof import prove_two_cycle
from eosbench.proof.families import quartic_descent, squared_descent

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
    broken = replace(certificate, boxes=tuple(boxes))
    assert not broken.verified
    assert recheck(broken)


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
    from eosbench.proof.intervals import ball

    return ball(family.minimizer)
