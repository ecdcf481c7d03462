"""Certificates of one orbit: each step of the argument has a loss on which leaving it out gives a false theorem."""

from fractions import Fraction

import pytest

from eosbench.checker import check, ranges
from eosbench.checker.descent import Descent
from eosbench.checker.ranges import BITS, Range
from eosbench.proof import _two_cycle as two_cycle
from eosbench.proof import prove_two_cycle
from eosbench.proof._families import quartic_descent
from eosbench.proof._two_cycle import OrbitBox, OrbitCertificate

from .planted import asked, changed, odd_slope, polynomial_descent, root, times

F = Fraction
NEAR = F(1, 1000)


def about(x, width=NEAR):
    return F(x) - width, F(x) + width


def claimed(family, eta, left, right, orbit="exists", cells=None):
    """What a prover says that computes nothing: the orbit lies there, and the rest of the interval is empty."""
    low, high = family.search
    middle = [left[1] + (right[0] - left[1]) * F(k, 9) for k in range(10)]
    parts = cells or ((low, left[0]), tuple(middle), (right[1], high))
    box = OrbitBox((F(eta), F(eta)), parts, (left, right), (F(0), F(0)))
    return OrbitCertificate(family.name, box.eta, (box,), (), 0.0, orbit, family).data()


def three_orbits():
    """f'(z) = z + z (z² - a)(z² - b)(z² - c) at eta = 2, where F(z) = -z for the roots of a, b and c."""
    a, b, c = F(48, 100) ** 2, F(50, 100) ** 2, F(52, 100) ** 2
    return odd_slope(1 - a * b * c, a * b + b * c + c * a, -(a + b + c), 1, within=F(3, 4))


def crossed():
    """At eta = 1 it has the orbits {-2/5, 3/5} and {-3/5, 2/5}."""
    return odd_slope(F(19, 6), F(-25, 6), within=F(1, 2))


def test_an_orbit_by_itself_is_accepted():
    """With the other two outside of the search interval nothing is wrong."""
    a, b = F(40, 100) ** 2, F(80, 100) ** 2
    family = odd_slope(1 + a * b, -(a + b), 1, within=F(1, 2))
    found = asked(claimed(family, 2, about("-2/5"), about("2/5")))
    assert found.accepted, found.reason


def test_uniqueness_left_out(monkeypatch):
    """The prover takes every cell for empty: of three orbits it says that there is one."""
    monkeypatch.setattr(two_cycle, "empty", lambda *_: True)
    monkeypatch.setattr(two_cycle, "_guess", lambda *_: (about("-1/2", F(1, 10**6)), about("1/2", F(1, 10**6))))
    certificate = prove_two_cycle(three_orbits(), F(2), F(2), "exists", depth=0)
    assert len(certificate.boxes) == 1
    assert "there may be another orbit within" in asked(certificate.data()).reason


def test_monotony_left_out(monkeypatch):
    """All three orbits in the two boxes."""
    wide = about("-1/2", F(4, 100)), about("1/2", F(4, 100))
    monkeypatch.setattr(two_cycle, "excludes_zero", lambda x: True)
    monkeypatch.setattr(two_cycle, "_guess", lambda *_: wide)
    certificate = prove_two_cycle(three_orbits(), F(2), F(2), "exists", depth=0)
    assert len(certificate.boxes) == 1
    assert "may not be the only one in its box" in asked(certificate.data()).reason


def test_the_change_of_sign_left_out():
    """f'(z) = z - z³ at eta = 1, where H(z) = z - z⁹: no orbit."""
    family = odd_slope(1, -1, within=F(1, 2))
    found = asked(claimed(family, 1, about("-1/4"), about("1/4")))
    assert "the left point is in a box over which H does not change its sign" in found.reason


def test_critical_points_taken_for_an_orbit():
    """The same loss about -1 and 1, which are fixed points."""
    family = odd_slope(1, -1, within=F(5, 4))
    found = asked(claimed(family, 1, about(-1), about(1)))
    assert "the left point may be a critical one" in found.reason


def test_points_of_two_orbits_taken_for_one():
    found = asked(claimed(crossed(), 1, about("-2/5"), about("2/5")))
    assert "a step does not take the left point beyond itself and into the interval" in found.reason


