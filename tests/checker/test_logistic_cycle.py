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


def proved(data_set=ONE, eta=4.4, period=3, times=("1.11", "1.12"), start=(-0.02,), near=(0.012,), depth=8):
    w, at = settled(data_set, eta, start, near)
    return prove_logistic_cycle(data_set, period, tuple(map(F, times)), w, at, depth)


def proved_in_two(**changes):
    theorem = {"data_set": TWO, "eta": 2.567, "period": 2, "times": ("0.3432", "0.3433")}
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
        box = next(box for box in proved().boxes if float(box.eta[0]) <= 4.4 <= float(box.eta[1]))
        assert float(box.start[0][0]) < orbit[0] < float(box.start[0][1])


def test_the_range_in_units_of_the_sharpness_is_that_of_the_boxes():
    points, shares = ONE.floats
    _, at = settled(ONE, 4.4, (-0.02,), (0.012,))
    t = np.tanh(points @ at / 2)
    sharpness = float((shares * (1 - t**2) / 4) @ points[:, 0] ** 2)
    boxes = proved().boxes
    ends = float(boxes[0].eta[0]) * sharpness, float(boxes[-1].eta[1]) * sharpness
    np.testing.assert_allclose(ends, [1.11, 1.12], rtol=1e-7)


@pytest.mark.parametrize(
    ("prove", "changes", "missing"),
    [
        (proved, {"period": 2}, "the box is not taken into itself"),
        (proved, {"period": 6}, "after 3 steps the box may be met again"),
        (proved, {"times": ("1.00", "1.12")}, "after 1 steps the box may be met again"),
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
        (["proof", "boxes", 0, "eta", 0], "-1", "not positive"),
        (["proof", "boxes", 0, "eta", 1], "4.4", "no box begins at"),
        (["proof", "boxes", 0], None, "may be less than all step sizes"),
        (["proof", "boxes", -1], None, "may be more than all step sizes"),
        (["proof", "boxes"], [], "there is no box"),
        (["theorem", "period"], "3/2", "no whole number"),
        (["theorem", "period"], "6", "after 3 steps the box may be met again"),
        (["theorem", "weights", 1], "0", "not one positive number"),
        (["theorem", "weights", 1], None, "not one positive number"),
        (["theorem", "points", 0], ["1", "1"], "not all of one number"),
        (["theorem", "times"], ["1.11", "1.121"], "may be more"),
        (["theorem", "times"], ["1.109", "1.12"], "may be less"),
        (["proof", "boxes", 0, "start", 0], ["-0.1", "0.1"], "met again"),
        (["proof", "minimum", 0], ["0.02", "0.03"], "need not vanish"),
        (["proof", "inverse", 0, 0], "0", "need not vanish"),
    ],
)
def test_a_damaged_certificate_is_refused(path, value, reason):
    data = proved(times=("1.11", "1.14")).data()
    assert len(data["proof"]["boxes"]) > 1
    if path[0] == "theorem" and path[1] == "times":
        data = proved().data()
    found = asked(changed(data, path, value))
    assert not found.accepted
    assert reason in found.reason


def test_a_wide_box_about_a_cycle_that_attracts_at_its_middle_alone(monkeypatch):
    """Beyond 1/M of the first point the outlier acts, and F' there is some hundred."""
    monkeypatch.setattr(logistic, "_RADIUS", 0.02)
    real = logistic._Model.derivative
    assert not proved(depth=0).verified
    monkeypatch.setattr(logistic._Model, "derivative", lambda self, w, eta: real(self, logistic._middle(w), eta))
    certificate = proved(depth=0)
    assert certificate.verified
    assert not asked(certificate.data()).accepted


def test_a_cycle_that_repels_is_not_taken():
    """The minimum at 2.1/λ repels, and is no cycle: its box is met in every step."""
    steep = LogisticRegression(((F(1),), (F(-1),)), (F(1), F(1)))
    certificate = prove_logistic_cycle(steep, 2, (F("2.09"), F("2.1")), np.array([0.0]), np.zeros(1), 3)
    assert not certificate.verified
    assert not asked(certificate.data()).accepted
