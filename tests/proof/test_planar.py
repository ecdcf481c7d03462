"""Certified basins, checked again in integer arithmetic."""

import operator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from eosbench.proof import _outward as outward
from eosbench.proof._planar import prove_basin

from .rational import Range

ORBIT = np.sqrt((2.1 + np.array([-1, 1]) * np.sqrt(0.1 * 4.1)) / 2.2)
ONE = Range.of(1)


class Step:
    """One step in s = x + y and D = (x - y)², and its derivatives, on boxes of integers.

    The mean value theorem is taken about the middle of the box, and for s, where it is monotone in s, at both ends.
    """

    def __init__(self, eta):
        self.eta, self.half, self.quarter = Range.of(eta), Range.of(eta / 2), Range.of(eta / 4)

    def spread(self, s, d):
        """1 + eta r, with r = (s² - D)/4 - 1."""
        return ONE + self.quarter * (s.square() - d) - self.eta

    def natural(self, s, d):
        spread = self.spread(s, d)
        return s * (ONE + ONE - spread), d * spread.square()

    def slopes(self, s, d):
        """The derivatives of s and of D after a step: in s and D each."""
        spread = self.spread(s, d)
        s_by_s = ONE + ONE - spread - self.half * s.square()
        return (s_by_s, self.quarter * s), (self.eta * d * spread * s, spread.square() - self.half * d * spread)

    def __call__(self, s, d):
        (s_by_s, s_by_d), (d_by_s, d_by_d) = self.slopes(s, d)
        s0, d0 = s.middle(), d.middle()
        (s1, d1), (about_s, about_d) = self.natural(s, d), self.natural(s0, d0)
        s1 &= about_s + s_by_s * (s - s0) + s_by_d * (d - d0)
        d1 &= about_d + d_by_s * (s - s0) + d_by_d * (d - d0)
        if s_by_s.sign():
            left, right = (self.natural(end, d)[0] for end in s.ends())
            s1 &= left | right
        return s1, d1


def everywhere(holds, s, d, depth):
    """Whether it holds on the cells of some subdivision of a box."""
    if holds(s, d):
        return True
    return depth > 0 and all(everywhere(holds, x, y, depth - 1) for x in s.halves() for y in d.halves())


def recheck(certificate, boxes):
    """What is wrong with the certificate, or with these boxes, if anything."""
    eta, step = certificate.eta[0], Step(certificate.eta[0])
    half, most = certificate.target
    ends = certificate.centre - half, certificate.centre + half  # in floating point, as the prover takes them
    around, below = Range.of(*ends), Range.of(most)
    if max(certificate.contraction) >= 1:
        return "contraction"
    if ends[0] <= 0 or ends[1] >= 2:
        return "target not left of the minimizer"
    # With D = 0, s/2 = delta_1 is where this changes sign.
    cofactor = [eta**2 * x**4 - eta * (1 + eta) * x**2 + 1 for x in (Fraction(end) / 2 for end in ends)]
    if not cofactor[0] > 0 > cofactor[1]:
        return "orbit not in the target"

    def inside(s, d):
        return s in around and d.high < below.low

    def contracts(s, d):
        s1, d1 = step(s, d)
        (s_by_s, _), (d_by_s, _) = step.slopes(s, d)
        (then_by_s, then_by_d), _ = step.slopes(s1, d1)
        slope = then_by_s * s_by_s + then_by_d * d_by_s
        shrink = (step.spread(s, d) * step.spread(s1, d1)).square()
        in_s, in_d = (Range.of(bound) for bound in certificate.contraction)
        return inside(*step(s1, d1)) and abs(slope) <= in_s.high and shrink.high <= in_d.high

    def arrives(s, d):
        for _ in range(200):
            if inside(s, d):
                return True
            if s.high - s.low > ONE.low or d.high > 10 * ONE.low:
                return False
            s, d = step(s, d)
        return False

    low_s, high_s, low_d, high_d = certificate.boxes.T
    overlapping = (
        np.sum((s < high_s) & (low_s < to_s) & (d < high_d) & (low_d < to_d)) for s, to_s, d, to_d in certificate.boxes
    )
    if sum(overlapping) > len(certificate.boxes):
        return "boxes overlap"  # and count twice in the share of the domain
    if not everywhere(contracts, around, Range.of(0, most), depth=7):
        return "target not mapped into itself"
    for low_s, high_s, low_d, high_d in boxes:
        if not everywhere(arrives, Range.of(low_s, high_s), Range.of(low_d, high_d), depth=4):
            return f"s in [{low_s}, {high_s}], D in [{low_d}, {high_d}] does not arrive"
    return ""


def prove(eta, levels):
    u = ((1 + eta) - np.sqrt((eta - 1) * (eta + 3))) / (2 * eta)  # delta_1²
    return prove_basin((Fraction(str(eta)),) * 2, float(np.sqrt(u)), levels=levels)