def test_a_point_of_another_orbit_named_as_critical():
    """Next to it H is monotone, as next to a critical point: the other two orbits would be passed over."""
    family = three_orbits()
    names = [F(sign * x, 100) for x in (48, 52) for sign in (-1, 1)]
    data = claimed(family, 2, about("-1/2"), about("1/2"))
    found = asked(changed(data, ["proof", "critical"], [*map(str, names)]))
    assert found.reason == "f' does not vanish at -12/25, exactly"


def test_a_cell_with_two_critical_points_is_not_passed_over():
    """Where H is monotone across a cell it has one zero; with two that are known something is wrong anyway."""
    family = odd_slope(1, -1, within=F(5, 4), critical=(-1, 1))
    data = claimed(family, 1, about("-1/4"), about("1/4"))
    assert not asked(data).accepted


def test_a_maximum_taken_for_the_minimizer():
    family = polynomial_descent(times([F(-1)], root(0), root(-1), root(1)), 1, (F(1, 2), F(3, 2)))
    assert asked(claimed(family, 1, about("3/4"), about("5/4"))).reason == "f'' is not positive at 1"


def test_a_point_that_is_no_minimizer():
    family = polynomial_descent(times(root(0), root(-1), root(1)), F(9, 10), (F(1, 2), F(5, 4)))
    assert asked(claimed(family, 1, about("4/5"), about("11/10"))).reason == "f' does not vanish at 9/10, exactly"


@pytest.mark.parametrize(("low", "orbit"), [("1.22", "repels"), ("1.2375", "attracts")])
def test_the_multiplier_left_out(low, orbit):
    true = {"repels": "attracts", "attracts": "repels"}[orbit]
    certificate = prove_two_cycle(quartic_descent(), F(low), F(low) + F(1, 1000), true)
    assert asked(certificate.data()).accepted
    data = changed(certificate.data(), ["theorem", "orbit"], orbit)
    assert f"the orbit need not {orbit.removesuffix('s')}" in asked(data).reason


@pytest.fixture(scope="module")
def data():
    certificate = prove_two_cycle(quartic_descent(), F("1.05"), F("1.1"))
    assert len(certificate.boxes) > 2
    return certificate.data()


def test_the_certificate_of_the_quartic_is_accepted(data):
    found = asked(data)
    assert found.accepted
    assert found.counts["boxes"] == len(data["proof"]["boxes"])
    assert found.counts["cells"] == sum(len(part) - 1 for box in data["proof"]["boxes"] for part in box["cells"])


def test_every_box_is_needed(data):
    last = len(data["proof"]["boxes"]) - 1
    for at in range(last + 1):
        found = asked(changed(data, ["proof", "boxes", at], None))
        told = {0: "is the first, and begins above the range", last: "the boxes do not reach the end of the step sizes"}
        assert told.get(at, "does not begin where the one before it ends") in found.reason


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("at", [0, -1])
def test_every_cell_is_needed(data, part, at):
    found = asked(changed(data, ["proof", "boxes", 1, "cells", part, at], None))
    assert "do not cover" in found.reason


def test_bounds_are_not_so_narrow_that_another_rounding_would_refuse_them(data, monkeypatch):
    """With ranges in units of 2^-40 in place of 2^-96."""
    for cached in (ranges._exp, ranges._log, ranges._sin_cos):
        cached.cache_clear()
    monkeypatch.setattr(ranges, "BITS", 40)
    monkeypatch.setattr(ranges, "_UNIT", 2**40)
    monkeypatch.setattr(ranges, "_ONE", 2 ** (40 + ranges._SPARE))
    assert ranges.Range.of(F(1, 3)).high == 2**40 // 3 + 1
    found = asked(data)
    assert found.accepted, found.reason


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("end", [0, 1])
def test_a_bound_moved_inward_is_refused(data, side, end):
    """By three tenths of the width: the box around the point then leaves part of its path out."""
    low, high = map(F, data["proof"]["boxes"][1]["points"][side])
    moved = [low, high]
    moved[end] += (1 - 2 * end) * (high - low) * F(3, 10)
    damaged = changed(data, ["proof", "boxes", 1, "points", side], [*map(str, moved)])
    part = {(0, 0): (0, -1), (0, 1): (1, 0), (1, 0): (1, -1), (1, 1): (2, 0)}[side, end]
    damaged = changed(damaged, ["proof", "boxes", 1, "cells", part[0], part[1]], str(moved[end]))
    found = asked(damaged)
    assert "H does not change its sign" in found.reason or "another orbit within" in found.reason


