"""Certificates of traps: each step of the argument has a loss on which leaving it out gives a false theorem."""

from fractions import Fraction

import numpy as np
import pytest

from eosbench.proof import _trap as trap
from eosbench.proof import prove_trap
from eosbench.proof._families import quartic_descent
from eosbench.proof._trap import TrapBox, TrapCertificate

from .planted import asked, changed, polynomial_descent, root, times

F = Fraction
WITHIN = F(0), F(3, 2)


def skip(monkeypatch, step):
    """A prover that leaves out that F rises (0), that F falls (1) or that f' < 0 (2)."""
    real, calls = trap.cover, []

    def cover(proves, low, high):
        calls.append(low)
        return (low, high) if (len(calls) - 1) % 3 == step else real(proves, low, high)

    monkeypatch.setattr(trap, "cover", cover)


def path(slope, eta, start, steps=2000):
    """Where gradient descent ends."""
    x = start
    for _ in range(steps):
        x -= eta * np.polyval([float(a) for a in reversed(slope)], x)
    return x


def test_a_loss_with_a_second_minimum_left_of_the_trap(monkeypatch):
    """At 2/5 it holds paths that the trap is to draw in."""
    slope = times([F(2)], root(0), root("2/5"), root("9/20"), root(1), root(-1))
    skip(monkeypatch, 2)
    certificate = prove_trap(polynomial_descent(slope, 1, WITHIN, (0, "2/5")), F("1.53"), F("1.531"))
    assert certificate.verified
    assert path(slope, 1.53, 0.41) == pytest.approx(0.4)
    assert "f' < 0 is not so on [0, " in asked(certificate.data()).reason


def test_a_loss_whose_steps_leave_the_interval(monkeypatch):
    """It is so steep near 1/4 that F exceeds the trap there; right of 3/5 it falls, as it should."""
    bump = [F(1), F(0), *[300 * a for a in times(*[[F(1), F(-1)]] * 6)]]
    slope = times(root(0), root(-1), root(1), bump)
    skip(monkeypatch, 0)
    monkeypatch.setattr(trap, "_critical", lambda family, eta: 0.6)
    certificate = prove_trap(polynomial_descent(slope, 1, WITHIN, (0,)), F("1.01"), F("1.011"))
    assert certificate.verified
    assert path(slope, 1.01, 0.25, steps=1) > max(float(box.trap[1]) for box in certificate.boxes)
    assert "F does not rise on [0, " in asked(certificate.data()).reason


def test_a_minimizer_that_attracts():
    """At eta = 0.99 and 1 all is so but that the minimizer repels."""
    parts = ((F(0), F("0.81")), (F("0.825"), F("1.09")), (F(0), F("0.3"), F("0.85")))
    box = TrapBox((F("0.99"), F(1)), parts, (F("0.81"), F("0.825")), (F("0.85"), F("1.09")))
    data = TrapCertificate("planted", box.eta, (box,), (), 0.0, quartic_descent()).data()
    assert "the minimizer need not repel" in asked(data).reason
    later = changed(changed(data, ["theorem", "eta"], ["1", "1.001"]), ["proof", "boxes", 0, "eta"], ["1", "1.001"])
    found = asked(later)
    assert found.accepted, found.reason


@pytest.fixture(scope="module")
def data():
    return prove_trap(quartic_descent(), F(1), F("1.121")).data()


def test_the_certificate_of_the_quartic_is_accepted(data):
    assert asked(data).accepted


def test_every_box_is_needed(data):
    assert all(
        not asked(changed(data, ["proof", "boxes", at], None)).accepted for at in range(len(data["proof"]["boxes"]))
    )


BOX = ["proof", "boxes", 2]


@pytest.mark.parametrize(
    ("path", "move", "reason"),
    [
        ([*BOX, "critical", 0], "1/1000000", "the cells of"),
        ([*BOX, "critical", 1], "-1/1000000", "the cells of"),
        ([*BOX, "trap", 1], "-1/50", "F may exceed the trap next to its maximum"),
        ([*BOX, "trap", 0], "1/20", "F may take the end of the trap below it"),
        ([*BOX, "trap", 0], "-1/5", "the trap is not about the minimizer"),
        (["theorem", "eta", 1], "1/1000", "the boxes do not reach the end"),
        (["theorem", "eta", 0], "-1/1000", "begins above the range"),
        (["theorem", "within", 1], "-1/5", "the trap is not about the minimizer, in the interval"),
        (["theorem", "within", 0], "1/10", "the interval does not begin at 0"),
    ],
)
def test_a_bound_moved_is_refused(data, path, move, reason):
    value = data
    for key in path:
        value = value[key]
    found = asked(changed(data, path, str(F(value) + F(move))))
    assert reason in found.reason


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        ("51/200*(x**2 - 1)**2", "F does not rise"),
        ("1/4*(x**2 - 1)**2 + 1/50*x", "begin at 0, a critical point"),
        ("1/4*(x**2 - 51/50)**2", "f' does not vanish at 1"),
    ],
)
def test_another_loss_is_refused(data, loss, reason):
    assert reason in asked(changed(data, ["theorem", "loss"], loss)).reason


@pytest.mark.parametrize("part", [0, 1, 2])
def test_every_cell_is_needed(data, part):
    assert "do not cover" in asked(changed(data, [*BOX, "cells", part, 0], None)).reason


def test_an_interval_on_which_f_does_not_fall_is_refused(data):
    """It begins left of the maximum of F."""
    box = data["proof"]["boxes"][2]
    damaged = changed(data, [*BOX, "critical"], ["3/4", "4/5"])
    damaged = changed(damaged, [*BOX, "cells"], [["0", "3/4"], ["4/5", box["trap"][1]], box["cells"][2]])
    assert "F does not fall on [0.8, " in asked(damaged).reason


def test_an_interval_on_which_f_does_not_rise_is_refused(data):
    """It ends right of the maximum of F."""
    box = data["proof"]["boxes"][2]
    lo, hi = box["trap"]
    damaged = changed(data, [*BOX, "critical"], ["81/100", lo])
    damaged = changed(damaged, [*BOX, "cells"], [["0", "81/100"], [lo, hi], box["cells"][2]])
    assert "F does not rise on [0, 0.81]" in asked(damaged).reason
