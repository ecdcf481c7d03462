"""Balls and covers against exact rational numbers."""

import random
from fractions import Fraction
from itertools import pairwise

import pytest
from flint import arb

from eosbench.proof._intervals import as_float, ball, bounds, cover, excludes_zero, rational, tiles

F = Fraction


def fractions(n):
    """Of many magnitudes, few of them dyadic."""
    source, most = random.Random(0), 10**6
    return [F(source.randint(-most, most), source.randint(1, most)) * F(2) ** source.randint(-60, 60) for _ in range(n)]


def test_a_ball_holds_the_number_and_its_bounds_are_close():
    for x in fractions(200):
        low, high = bounds(ball(x))
        assert low <= x <= high
        assert high - low <= abs(x) / 2**50


def test_a_ball_holds_the_interval():
    for x, y in pairwise(fractions(200)):
        low, high = bounds(ball(min(x, y), max(x, y)))
        assert low <= min(x, y)
        assert max(x, y) <= high
        assert high - low <= abs(x - y) * (1 + F(1, 2**20)) + max(abs(x), abs(y)) / 2**25


def test_bounds_of_what_a_float_holds_are_exact():
    for x in (1.5, -0.1, 2.0**-80, 3.0 * 2.0**70, 0.0):
        assert bounds(arb(x)) == (F(x), F(x))


def test_floats_for_a_reader_are_rounded_outward():
    for x in fractions(50):
        low, high = as_float((x, x))
        assert F(low) < x < F(high)


def test_the_end_of_a_box_is_a_rounded_float():
    assert rational(0.3, bits=4) == F(5, 16)
    assert abs(rational(0.1) - F(0.1)) <= F(1, 2**45)


@pytest.mark.parametrize(
    ("x", "settled"),
    [(arb(1), True), (arb(-1), True), (arb(0), False), (arb(0, 1), False), (arb(2, 1), True), (arb("nan"), False)],
)
def test_the_sign_of_a_ball(x, settled):
    assert excludes_zero(x) is settled


def test_a_cover_is_refined_where_it_has_to_be():
    """Cells shorter than their distance from 0, down to 1/64: each is proved, and they cover the interval."""
    seen = []

    def proves(x):
        low, high = bounds(x)
        if high - low <= max(low, F(1, 64)) * F(1001, 1000):
            seen.append((low, high))
            return True
        return False

    points = cover(proves, F(0), F(1))
    assert points is not None
    assert (points[0], points[-1]) == (0, 1)
    widths = [b - a for a, b in pairwise(points)]
    assert min(widths) == F(1, 64)
    assert max(widths) == F(1, 2)
    for (a, b), (low, high) in zip(pairwise(points), seen, strict=True):
        assert low <= a < b <= high


def test_no_cover_where_a_point_is_not_proved():
    assert cover(lambda x: not x.contains(arb(1) / 3), F(0), F(1)) is None
    assert cover(lambda x: bool(x < 1), F(0), F(1)) is None  # it fails at an end, which the last cell holds
    assert cover(lambda x: False, F(1), F(1)) == (1,)  # no cell to prove


@pytest.mark.parametrize(
    ("boxes", "whole"),
    [
        ([(0, 1), (1, 2)], True),
        ([(-1, 1), (1, 3)], True),
        ([(0, 1), (1, 1), (1, 2)], False),
        ([(1, 2), (0, 1)], False),
        ([(0, 2), (2, 1), (1, 2)], False),
        ([], False),
    ],
)
def test_tiles(boxes, whole):
    assert tiles([(F(a), F(b)) for a, b in boxes], F(0), F(2)) is whole
