"""Intervals with rational ends, enclosed by the balls of Arb (python-flint).

The ends of every box are `Fraction`s, so that a certificate is exact data; only enclosures of what a function does on
a box are balls, and those are rounded outward by Arb.
"""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

from flint import arb, fmpq

Interval = tuple[Fraction, Fraction]


def ball(low: Fraction, high: Fraction | None = None) -> arb:
    """A ball that contains [low, high], or the one number low."""
    first = arb(fmpq(low.numerator, low.denominator))
    return first if high is None else first.union(arb(fmpq(high.numerator, high.denominator)))


def middle(low: Fraction, high: Fraction) -> Fraction:
    """A number between the two with a denominator that stays small under repeated bisection."""
    return (low + high) / 2


def rational(value: float, bits: int = 44) -> Fraction:
    """A float rounded to a multiple of 2^-bits, for use as the end of a box."""
    return Fraction(round(value * 2**bits), 2**bits)


def bounds(x: arb) -> Interval:
    """Rational numbers below and above everything in the ball."""
    (low, p), (high, q) = x.lower().man_exp(), x.upper().man_exp()
    return Fraction(int(low)) * Fraction(2) ** int(p), Fraction(int(high)) * Fraction(2) ** int(q)


def excludes_zero(x: arb) -> bool:
    """Whether every number of the ball has the same sign; a ball that is not finite does not."""
    return bool(x > 0) or bool(x < 0)


def cover(proves: Callable[[arb], bool], low: Fraction, high: Fraction, depth: int = 12) -> tuple[Fraction, ...] | None:
    """Breakpoints from low to high such that `proves` holds on each cell between two of them; None if some cell fails.

    A cell on which it does not hold is halved, up to `depth` times. Cells have both ends, so the whole interval is
    covered.
    """
    if low == high:
        return (low,)
    points = [low]
    stack = [(low, high, depth)]
    while stack:
        a, b, left = stack.pop()
        if proves(ball(a, b)):
            points.append(b)
        elif left == 0:
            return None
        else:
            at = middle(a, b)
            stack += [(at, b, left - 1), (a, at, left - 1)]
    return tuple(points)


def tiles(boxes: list[Interval], low: Fraction, high: Fraction) -> bool:
    """Whether the boxes, in their order, cover [low, high] without a gap."""
    if not boxes:
        return False
    joined = all(before[1] == after[0] for before, after in itertools.pairwise(boxes))
    return joined and boxes[0][0] <= low and boxes[-1][1] >= high and all(a < b for a, b in boxes)


def as_float(interval: Interval) -> tuple[float, float]:
    """The interval for a reader, rounded outward."""
    low, high = float(interval[0]), float(interval[1])
    return math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
