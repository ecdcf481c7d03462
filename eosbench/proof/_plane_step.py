"""A step of gradient descent on ``½ (x y - 1)²`` in s = x + y and D = (x - y)², on many boxes at once."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from eosbench.proof._intervals import Interval
from eosbench.proof._outward import Bounds, add, minus, number, square, times


@dataclass(frozen=True)
class Step:
    """One step of the map in (s, D) on boxes, for all step sizes of an interval."""

    eta: Interval

    def times_eta(self, factor: Fraction, like: Bounds) -> Bounds:
        """factor eta, for a positive factor."""
        return number(factor * self.eta[0], factor * self.eta[1], like)

    def growth(self, s: Bounds, d: Bounds) -> Bounds:
        """1 - eta r."""
        r = minus(times(constant(Fraction(1, 4), s), minus(square(s), d)), constant(1, s))
        return minus(constant(1, s), times(self.times_eta(Fraction(1), s), r))

    def __call__(self, s: Bounds, d: Bounds) -> tuple[Bounds, Bounds]:
        growth = self.growth(s, d)
        spread = square(minus(constant(2, s), growth))  # (1 + eta r)²
        return self._sum(s, d), _clip(times(d, spread))

    def _sum(self, s: Bounds, d: Bounds) -> Bounds:
        """s (1 + eta + eta D/4) - eta s³/4, for s >= 0: rising in D, and in s up to one maximum; extreme at corners or
        there."""
        at_low, at_high = (self._point(end, (d[0], d[0])) for end in ((s[0], s[0]), (s[1], s[1])))
        low = np.minimum(at_low[0], at_high[0])
        top = [self._point(end, (d[1], d[1]))[1] for end in ((s[0], s[0]), (s[1], s[1]))]
        slope = self.slope(s, (d[1], d[1]))
        turning = (slope[0] <= 0) & (slope[1] >= 0)
        # Where the maximum may lie inside, the mean value theorem about the middle of the box.
        middle = (s[0] + s[1]) / 2
        about = add(self._point((middle, middle), (d[1], d[1])), times(slope, minus(s, (middle, middle))))
        return low, np.where(turning, about[1], np.maximum(*top))

    def _point(self, s: Bounds, d: Bounds) -> Bounds:
        return times(s, self.growth(s, d))

    def slope(self, s: Bounds, d: Bounds) -> Bounds:
        """d s+ / d s = 1 + eta (4 + D - 3 s²)/4."""
        inner = minus(add(constant(4, s), d), times(constant(3, s), square(s)))
        return add(constant(1, s), times(self.times_eta(Fraction(1, 4), s), inner))


def constant(value: Fraction | int, like: Bounds) -> Bounds:
    """A number, for as many boxes."""
    return number(Fraction(value), Fraction(value), like)


def _clip(d: Bounds) -> Bounds:
    return np.maximum(d[0], 0.0), d[1]
