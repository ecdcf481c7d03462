from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from eosbench.proof import prove_trap
from eosbench.proof._families import quartic_descent

F = Fraction


@pytest.fixture(scope="module")
def certificate():
    return prove_trap(quartic_descent(), F(1), F("1.1213"))


def test_the_trap_is_proved_from_the_edge_on(certificate):
    assert certificate.verified


def recheck(certificate):
    """What is wrong with a certificate of the quartic, if anything, in rational numbers without rounding.

    All that depends on eta is monotone in it for eta > 1/2, so that both ends of a box speak for the whole of it.
    """

    def step(x, eta):
        return x - eta * x * (x * x - 1)

    at = certificate.eta[0]
    if at < 1:
        return "the minimizer attracts"
    for box in certificate.boxes:
        if box.eta[0] != at:
            return f"gap at {float(at)}"
        at, (a, b), (lo, hi) = box.eta[1], box.critical, box.trap
        for eta in box.eta:
            if not 0 < a**2 < (1 + eta) / (3 * eta) < b**2:  # F' = 0 at the middle one, and falls
                return "critical point"
            if not F(4, 27) * (1 + eta) ** 3 / eta < hi**2:  # the square of F there
                return "maximum"
            if not (b <= lo < 1 < hi and lo < step(hi, eta) < step(lo, eta) < hi):  # f' < 0 on (0, lo], as lo < 1
                return "trap"
        for (low, high), part in zip(((F(0), a), (b, hi), (F(0), lo)), box.cells, strict=True):
            if (part[0], part[-1]) != (low, high) or any(x >= y for x, y in pairwise(part)):
                return "cells do not cover"
    return "" if at >= certificate.eta[1] else "end not reached"


def test_a_second_checker_agrees_box_by_box(certificate):
    assert recheck(certificate) == ""


def test_orbits_stay_in_the_trap(certificate):
    box = certificate.boxes[-1]
    eta, (lo, hi) = float(box.eta[0]), map(float, box.trap)
    x = np.linspace(0.001, 0.999, 500)
    for _ in range(40):
        x = x - eta * x * (x**2 - 1)
    assert np.all((lo <= x) & (x <= hi))


@pytest.mark.parametrize("at", [0, 3, -1])
def test_a_missing_box_is_caught(certificate, at):
    boxes = list(certificate.boxes)
    del boxes[at]
    assert recheck(replace(certificate, boxes=tuple(boxes)))


CHANGES = {
    "critical point": lambda box: replace(box, critical=(box.critical[0], box.critical[0] + F(1, 10**6))),
    "maximum": lambda box: replace(box, trap=(box.trap[0], F(1001, 1000))),
    "trap": lambda box: replace(box, trap=(box.trap[0] + F(1, 10), box.trap[1])),
    "cells do not cover": lambda box: replace(box, cells=(*box.cells[:2], box.cells[2][1:])),
}


@pytest.mark.parametrize("reason", CHANGES)
def test_a_changed_box_is_caught(certificate, reason):
    boxes = list(certificate.boxes)
    boxes[2] = CHANGES[reason](boxes[2])
    assert recheck(replace(certificate, boxes=tuple(boxes))) == reason


@pytest.mark.parametrize(("low", "high"), [("1.122", "1.123"), ("0.99", "1")])
def test_no_trap_beyond_the_superstable_orbit_nor_below_the_edge(low, high):
    nothing = prove_trap(quartic_descent(), F(low), F(high))
    assert not nothing.verified
    assert not nothing.boxes


def test_the_search_interval_must_begin_at_a_critical_point():
    with pytest.raises(ValueError, match="must begin at 0"):
        prove_trap(replace(quartic_descent(), critical=()), F(1), F("1.1"))