@pytest.fixture(scope="module")
def basin():
    return prove(1.1, levels=2)


@pytest.mark.parametrize("eta", [1.05, 1.1, 1.12])
def test_a_second_checker_agrees_on_a_sample(eta):
    certificate = prove(eta, levels=3)  # as the claim has it
    assert certificate.verified
    assert recheck(certificate, certificate.boxes[:: len(certificate.boxes) // 200]) == ""


@pytest.mark.parametrize(
    ("on_boxes", "exactly"),
    [
        pytest.param(outward.add, operator.add, id="sum"),
        pytest.param(outward.minus, operator.sub, id="difference"),
        pytest.param(outward.times, operator.mul, id="product"),
        pytest.param(lambda a, _: outward.square(a), lambda x, _: x * x, id="square"),
    ],
)
def test_an_operation_on_boxes_holds_the_exact_result(on_boxes, exactly):
    random = np.random.default_rng(0)
    a, b = np.sort(random.standard_normal((2, 2, 400)) * 10 ** random.uniform(-3, 3, (2, 1, 400)), axis=1)
    low, high = on_boxes(tuple(a), tuple(b))
    for i in range(400):
        for x in (*a[:, i], a[:, i].mean()):
            for y in b[:, i]:
                assert low[i] <= exactly(Fraction(x), Fraction(y)) <= high[i]


@pytest.mark.parametrize("number", [Fraction(1, 3), Fraction("1.1"), -Fraction(1, 7), Fraction(1, 4)])
def test_a_number_lies_in_its_box(number):
    (low,), (high,) = outward.number(number, number, (np.zeros(1), np.zeros(1)))
    assert low <= number <= high
    assert (low == high) == (number == Fraction(1, 4))


FAULTS = {
    "a larger target": ({"target": (0.3, 0.1)}, "target not mapped into itself"),
    "a target of larger D": ({"target": (0.1, 0.5)}, "target not mapped into itself"),
    "a stronger contraction in s": ({"contraction": (0.5, 0.82)}, "target not mapped into itself"),
    "a stronger contraction in D": ({"contraction": (0.8, 0.5)}, "target not mapped into itself"),
    "no contraction": ({"contraction": (1.0, 0.82)}, "contraction"),
    "a target off the orbit": ({"centre": 1.3}, "orbit not in the target"),
    "a target at the other point": ({"centre": 2.2}, "target not left of the minimizer"),
    "another step size": ({"eta": (Fraction("1.2"),) * 2}, "orbit not in the target"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_target_is_caught(basin, fault):
    changes, reason = FAULTS[fault]
    assert recheck(basin, basin.boxes[:2]) == ""
    assert recheck(replace(basin, **changes), basin.boxes[:2]) == reason


def test_a_box_that_counts_twice_is_caught(basin):
    twice = replace(basin, boxes=np.concatenate([basin.boxes, basin.boxes[7:8]]))
    assert recheck(twice, basin.boxes[:2]) == "boxes overlap"


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((1.99, 2.01, 0.0, 0.01), id="minimizers"),
        pytest.param((1.15, 1.16, 0.0, 0.01), id="a step before them"),
        pytest.param((0.0, 0.05, 0.0, 0.01), id="the saddle"),
        pytest.param((3.4, 3.5, 0.0, 0.1), id="far out"),
    ],
)
def test_a_box_that_does_not_arrive_is_caught(basin, box):
    assert recheck(basin, [*basin.boxes[:2], box]).endswith("does not arrive")


def test_sampled_starts_of_the_certified_region_reach_the_orbit(basin):
    assert basin.verified
    random = np.random.default_rng(0)
    s, d = random.uniform(0.05, 2.6, 4000), random.uniform(0, 1, 4000)
    x, y = (s + np.sqrt(d)) / 2, (s - np.sqrt(d)) / 2
    kept = basin.contains(x, y)
    assert kept.mean() == pytest.approx(basin.fraction, abs=0.03)
    x, y = x[kept], y[kept]
    for _ in range(3000):
        r = x * y - 1
        x, y = x - 1.1 * r * y, y - 1.1 * r * x
    np.testing.assert_allclose(x, y, atol=1e-10)
    np.testing.assert_allclose(np.abs(x[:, None] - ORBIT).min(1), 0, atol=1e-10)


def test_the_starts_that_do_not_converge_are_left_out(basin):
    assert not basin.contains(np.array([1.25, 1.0, 1.4]), np.array([0.8, 1.0, 1 / 1.4])).any()  # x y = 1


@pytest.mark.parametrize("eta", ["0.98", "1.25"])
def test_nothing_is_proved_outside_the_range(eta):
    nothing = prove_basin((Fraction(eta),) * 2, 0.9)
    assert not nothing.verified
    assert nothing.fraction == 0


def test_no_target_left_of_zero():
    """The enclosures of s hold for s > 0 only."""
    assert prove_basin((Fraction("1.1"),) * 2, -1.1, levels=0).target == (0, 0)
