from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from eosbench.proof import prove_trap
from eosbench.proof.families import quartic_descent

F = Fraction


@pytest.fixture(scope="module")
def certificate():
    return prove_trap(quartic_descent(), F(1), F("1.1213"))


def test_the_trap_is_proved_from_the_edge_on(certificate):
    assert certificate.verified


def test_each_box_in_exact_arithmetic(certificate):
    """At the ends and the middle of each box, where rational numbers need no rounding."""

    def step(x, eta):
        return x - eta * x * (x * x - 1)

    for box in certificate.boxes:
        (a, b), (lo, hi) = box.critical, box.trap
        for eta in (*box.eta, sum(box.eta) / 2):
            assert a**2 < (1 + eta) / (3 * eta) < b**2  # F' vanishes in between
            assert b <= lo < 1 < hi
            assert lo < step(hi, eta) < step(lo, eta) < hi
            # The maximum of F squared, (2 (1 + eta)/3)² (1 + eta)/(3 eta)
            assert F(4, 27) * (1 + eta) ** 3 / eta < hi**2
        parts = {"rising": (F(0), a), "falling": (b, hi), "uphill": (F(0), lo)}
        for name, ends in parts.items():
            cells = getattr(box, name)
            assert (cells[0], cells[-1]) == ends


def test_orbits_stay_in_the_trap(certificate):
    box = certificate.boxes[-1]
    eta, (lo, hi) = float(box.eta[0]), map(float, box.trap)
    x = np.linspace(0.001, 0.999, 500)
    for _ in range(40):
        x = x - eta * x * (x**2 - 1)
    assert np.all((lo <= x) & (x <= hi))


def test_a_missing_box_is_caught(certificate):
    assert not replace(certificate, boxes=certificate.boxes[1:]).verified
    assert not replace(certificate, boxes=certificate.boxes[:3] + certificate.boxes[4:]).verified


@pytest.mark.parametrize(("low", "high"), [("1.122", "1.123"), ("0.99", "1")])
def test_no_trap_beyond_the_superstable_orbit_nor_below_the_edge(low, high):
    nothing = prove_trap(quartic_descent(), F(low), F(high))
    assert not nothing.verified
    assert not nothing.boxes


def test_the_search_interval_must_begin_at_a_critical_point():
    with pytest.raises(ValueError, match="must begin at 0"):
        prove_trap(replace(quartic_descent(), critical=()), F(1), F("1.1"))