@pytest.mark.parametrize(
    ("theorem", "reason"),
    [
        ({"eta": ["1.05", "1.11"]}, "the boxes do not reach the end of the step sizes"),
        ({"eta": ["1.04", "1.1"]}, "begins above the range"),
        ({"loss": "51/200*(x**2 - 1)**2"}, "H does not change its sign"),
        ({"loss": "1/4*(x**2 - 51/50)**2"}, "f' does not vanish at 1, exactly"),
        ({"search": ["0", "3/2"]}, "do not cover"),
        ({"search": ["0", "1.15"]}, "do not cover"),
        ({"minimizer": "101/100"}, "f' does not vanish"),
        ({"orbit": "lasts"}, "the orbit is said to be 'lasts'"),
        ({"unit": "1/f''"}, "the unit of the step sizes"),
        ({"unit": "2/f''", "eta": ["1.06", "1.2"]}, "the boxes do not reach the end"),
    ],
)
def test_another_theorem_does_not_follow(data, theorem, reason):
    """A certificate that is damaged to state it, and a claim that asks for it."""
    damaged = {**data, "theorem": {**data["theorem"], **theorem}}
    assert reason in asked(damaged).reason
    assert asked(data, **theorem).reason.startswith("the certificate states another theorem")


def test_the_same_theorem_in_other_words_is_the_same(data):
    assert asked(data, eta=["21/20", "11/10"], loss="1/4 * ((x**2 - 1)**2)").accepted


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (["proof", "note"], "trust me", "the proof has the entry 'note', which nothing reads"),
        (["theorem", "note"], "and more", "the theorem has the entry 'note', which nothing reads"),
        (["note"], "x", "the certificate has the entry 'note', which nothing reads"),
        (["proof", "boxes", 0, "note"], "x", "a box has the entry 'note', which nothing reads"),
        (["proof", "critical"], None, "the proof lacks 'critical'"),
        (["proof", "boxes", 0, "points"], None, "a box lacks 'points'"),
        (["format"], "eosbench-certificate/0", "the certificate is not of the format"),
        (["kind"], "three-cycle", "there is no checker of the kind 'three-cycle'"),
        (["proof", "boxes"], [], "the boxes do not reach the end of the step sizes"),
        (["proof", "boxes", 0, "eta", 0], 1.05, "no rational number written as a text"),
        (["proof", "boxes", 0, "eta"], ["1.06", "1.05"], "'eta' of a box does not rise"),
        (["proof", "boxes", 0, "points", 0], ["4/5", "17/20", "9/10"], "is no interval [low, high]"),
        (["proof", "boxes", 0, "points"], [["4/5", "9/10"]], "has 1 parts in place of 2"),
        (["proof", "boxes", 0, "cells", 0], "none", "is no list of numbers"),
        (["proof"], "none", "the proof is no object"),
        (["theorem", "loss"], "+".join(["x"] * 20000), "formula"),
        (["theorem", "loss"], "(" * 300 + "x" + ")" * 300, "is no formula"),
    ],
)
def test_every_entry_is_read_and_none_is_missing(data, path, value, reason):
    assert reason in asked(changed(data, path, value)).reason


@pytest.mark.parametrize("data", [None, [], "x", {}, {"format": "eosbench-certificate/1"}])
def test_what_is_no_certificate_is_refused(data):
    assert not check(data, {"kind": "trap"}).accepted


@pytest.mark.parametrize("low", [F(1, 2), F(7, 10), F(101, 100)])
def test_enclosures_on_a_cell_hold_what_is_so_at_its_points(low):
    """H, H', (x - m) H' - H, F and F' of the quartic, in rational numbers."""
    loss, width, etas = Descent("1/4*(x**2 - 1)**2"), F(1, 10), (F("1.05"), F("1.15"))
    x, eta = Range.of(low, low + width), Range.of(*etas)
    for i in range(5):
        for j in range(5):
            at, step = low + width * i / 4, etas[0] + (etas[1] - etas[0]) * j / 4
            after = at - step * at * (at**2 - 1)
            stretch = 1 - step * (3 * at**2 - 1)
            h = at * (at**2 - 1) + after * (after**2 - 1)
            slope = 3 * at**2 - 1 + (3 * after**2 - 1) * stretch
            asked = (
                (loss.value(x, eta), h),
                (loss.derivative(x, eta), slope),
                (loss.bend(x, eta, F(1)), (at - 1) * slope - h),
                (loss.step(x, eta), after),
                (loss.stretch(x, eta), stretch),
            )
            for found, exact in asked:
                assert found.low <= exact * 2**BITS <= found.high
