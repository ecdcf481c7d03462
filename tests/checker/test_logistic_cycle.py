"""Cycles on logistic regression: certificates, damaged ones, and provers that leave out a step."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest

from eosbench.proof import LogisticRegression, prove_logistic_cycle
from eosbench.proof import _logistic_cycle as logistic

from .planted import asked, changed

F = Fraction
ONE = LogisticRegression(((F(1),), (F(-1000),)), (F(2012), F(1)))
TWO = LogisticRegression(
    ((F("0.8"), F("-0.14")), (F("0.93"), F("0.43")), (F(-33), F("3.9")), (F(-31), F("0.59"))),
    (F(500), F(750), F(11), F(10)),
)


def settled(data_set, eta, start, near, steps=3000):
    """A point of the cycle and the minimum, in NumPy."""
    points, shares = data_set.floats
    w, at = np.array(start, float), np.array(near, float)

    def slope(w):
        return -(shares * (1 - np.tanh(points @ w / 2)) / 2) @ points

    for _ in range(steps):
        w = w - eta * slope(w)
    for _ in range(60):
        t = np.tanh(points @ at / 2)
        at = at - np.linalg.solve((points.T * (shares * (1 - t**2) / 4)) @ points, slope(at))
    return w, at


def proved(data_set=ONE, eta="4.4", period=3, between=("1.113", "1.1145"), start=(-0.02,), near=(0.012,)):
    w, at = settled(data_set, float(F(eta)), start, near)
    return prove_logistic_cycle(data_set, F(eta), period, tuple(map(F, between)), w, at)


def proved_in_two(**changes):
    theorem = {"data_set": TWO, "eta": "2.567", "period": 2, "between": ("0.3425", "0.344")}
    return proved(**(theorem | {"start": (0.65, 5.24), "near": (0.3, 4.2)} | changes))


@pytest.mark.parametrize("prove", [proved, proved_in_two])
def test_a_cycle_is_proved_and_accepted(prove):
    certificate = prove()
    assert certificate.verified
    assert certificate.describe()["missing"] == "nothing"
    found = asked(certificate.data())
    assert found.accepted, found.reason


def test_the_cycle_is_there_with_thirty_digits():
    points, weights = [1, -1000], [2012, 1]
    with mpmath.workdps(30):
        w, orbit = mpmath.mpf(-0.02), []
        for step in range(63):
            orbit = [*orbit, w] if step >= 60 else orbit
            pull = sum(a * x / (1 + mpmath.exp(x * w)) for x, a in zip(points, weights, strict=True))
            w += mpmath.mpf("4.4") * pull / sum(weights)
        assert abs(w - orbit[0]) < mpmath.mpf(10) ** -25
        low, high = proved().start[0]
        assert float(low) < orbit[0] < float(high)


@pytest.mark.parametrize(
    ("prove", "changes", "missing"),
    [
        (proved, {"period": 2}, "the box is not taken into itself"),
        (proved, {"period": 6}, "after 3 steps the box may be met again"),
        (proved, {"between": ("1.115", "1.12")}, "eta λ_1 may be smaller"),
        (proved, {"between": ("1.1", "1.113")}, "eta λ_1 may be larger"),
        (proved_in_two, {"between": ("0.344", "0.35")}, "eta λ_1 may be smaller"),
        (proved_in_two, {"between": ("0.3", "0.343")}, "eta λ_1 may be larger"),
        (proved_in_two, {"period": 4}, "after 2 steps the box may be met again"),
    ],
)
def test_what_is_missing_is_told_and_refused(prove, changes, missing):
    certificate = prove(**changes)
    assert certificate.missing == missing
    assert not asked(certificate.data()).accepted


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["theorem", "eta"], "4.3", "not taken into itself"),
        (["theorem", "eta"], "-1", "not positive"),
        (["theorem", "period"], "3/2", "no whole number"),
        (["theorem", "period"], "6", "after 3 steps the box may be met again"),
        (["theorem", "weights", 1], "0", "not one positive number"),
        (["theorem", "weights", 1], None, "not one positive number"),
        (["theorem", "points", 0], ["1", "1"], "not all of one number"),
        (["theorem", "between"], ["1.12", "1.2"], "may be below"),
        (["theorem", "between"], ["1.0", "1.1"], "may exceed"),
        (["proof", "start", 0], ["-0.1", "0.1"], "met again"),
        (["proof", "minimum", 0], ["0.02", "0.03"], "need not vanish"),
        (["proof", "inverse", 0, 0], "0", "need not vanish"),
    ],
)
def test_a_damaged_certificate_is_refused(path, value, reason):
    found = asked(changed(proved().data(), path, value))
    assert not found.accepted
    assert reason in found.reason


def test_a_wide_box_about_a_cycle_that_attracts_at_its_middle_alone(monkeypatch):
    """Beyond 1/M of the first point the outlier acts, and F' there is some hundred."""
    monkeypatch.setattr(logistic, "_RADIUS", 0.02)
    real = logistic._Model.derivative
    assert not proved().verified
    monkeypatch.setattr(logistic._Model, "derivative", lambda self, w: real(self, logistic._middle(w)))
    certificate = proved()
    assert certificate.verified
    assert not asked(certificate.data()).accepted


def test_a_cycle_that_repels_is_not_taken():
    """The minimum at 2.1/λ is a fixed point met again and again; the cycle of a repelling start is left."""
    steep = LogisticRegression(((F(1),), (F(-1),)), (F(1), F(1)))
    w, at = np.array([1e-9]), np.zeros(1)
    certificate = prove_logistic_cycle(steep, F("8.4"), 2, (F(2), F("2.2")), w, at)
    assert not certificate.verified
    assert not asked(certificate.data()).accepted
