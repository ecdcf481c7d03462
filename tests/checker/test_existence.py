"""Certificates of existence and of minima, of provers that leave out a step, and damaged by hand."""

from fractions import Fraction

import pytest

from eosbench.proof import _existence as existence
from eosbench.proof import _minimum as minimum
from eosbench.proof import prove_existence, prove_minimum

from .planted import asked, changed, described

F = Fraction


def test_the_sign_at_the_middle_of_a_cell_alone(monkeypatch):
    """H/z has one sign in the middle of [-0.8, 0] and the other near -0.8, at the upper end of the bracket."""
    real = existence._signed
    monkeypatch.setattr(existence, "_signed", lambda f, x, eta, *more: real(f, x.mid(), eta, *more))
    certificate = prove_existence(described((1, 1, -5)), F("-0.8"), (F(2), F("2.5")))
    assert certificate.verified
    found = asked(certificate.data())
    assert found.reason == "H at the upper end of the bracket has no sign on [-0.8, 0]"

    def h(z, eta=2.5):
        slope = [0, 1, 1 / 2, -5 / 6]
        step = z - eta * sum(a * z**k for k, a in enumerate(slope))
        return sum(a * (z**k + step**k) for k, a in enumerate(slope))

    assert h(-0.4) / -0.4 * (h(-0.8) / -0.8) < 0


def test_a_sign_that_does_not_change():
    """3f'''² < f''f'''': the prover knows, and a certificate that says otherwise is refused."""
    refused = prove_existence(described((1, 1, "3.1")), F("-0.05"), (F(2), 2 / (1 - F("0.05"))))
    assert not refused.verified
    assert asked(refused.data()).reason == "H has the same sign at both ends of the bracket"


@pytest.fixture(scope="module")
def data():
    return prove_existence(described((1, 1, "2.9")), F("-0.05"), (F(2), 2 / (1 - F("0.05")))).data()


def test_a_certificate_of_existence_is_accepted(data):
    assert asked(data).accepted


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["theorem", "bracket"], ["2", "2"], "the bracket of step sizes is empty"),
        (["theorem", "bracket"], ["2.01", "2.2"], "has the same sign at both ends"),
        (["theorem", "bracket", 1], "2.00001", "has no sign on"),
        (["theorem", "end"], "-0.06", "the cells of the lower end do not cover"),
        (["theorem", "end"], "0", "there is no start"),
        (["theorem", "loss"], "1/2*x**2 + 1/6*x**3 + 31/240*x**4", "same sign"),
        (["theorem", "loss"], "1/2*x**2 + 1/6*x**3 + exp(x)", "no meaning here"),
        (["theorem", "loss"], "1/2*(x - 1/100)**2", "f' does not vanish at the minimizer"),
        (["theorem", "loss"], "1/2*x**2", "H at the lower end of the bracket is zero"),
        (["theorem", "minimizer"], "1/1000", "f' does not vanish at the minimizer"),
        (["proof", "upper", 0], None, "do"),
        (["proof", "lower"], ["-0.05", "-0.01"], "do not cover"),
    ],
)
def test_a_damaged_certificate_of_existence_is_refused(data, path, value, reason):
    found = asked(changed(data, path, value))
    assert not found.accepted
    assert reason in found.reason


def excess(w):
    return w - (1 + w).log()


@pytest.fixture(scope="module")
def tangent():
    return prove_minimum("x - log(1 + x)", excess, F(0), (F(-1, 2), F(3))).data()


def test_a_certificate_of_a_minimum_is_accepted(tangent):
    assert asked(tangent).accepted


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["theorem", "function"], "x - log(1 + x) + 1/100", "the function does not vanish at 0"),
        (["theorem", "function"], "51/50*x - log(1 + x)", "its derivative does not vanish at 0"),
        (["theorem", "function"], "x**3", "f'' > 0 is not so on"),
        (["theorem", "function"], "log(1 + x) - x", "f'' > 0 is not so on"),
        (["theorem", "function"], "1 - cos(x)", "f'' > 0 is not so on"),
        (["theorem", "function"], "3", "the function does not vanish"),
        (["theorem", "domain"], ["-0.5", "4"], "the cells do not cover"),
        (["theorem", "point"], "4", "lies outside the domain"),
        (["theorem", "point"], "1/2", "log of 3/2 is no rational number"),
        (["proof", "cells"], ["-0.5", "2"], "the cells do not cover"),
        (["proof", "cells", 1], "-0.9", "does not rise"),
    ],
)
def test_a_damaged_certificate_of_a_minimum_is_refused(tangent, path, value, reason):
    assert reason in asked(changed(tangent, path, value)).reason


def test_convexity_left_out(monkeypatch):
    """A prover that takes all cells; x² (x - 1)(x - 2) is negative between 1 and 2."""
    monkeypatch.setattr(minimum, "cover", lambda proves, low, high, depth: (low, high))
    certificate = prove_minimum("x**2*(x - 1)*(x - 2)", lambda x: x * x * (x - 1) * (x - 2), F(0), (F(-1), F(3)))
    assert certificate.verified
    assert "f'' > 0 is not so on" in asked(certificate.data()).reason
